"""Learning and measuring in one go: equal to a profile that is learnt first."""

from __future__ import annotations

from pathlib import Path
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


@pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")
def test_labels_in_a_table_are_those_of_folders(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra `tables`")
    parquet = pytest.importorskip("pyarrow.parquet")
    files = sorted(DIGITS.glob("[0-4]/*.png"))
    columns = {
        "image": [file.read_bytes() for file in files],
        "digit": [int(file.parent.name) for file in files],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet", row_group_size=30)
    expected = learn(LENET, TRAIN)
    found = learn(LENET, tmp_path / "train.parquet", labels="column:digit")
    assert found.facts.labels == "column digit" and found.facts.relevance_of == "correct"
    assert (found.facts.labelled, found.facts.correct) == (100, expected.facts.correct)
    np.testing.assert_array_equal(found.sample.keys, expected.sample.keys)
    np.testing.assert_array_equal(found.sample.labels, expected.sample.labels)
    unlabelled = learn(LENET, tmp_path / "train.parquet")
    assert unlabelled.facts.relevance_of == "all" and "no labels" in unlabelled.facts.remarks[0]


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
