"""Neuron and threshold coverage by hand, beside the brute force of `test_engine`."""

from __future__ import annotations

import numpy as np
import pytest

from cleanai_onnx import coverage
from cleanai_onnx.result import Table
from tests.coverage.measuring import by_name, measured
from tests.coverage.suites import layer

VECTOR = (layer("vector", (5,)),)
CONV = (layer("conv", (2, 2, 2)),)


def tables(layers: tuple, *inputs: list) -> dict[tuple[str, str], Table]:
    arrays = [np.float32(inputs).reshape(len(inputs), *layers[0].shape)]
    state, _ = measured(layers, arrays, batch=2)
    return by_name(coverage.compute(state))


def test_nc_is_an_average_over_inputs_and_not_a_union() -> None:
    found = tables(VECTOR, [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [1, 0, 0, 0, 1])["nc", "unit"]
    assert found.rows == (("vector", 4, 15, 4 / 15),)
    assert found.total == ("all layers", 4, 15, 4 / 15)


def test_tc_is_strict() -> None:
    found = tables(VECTOR, [0.75, 0.7500001, -1, 0.76, 0.75])["tc", "unit"]
    assert found.rows[0][1] == 2
    assert found.parameters == {"t": 0.75}


def test_nc_suite_is_a_union() -> None:
    found = tables(VECTOR, [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0.75, 0, 0, 0])["nc-suite", "unit"]
    assert found.rows == (("vector", 2, 5, 0.4),)


def test_scaled_uses_the_extrema_of_the_same_input() -> None:
    # 7 is 0.7 of the way from 0 to 10, and all the way from 0 to 7; 0.75 is not above 0.75.
    found = tables(VECTOR, [0, 7, 10, 7, 7.5], [0, 7, 0, 0, 0])
    assert found["nc-suite-scaled", "unit"].rows[0][1] == 2


def test_absolute_values_are_taken_before_scaling() -> None:
    found = tables(VECTOR, [-8, 0, 1, 2, 2])
    # From -8 to 2, all but the first are above three quarters; of 8, 0, 1, 2 and 2 only the first.
    assert found["nc-suite-scaled", "unit"].rows[0][1] == 4
    assert found["nc-suite-scaled-abs", "unit"].rows[0][1] == 1


def test_channels_are_scaled_by_the_extrema_of_the_units() -> None:
    # Means 0.5 and 4: of the units' 0 to 8 that is one half; of the means' 0.5 to 4 it were all.
    found = tables(CONV, [[0, 1, 0, 1, 0, 8, 0, 8]])
    assert found["nc-suite-scaled", "channel"].rows == (("conv", 0, 2, 0.0),)
    assert found["nc-suite-scaled", "unit"].rows[0][1] == 2


def test_the_channel_view_counts_spatial_means() -> None:
    found = tables(CONV, [[0, 0, 0, 4, 0.5, 0.5, 0.5, 0.5]])
    assert found["tc", "unit"].rows == (("conv", 1, 8, 1 / 8),)
    assert found["tc", "channel"].rows == (("conv", 1, 2, 1 / 2),)
    assert found["nc", "channel"].rows == (("conv", 1, 2, 1 / 2),)


@pytest.mark.parametrize("view", ["unit", "channel"])
def test_a_layer_with_a_nan_covers_nothing_above_its_mean(view: str) -> None:
    found = tables(VECTOR, [np.nan, 0, 1, 2, 3], [0, 0, 0, 0, 1])
    assert found["nc", view].rows[0][1] == 1
    assert found["tc", view].rows[0][1] == 4
