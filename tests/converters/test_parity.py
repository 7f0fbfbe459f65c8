from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.converters.parity import OnnxModel, Reference, compare, same_outputs
from tests.converters.onnx_models import save

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def references(function: object, count: int = 3, images: bool = False) -> list[Reference]:
    generator = np.random.default_rng(0)
    found = []
    for size in (1, 3):
        for _ in range(count):
            x = generator.standard_normal((size, 4)).astype(np.float32)
            found.append(Reference([x], [function(x)], images))  # type: ignore[operator]
    return found


@pytest.fixture
def doubling(tmp_path: Path) -> OnnxModel:
    return OnnxModel(save(tmp_path, "y = Add(x, x)"))


def test_equal(doubling: OnnxModel) -> None:
    parity = compare(references(lambda x: x + x), doubling)
    assert (parity.maximum, parity.mean) == (0.0, 0.0)
    assert (parity.inputs, parity.batch_sizes) == (12, (1, 3))
    assert (parity.agreeing, parity.ranked, parity.images) == (12, 12, 0)


def test_figures_as_counted_by_hand(doubling: OnnxModel) -> None:
    given = references(lambda x: x + x + np.float32(1e-4) * np.abs(x), images=True)
    parity = compare(given, doubling, rtol=1e-3, atol=0)
    gaps = np.concatenate([np.abs(r.outputs[0] - 2 * r.inputs[0]).ravel() for r in given])
    assert parity.maximum == pytest.approx(gaps.max(), rel=1e-6)
    assert parity.mean == pytest.approx(gaps.mean(dtype=np.float64), rel=1e-6)
    largest = max(np.abs(r.outputs[0]).max() for r in given)
    assert parity.magnitude == pytest.approx(largest, rel=1e-6)
    assert parity.images == 12


def test_the_tolerance_is_a_part_of_the_largest_output(tmp_path: Path) -> None:
    model = OnnxModel(save(tmp_path, "y = Identity(x)"))
    x = np.array([[100.0, 1.0, 0.0, 0.0]], np.float32)
    off = x.copy()
    off[0, 2] = 0.009  # within 1e-4 of the largest, though not of its own element
    assert compare([Reference([x], [off])], model, rtol=1e-4, atol=0).maximum > 0
    off[0, 2] = 0.011
    with pytest.raises(FailedAttemptError, match=r"differs by 0\.011 where values reach 100"):
        compare([Reference([x], [off])], model, rtol=1e-4, atol=0)


def test_another_function_fails_with_its_figures(doubling: OnnxModel) -> None:
    with pytest.raises(FailedAttemptError, match=r"does not compute.*--atol, --rtol.*12 of 12"):
        compare(references(lambda x: 2.1 * x), doubling)


def test_arg_max_is_counted_for_each_input(doubling: OnnxModel) -> None:
    given = references(lambda x: x + x)
    given[0].outputs[0][:] = np.float32(-2) * given[0].inputs[0]
    parity = compare(given, doubling, rtol=100, atol=100)
    assert (parity.agreeing, parity.ranked) == (11, 12)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_fail(doubling: OnnxModel, value: float) -> None:
    given = references(lambda x: x + x)
    given[2].outputs[0][0, 1] = value
    with pytest.raises(FailedAttemptError, match=r"not a number|infinite"):
        compare(given, doubling, rtol=1e30, atol=1e30)


def test_nan_in_onnx_fails(tmp_path: Path) -> None:
    model = OnnxModel(save(tmp_path, "n = Abs(x) m = Neg(n) y = Log(m)"))
    with pytest.raises(FailedAttemptError, match="in ONNX"):
        compare(references(lambda x: x), model, rtol=1e30, atol=1e30)


def test_the_same_infinities_are_equal(tmp_path: Path) -> None:
    model = OnnxModel(save(tmp_path, "z = Sub(x, x) n = Neg(x) a = Abs(x) y = Div(a, z)"))
    x = np.array([[1.0, 2, 3, 4]], np.float32)
    finite = np.array([[np.inf] * 4], np.float32)
    with pytest.raises(FailedAttemptError, match="no output value"):
        compare([Reference([x], [finite])], model)


def test_other_shapes_and_numbers_of_outputs_fail(doubling: OnnxModel) -> None:
    with pytest.raises(FailedAttemptError, match="shape"):
        compare(references(lambda x: x[:, :3]), doubling)
    x = np.zeros((1, 4), np.float32)
    with pytest.raises(FailedAttemptError, match="1 outputs, the source 2"):
        compare([Reference([x], [x, x])], doubling)
    with pytest.raises(FailedAttemptError, match="1 inputs"):
        compare([Reference([x, x], [x])], doubling)


def test_a_batch_that_onnxruntime_cannot_run_fails(tmp_path: Path) -> None:
    model = OnnxModel(save(tmp_path, "s = Constant<value_ints: ints = [1, 4]>() y = Reshape(x, s)"))
    with pytest.raises(FailedAttemptError, match="onnxruntime fails on a batch of 3"):
        compare(references(lambda x: x), model)


def test_nothing_to_compare_is_no_proof(doubling: OnnxModel) -> None:
    with pytest.raises(FailedAttemptError, match="no output value"):
        compare([], doubling)


def test_what_onnxruntime_rejects_is_refused() -> None:
    path = SHARED / "golden/idc/models/route_di_lenet5_keras3_jax2onnx_op23_ORT_REJECTS.onnx"
    if not path.is_file():
        pytest.skip("../shared has no golden/idc/models")
    model = OnnxModel(path)  # a session can be made, but never run
    x = np.zeros((1, 28, 28, 1), np.float32)
    with pytest.raises(FailedAttemptError, match=r"onnxruntime fails .*Unsupported pooling size"):
        compare([Reference([x], [np.zeros((1, 10), np.float32)])], model)


def test_what_onnxruntime_refuses(tmp_path: Path) -> None:
    with pytest.raises(FailedAttemptError, match="onnxruntime refuses the model"):
        OnnxModel(save(tmp_path, "y = Nonsense(x)"))


def test_a_source_that_is_random_is_noticed() -> None:
    a = [np.ones((2, 3), np.float32)]
    assert same_outputs(a, [a[0] + 1e-5])
    assert not same_outputs(a, [a[0] + 0.1])
    assert not same_outputs(a, [])
    assert not same_outputs(a, [np.ones((3, 3), np.float32)])
