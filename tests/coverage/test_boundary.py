"""Boundary coverage by hand, beside the brute force of `test_engine`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cleanai_onnx import coverage
from cleanai_onnx.result import Table
from tests.coverage import brute_force
from tests.coverage.measuring import PARAMETERS, by_name, measured
from tests.coverage.suites import layer

LAYERS = (layer("vector", (3,)),)


def nbc(inputs: list[list[float]], bounds_from: int, batch: int = 3) -> Table:
    parameters = replace(PARAMETERS, bounds_from=bounds_from)
    state, _ = measured(LAYERS, [np.float32(inputs)], parameters, batch=batch)
    return by_name(coverage.compute(state))["nbc", "unit"]


def test_bounds_are_those_of_the_whole_layer() -> None:
    table = nbc([[0, 0, 4], [-1, 0, 0], [4, -1, 5], [-2, 0, 0]], bounds_from=2)
    # On a bound is not outside; 5 and -2 are.
    assert table.rows == (("vector", -1.0, 4.0, 2, 6, 2 / 6),)
    assert table.total == ("all layers", None, None, 2, 6, 2 / 6)


def test_images_that_set_the_bounds_are_not_counted() -> None:
    assert nbc([[0, 1, 2], [9, 9, 9]], bounds_from=1).rows[0][3:5] == (3, 3)
    assert nbc([[9, 9, 9], [0, 1, 2]], bounds_from=1).rows[0][3:5] == (3, 3)
    assert nbc([[0, 1, 2], [9, 9, 9]], bounds_from=2).rows[0][3:5] == (0, 0)


@pytest.mark.parametrize("inputs", [1, 2])
def test_too_few_images_are_said_to_be_too_few(inputs: int) -> None:
    table = nbc([[0, 1, 2]] * inputs, bounds_from=2)
    assert table.coverage is None
    assert any("--bounds-from" in note for note in table.notes)


def test_bounds_without_a_number_count_nothing() -> None:
    table = nbc([[math.nan] * 3, [1, 2, 3]], bounds_from=1)
    assert table.rows[0][3:5] == (0, 3)


def test_nan_is_on_neither_side_of_a_bound() -> None:
    assert nbc([[math.nan, 0, 1], [math.nan, 2, 0]], bounds_from=1).rows[0][1:5] == (0, 1, 1, 3)


@pytest.mark.parametrize(("bounds_from", "batch"), [(1, 3), (2, 3), (3, 3), (4, 3), (4, 1), (5, 3)])
def test_bounds_that_end_within_a_batch_or_with_one(bounds_from: int, batch: int) -> None:
    generator = np.random.default_rng(bounds_from)
    inputs = np.round(generator.standard_normal((6, 3)) * 4).astype(np.float32)
    low, high, outside, total = brute_force.nbc(inputs, bounds_from)
    assert nbc(inputs.tolist(), bounds_from, batch).rows[0][1:5] == (low, high, outside, total)
