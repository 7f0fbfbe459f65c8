"""Top-k coverage by hand, beside the brute force of `test_engine` and `test_selection`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cleanai_onnx import coverage
from tests.coverage.measuring import PARAMETERS, by_name, measured
from tests.coverage.suites import layer

LAYERS = (layer("three", (3,)), layer("four", (4,)))


def test_sum_and_selected_over_layers_and_inputs() -> None:
    """Three and two of CleanAI's cases: k = 5 takes whole layers, divided by 7 or by 10."""
    arrays = [np.float32([[1, 2, 3]]), np.float32([[1, 2, 3, 4]])]
    for compat, selected in ((False, 7), (True, 10)):
        parameters = replace(PARAMETERS, top_k=5, cleanai_compat=compat)
        state, _ = measured(LAYERS, arrays, parameters, batch=1)
        table = by_name(coverage.compute(state))["tknc", "unit"]
        assert table.total == ("all layers", 16.0, selected, pytest.approx(16 / selected))


def test_negative_activations_are_selected_where_there_are_no_others() -> None:
    arrays = [np.float32([[-1, -2, -3]]), np.float32([[-4, -1, -2, -3]])]
    state, _ = measured(LAYERS, arrays, batch=1)
    table = by_name(coverage.compute(state))["tknc", "unit"]
    assert [row[1] for row in table.rows] == [-6.0, -6.0]


def test_of_equal_activations_the_lower_index_is_selected() -> None:
    arrays = [np.float32([[0, 0, 0]] * 2), np.float32([[0, 0, 0, 0], [0, 0, 0, 1]])]
    state, _ = measured(LAYERS, arrays, batch=2)
    table = by_name(coverage.compute(state))["tknc-suite", "unit"]
    # Of four: 0, 1 and 2, then 3, 0 and 1.
    assert [row[1:3] for row in table.rows] == [(3, 3), (4, 4)]
    first, _ = measured(LAYERS, [a[:1] for a in arrays], batch=2)
    assert by_name(coverage.compute(first))["tknc-suite", "unit"].rows[1][1:3] == (3, 4)


def test_a_nan_is_never_selected() -> None:
    arrays = [np.float32([[np.nan, 2, np.nan]]), np.float32([[np.nan] * 4])]
    state, _ = measured(LAYERS, arrays, batch=1)
    tables = by_name(coverage.compute(state))
    assert [row[1] for row in tables["tknc", "unit"].rows] == [2.0, 0.0]
    assert [row[1] for row in tables["tknc-suite", "unit"].rows] == [1, 0]
