"""Learning and measuring in one go: equal to a profile that is learnt first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cleanai_onnx import ImageError, Profile, UsageError, analyze, learn
from tests.cli.material import DIGITS, LENET, relu

TRAIN = f"{DIGITS}/[0-4]/*.png"


@pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")
@pytest.mark.parametrize(
    "learning", [{}, {"labels": "none", "view": "unit", "traces": 40, "layers": ["all"]}]
)
def test_it_equals_a_profile_learnt_first(learning: dict[str, Any]) -> None:
    test = sorted(DIGITS.glob("[5-9]/*.png"))
    profile = learn(LENET, TRAIN, **learning)
    expected = analyze(LENET, test, limit=30, profile=profile)
    totals: list[int] = []
    done: list[int] = []

    def progress(total: int) -> Any:
        totals.append(total)
        return done.append

    found = analyze(LENET, test, limit=30, train=TRAIN, learning=learning, progress=progress)
    assert found.tables == expected.tables
    assert found.table("kmnc", profile.facts.view).coverage > 0
    assert found.profile.sources == expected.profile.sources
    assert found.profile.images == 100
    assert totals == [100, 30] and done[-1] == 30 and 100 in done
    assert found.run.options["train"] == TRAIN


def test_of_batches() -> None:
    data = np.random.default_rng(0).random((12, 1, 8, 8), np.float32)
    model = relu()
    found = analyze(model, data[:4], train=data[4:])
    expected = analyze(model, data[:4], profile=learn(model, data[4:]))
    assert found.tables == expected.tables
    assert found.run.options["train"] == "batches"


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.zeros((4, 1, 8, 8), np.float32)
    profile: Profile = learn(relu(), data)
    with pytest.raises(UsageError, match="--train learns what --profile has"):
        analyze(relu(), data, profile=profile, train=data)
    with pytest.raises(UsageError, match="needs train"):
        analyze(relu(), data, learning={"view": "unit"})
    # A suite that is not there is found missing before anything is learnt.
    monkeypatch.setattr("cleanai_onnx.jobs.analysis.learn", lambda *_, **__: pytest.fail("learnt"))
    with pytest.raises(ImageError, match="does not exist"):
        analyze(relu(), "gone", train=data)
