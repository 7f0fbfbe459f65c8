"""Batches that wait to be measured together: what is found does not depend on how many wait."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx import Analyzer, learn
from cleanai_onnx.coverage import PROFILED, Observed, Scores
from cleanai_onnx.measuring import gathering
from tests.cli.material import relu


def batch(observed: Observed) -> gathering.Rows:
    count = len(observed.channels)
    nothing = Scores(np.zeros((count, 0)), np.zeros((count, 0, 0)))
    return gathering.Rows(observed, {}, nothing, [""] * count, range(count), [""] * count)


def test_some_families_gather_and_some_do_not() -> None:
    assert {family.gathered for family in PROFILED} == {True, False}


def test_what_waits_is_bounded() -> None:
    waiting = gathering.Waiting()
    few = np.zeros((gathering.MOST_ROWS // 2, 1), np.float32)
    waiting.add(batch(Observed(few, few)))
    assert not waiting.is_enough
    waiting.add(batch(Observed(few, few)))
    assert waiting.is_enough and len(waiting) == gathering.MOST_ROWS
    wide = np.zeros((1, gathering.MOST_BYTES // 4), np.float32)
    waiting = gathering.Waiting()
    waiting.add(batch(Observed(wide, wide)))
    assert waiting.is_enough


@pytest.mark.parametrize("view", ["channel", "unit"])
def test_nothing_depends_on_how_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    rng = np.random.default_rng(0)
    training, suite = (rng.random((count, 1, 8, 8), np.float32) for count in (40, 23))
    model = relu()
    profile = learn(model, training, view=view, layers=["all"])
    found, tables = [], []
    for most in (1, 7, 1024):
        monkeypatch.setattr(gathering, "MOST_ROWS", most)
        table = tmp_path / f"{most}.csv"
        with Analyzer(model, batch_size=4, profile=profile, per_image=table) as analyzer:
            for first in range(0, len(suite), 5):
                analyzer.update(suite[first : first + 5])
                if first == 10:
                    # As for a checkpoint; further inputs follow.
                    analyzer._settle()
                    assert not analyzer._waiting
            found.append(analyzer.result())
        tables.append(table.read_text())
    assert tables[0].count("\n") == len(suite) + 1
    for result, text in zip(found[1:], tables[1:], strict=True):
        assert result.tables == found[0].tables
        assert result.featured == found[0].featured
        assert text == tables[0]
    assert found[0].table("lsa", "channel").rows[0][1] == len(suite)
