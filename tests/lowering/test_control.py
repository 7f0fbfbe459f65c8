from __future__ import annotations

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import NotSupportedError
from cleanai_onnx.lowering import lower
from tests.lowering.graphs import model, node

BOOL, INT = TensorProto.BOOL, TensorProto.INT64


def branch(op: str, **attributes: object) -> onnx.GraphProto:
    result = helper.make_empty_tensor_value_info("r")
    return helper.make_graph([node(op, "x", "r", **attributes)], op, [], [result])


def conditional(other: onnx.GraphProto, weights: dict | None = None) -> onnx.ModelProto:
    nodes = [] if weights else [node("ReduceMax", "x", "m", keepdims=0)]
    nodes += [] if weights else [node("Greater", "m zero", "c")]
    nodes.append(node("If", "c", "y", then_branch=branch("Neg"), else_branch=other))
    return model(nodes, weights or {"zero": np.float32(0)}, x=(4,))


def test_a_constant_condition_is_decided_while_tracing() -> None:
    lowered = lower(conditional(branch("Shape"), {"c": np.array(True)}))
    ones = np.ones(4, np.float32)
    np.testing.assert_array_equal(jax.jit(lowered)({}, ones)["y"], -ones)
    assert "cond" not in str(jax.make_jaxpr(lowered)({}, ones))


def test_a_computed_condition_is_decided_while_running() -> None:
    lowered = jax.jit(lower(conditional(branch("Abs"))))
    for sign in (1, -1):
        x = np.full(4, sign, np.float32)
        np.testing.assert_array_equal(lowered({}, x)["y"], -x)


def test_branches_of_different_shapes_cannot_be_decided_by_the_input() -> None:
    lowered = lower(conditional(branch("Shape")))
    with pytest.raises(NotSupportedError, match=r"If node 'the_If'.*different shapes"):
        jax.eval_shape(lowered, {}, jax.ShapeDtypeStruct((4,), np.float32))


def looping(count: str, *, scanned: bool = False) -> onnx.ModelProto:
    """Double a value in each round; `count` is the name of the number of rounds."""
    nodes = [node("Identity", "go", "going"), node("Add", "v v", "next")]
    results = [
        helper.make_tensor_value_info("going", BOOL, []),
        helper.make_tensor_value_info("next", TensorProto.FLOAT, [4]),
    ]
    if scanned:
        nodes.append(node("Identity", "next", "row"))
        results.append(helper.make_tensor_value_info("row", TensorProto.FLOAT, [4]))
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("i", INT, []),
            helper.make_tensor_value_info("go", BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [4]),
        ],
        results,
    )
    before = [
        node("ReduceSum", "x", "total", keepdims=0),
        node("Cast", "total", "computed", to=INT),
    ]
    loop = node("Loop", f"{count} yes x", "y rows" if scanned else "y", body=body)
    output = "rows" if scanned else "y"
    weights = {"three": np.int64(3), "yes": np.array(True)}
    return model([*before, loop], weights, x=(4,), output=output)


def test_a_constant_number_of_rounds_is_written_out() -> None:
    lowered = lower(looping("three"))
    ones = np.ones(4, np.float32)
    np.testing.assert_array_equal(jax.jit(lowered)({}, ones)["y"], 8 * ones)
    assert "while" not in str(jax.make_jaxpr(lowered)({}, ones))
    rows = lower(looping("three", scanned=True))({}, ones)["rows"]
    np.testing.assert_array_equal(rows, np.outer([2, 4, 8], ones))


def test_a_computed_number_of_rounds_is_a_loop() -> None:
    lowered = jax.jit(lower(looping("computed")))
    for rounds in (0, 1, 2):
        x = np.array([rounds, 0, 0, 0], np.float32)
        np.testing.assert_array_equal(lowered({}, x)["y"], x * 2**rounds)


def test_a_computed_number_of_rows_is_refused() -> None:
    lowered = lower(looping("computed", scanned=True))
    with pytest.raises(NotSupportedError, match=r"Loop node 'the_Loop'.*depends on the input"):
        jax.eval_shape(lowered, {}, jax.ShapeDtypeStruct((4,), np.float32))


def test_a_scan_is_differentiable() -> None:
    body = helper.make_graph(
        [node("Mul", "s e", "n"), node("Identity", "n", "o")],
        "body",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, []) for n in ("s", "e")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, []) for n in ("n", "o")],
    )
    scan = node("Scan", "one x", "final y", body=body, num_scan_inputs=1)
    lowered = lower(model([scan], {"one": np.float32(1)}, x=(4,)))
    x = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    np.testing.assert_array_equal(lowered({}, x)["y"], np.cumprod(x))
    gradient = jax.grad(lambda v: lowered({}, v, ["final"])["final"])(x)
    np.testing.assert_allclose(gradient, 24 / x, rtol=1e-6)


def test_stored_tensors_of_a_subgraph_are_known_there() -> None:
    graph = branch("Neg")
    graph.node[0].CopyFrom(node("Add", "x inner", "r"))
    graph.initializer.append(numpy_helper.from_array(np.float32(5), "inner"))
    lowered = lower(
        model([node("If", "c", "y", then_branch=graph, else_branch=graph)], {"c": np.array(True)},
              x=(4,))
    )  # fmt: skip
    np.testing.assert_array_equal(lowered({}, np.ones(4, np.float32))["y"], np.full(4, 6))
