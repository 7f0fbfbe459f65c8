"""Sign and value coverage of a suite: some pair of it, found without forming pairs."""

from __future__ import annotations

import numpy as np
import pytest

from cleanai_onnx import coverage
from cleanai_onnx.result import Table
from tests.coverage.measuring import by_name, measured, pair_of
from tests.coverage.suites import layer

LAYERS = (layer("vector", (4,)),)


def tables(inputs: list[list[float]]) -> dict[tuple[str, str], Table]:
    arrays = [np.float32(inputs)]
    state, _ = measured(LAYERS, arrays)
    pair = pair_of(state, arrays, 0, 1) if len(inputs) > 1 else None
    return by_name(coverage.compute(state, pair))


def test_zero_and_zero_is_a_change_of_sign_for_cleanai() -> None:
    found = tables([[0, 0, 1, -1], [0, 1, 1, 1]])
    assert found["sc", "unit"].rows[0][1] == 3
    assert found["sc-strict", "unit"].rows[0][1] == 2


def test_some_pair_need_not_be_the_first() -> None:
    found = tables([[1, 1, 0.25, 1], [1, 1, 0.5, 2], [-1, 1, 0.75, 1]])
    assert found["sc", "unit"].rows[0][1] == 0
    assert found["sc-suite", "unit"].rows[0][1] == 1
    assert found["vc", "unit"].rows[0][1] == 1
    assert found["vc-suite", "unit"].rows[0][1] == 2


def test_one_image_has_no_pair() -> None:
    found = tables([[0, 0, -1, 1]])
    for metric in ("sc-suite", "vc-suite"):
        assert found[metric, "unit"].rows[0][1] == 0
        assert any("no pair" in note for note in found[metric, "unit"].notes)
    for metric in ("sc", "sc-strict", "vc"):
        assert found[metric, "unit"].coverage is None


def test_zero_throughout_needs_a_second_image() -> None:
    assert tables([[0] * 4, [0] * 4])["sc-suite", "unit"].rows[0][1] == 4


@pytest.mark.parametrize("step", [0.5, 0.500001])
def test_value_change_over_a_suite_is_strict(step: float) -> None:
    found = tables([[0] * 4, [step] * 4])["vc-suite", "unit"]
    assert found.rows[0][1] == (4 if np.float32(step) > 0.5 else 0)
    assert found.parameters == {"t": 0.5}
