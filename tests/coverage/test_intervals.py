"""Multisection coverage by hand, beside the brute force of `test_engine`."""

from __future__ import annotations

import math

import numpy as np

from cleanai_onnx import coverage
from cleanai_onnx.coverage import CLEANAI_INTERVALS, Parameters
from tests.coverage.measuring import by_name, measured
from tests.coverage.suites import layer

LAYERS = (layer("vector", (9,)),)


def counts(values: list[float], intervals: tuple[tuple[float, float], ...]) -> tuple[int, ...]:
    state, _ = measured(LAYERS, [np.float32([values])], Parameters(intervals=intervals), batch=1)
    (row,) = by_name(coverage.compute(state))["mnc", "unit"].rows
    assert row[-1] == 9
    return row[1:-1]


def test_both_ends_belong_to_an_interval() -> None:
    # 0.1 to 0.5, as float32, are common ends of two of CleanAI's intervals.
    values = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.05, -0.0001, 0.5001]
    assert counts(values, CLEANAI_INTERVALS) == (3, 2, 2, 2, 2)


def test_empty_points_and_unbounded_intervals() -> None:
    values = [0, -0.0, 1, 2, math.nan, math.inf, -math.inf, -1, 1e30]
    intervals = ((0, 0), (1, 1), (-math.inf, math.inf), (2, math.inf), (5, 6))
    assert counts(values, intervals) == (2, 1, 8, 3, 0)


def test_columns_name_the_intervals() -> None:
    state = coverage.init(LAYERS, Parameters())
    table = by_name(coverage.compute(state))["mnc", "unit"]
    names = [column.name for column in table.columns]
    assert names == [
        "layer", "[0, 0.1]", "[0.1, 0.2]", "[0.2, 0.3]", "[0.3, 0.4]", "[0.4, 0.5]", "total"
    ]  # fmt: skip
    assert table.total == ("all layers", 0, 0, 0, 0, 0, 0)
    assert table.parameters == {"intervals": [list(pair) for pair in CLEANAI_INTERVALS]}
