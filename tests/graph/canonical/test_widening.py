"""Half precision becomes float32 everywhere, and the numbers stay."""

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph import load_model
from cleanai_onnx.graph.canonical import WIDEN_FLOATS, WIDEN_HALVES, without_halves
from tests.graph.canonical.models import applied, node, run

HALVES = {TensorProto.FLOAT16: np.float16, TensorProto.BFLOAT16: ml_dtypes.bfloat16}


def half(kind: int, stored: str = "initializer") -> onnx.ModelProto:
    """Return a model of every place where a type can stand; x and y are of the type."""
    random = np.random.default_rng(0)
    w = numpy_helper.from_array(random.standard_normal((4, 3)).astype(HALVES[kind]), "w")
    constant = numpy_helper.from_array(np.asarray([2.0], HALVES[kind]))
    branches = {
        f"{name}_branch": helper.make_graph(
            [node("Constant", "", name, value=constant)],
            name,
            [],
            [helper.make_tensor_value_info(name, kind, [1])],
        )
        for name in ("then", "else")
    }
    nodes = [
        node("MatMul", "x w", "m"),
        node("Cast", "m", "f", to=TensorProto.FLOAT),
        node("Cast", "f", "h", to=kind),
        node("If", "yes", "factor", **branches),
        node("Shape", "h", "s"),
        node("ConstantOfShape", "s", "twos", value=constant),
        node("Mul", "h factor", "p"),
        node("Add", "p twos", "y"),
    ]
    weights = [w, numpy_helper.from_array(np.asarray(True), "yes")]
    if stored == "node":
        nodes.insert(0, node("Constant", "", "w", value=weights.pop(0)))
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
        weights,
        value_info=[helper.make_tensor_value_info("m", kind, ["n", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("stored", ["initializer", "node"])
@pytest.mark.parametrize("kind", HALVES)
def test_halves(kind: int, stored: str) -> None:
    before = half(kind, stored)
    after, changed = applied(WIDEN_HALVES.apply, before)
    assert changed
    onnx.checker.check_model(after, full_check=True)
    assert applied(WIDEN_HALVES.apply, after) == (after, False)
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    w = np.random.default_rng(0).standard_normal((4, 3)).astype(HALVES[kind]).astype(np.float32)
    (y,) = run(after, x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, 2 * (x @ w) + 2, rtol=1e-5, atol=1e-5)


def test_floats() -> None:
    """In float64 nothing of float32 is left, a Constant's unnamed type included."""
    before = half(TensorProto.FLOAT16)
    before.graph.node.insert(0, node("Constant", "", "c", value_floats=[0.1, 0.2]))
    before.graph.node.insert(1, node("Constant", "", "d", value_float=0.1))
    before, _ = applied(WIDEN_HALVES.apply, before)
    after, changed = applied(WIDEN_FLOATS.apply, before)
    assert changed and applied(WIDEN_FLOATS.apply, after) == (after, False)
    first, second = (numpy_helper.to_array(n.attribute[0].t) for n in after.graph.node[:2])
    assert first.dtype == second.dtype == np.float64 and second.shape == ()
    np.testing.assert_array_equal(first, np.float32([0.1, 0.2]))
    assert after.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE
    x = np.random.default_rng(1).standard_normal((2, 4))
    w = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float16)
    (y,) = run(after, x)
    np.testing.assert_allclose(y, 2 * (x @ w.astype(np.float64)) + 2, rtol=1e-14)


def test_a_model_of_float32_is_handed_on() -> None:
    before, _ = applied(WIDEN_HALVES.apply, half(TensorProto.FLOAT16))
    model = load_model(before, keep_data=True)
    assert without_halves(model) is model


def test_weights_beside_the_model(tmp_path: Path) -> None:
    path, proto = tmp_path / "model.onnx", half(TensorProto.FLOAT16)
    onnx.save(proto, path, save_as_external_data=True, location="weights", size_threshold=0)
    model = load_model(path, keep_data=True)
    made = without_halves(model)
    assert (made.sha256, made.name, made.data) == (model.sha256, model.name, None)
    assert [facts.dtype for facts in (*made.inputs, *made.outputs)] == ["float32", "float32"]
    x = np.ones((1, 4), np.float32)
    wanted = run(applied(WIDEN_HALVES.apply, half(TensorProto.FLOAT16))[0], x)[0]
    np.testing.assert_array_equal(run(made.proto, x)[0], wanted)
    assert model.proto.graph.initializer[0].data_type == TensorProto.FLOAT16
    with pytest.raises(ModelError, match="in memory"):
        without_halves(replace(model, directory=None))


def test_too_large_for_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleanai_onnx.graph.canonical.widening._MOST_BYTES", 100)
    with pytest.raises(ModelError, match="2 GB in float32"):
        without_halves(load_model(half(TensorProto.FLOAT16)))
