from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from jax.test_util import check_grads
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import ModelError, NotSupportedError, UsageError
from cleanai_onnx.graph import load_model
from cleanai_onnx.lowering import evaluate_node, lower
from cleanai_onnx.runtime.compilation import double_precision
from tests.lowering.graphs import model, node

LENET = Path(__file__).resolve().parents[2] / "models" / "lenet1.onnx"
rng = np.random.default_rng(0)


def conv_net() -> onnx.ModelProto:
    return model(
        [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "y")],
        {
            "w": rng.standard_normal((4, 3, 3, 3), np.float32),
            "b": rng.standard_normal(4, np.float32),
        },
    )


def test_any_tensor_can_be_asked_for_and_only_what_it_needs_is_computed() -> None:
    lowered = lower(load_model(LENET))
    image = rng.random((2, 1, 28, 28), np.float32)
    middle = lowered.nodes[3].outputs[0]
    found = lowered(lowered.parameters, image, [middle, lowered.outputs[0]])
    assert list(found) == [middle, lowered.outputs[0]]
    assert len(lowered.needed([middle])) == 4
    again = lowered(lowered.parameters, image)[lowered.outputs[0]]
    np.testing.assert_array_equal(found[lowered.outputs[0]], again)
    alone = lower(load_model(LENET), [middle])(lowered.parameters, image)
    np.testing.assert_array_equal(alone[middle], found[middle])
    with pytest.raises(UsageError, match="no tensor 'nothing'"):
        lowered(lowered.parameters, image, ["nothing"])


def test_parameters_are_the_real_weights_and_change_the_result() -> None:
    lowered = lower(conv_net())
    assert {n: p.shape for n, p in lowered.parameters.items()} == {"w": (4, 3, 3, 3), "b": (4,)}
    image = rng.standard_normal((2, 3, 8, 8), np.float32)

    def total(parameters: dict[str, jax.Array]) -> jax.Array:
        return lowered(parameters, image, ["c"])["c"].sum()

    gradient = jax.jit(jax.grad(total))(dict(lowered.parameters))
    np.testing.assert_allclose(gradient["b"], np.full(4, 2 * 64), rtol=1e-5)
    zero = {name: np.zeros_like(x) for name, x in lowered.parameters.items()}
    assert total(zero) == 0


def test_gradients_agree_with_differences() -> None:
    lowered = lower(conv_net()).in_float64()
    with double_precision():
        image = rng.standard_normal((1, 3, 4, 4))
        check_grads(lambda x: lowered(lowered.parameters, x)["y"], (image,), order=1)


def test_double_precision_on_demand_and_only_there() -> None:
    nodes = [
        node("Conv", "x w _", "c"),
        node("Cast", "c", "d", to=TensorProto.FLOAT),
        node("Mul", "d third", "y"),
    ]
    weights = {"w": rng.standard_normal((1, 3, 3, 3), np.float32), "third": np.float32(1 / 3)}
    lowered = lower(model(nodes, weights))
    image = rng.standard_normal((2, 3, 8, 8))
    single = lowered(lowered.parameters, image.astype(np.float32))["y"]
    assert single.dtype == np.float32
    wide = lowered.in_float64()
    with double_precision():
        double = np.asarray(wide(wide.parameters, image)["y"])
    assert double.dtype == np.float64
    patches = np.lib.stride_tricks.sliding_window_view(image, (3, 3), (2, 3))
    exact = np.einsum("ncxyij,mcij->nmxy", patches, weights["w"].astype(np.float64))
    exact *= np.float64(weights["third"])
    assert np.abs(double - exact).max() < 1e-12
    assert np.abs(single - exact).max() > 1e-9
    assert jnp.zeros(1).dtype == np.float32


def batch_arithmetic() -> onnx.ModelProto:
    """Flatten as exporters write it: the batch size goes through Shape, Gather and Concat."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n first", "n1"),
        node("Concat", "n1 rest", "shape", axis=0),
        node("Reshape", "x shape", "flat"),
        node("Mul", "flat two", "y"),
    ]
    weights = {
        "zero": np.int64(0),
        "first": np.array([0]),
        "rest": np.array([-1]),
        "two": np.float32(2),
    }
    return model(nodes, weights, x=("N", 3, 4, 4))


def test_arithmetic_on_shapes_is_folded() -> None:
    lowered = lower(batch_arithmetic())
    for batch in (1, 5):
        image = rng.standard_normal((batch, 3, 4, 4), np.float32)
        found = jax.jit(lowered)(lowered.parameters, image)["y"]
        np.testing.assert_array_equal(found, 2 * image.reshape(batch, -1))
    special = lower(batch_arithmetic(), input_shapes={"x": (5, 3, 4, 4)})
    assert [n.op for n in special.nodes] == ["Reshape", "Mul"]
    assert special.types is not None
    assert special.types["y"].shape == (5, 48)
    assert special.types["y"].dtype == np.float32
    np.testing.assert_array_equal(special(special.parameters, image)["y"], found)


def test_the_scales_of_a_resize_are_no_parameters() -> None:
    nodes = [
        node("Mul", "one two", "factor"),
        node("Concat", "ones factor", "scales", axis=0),
        node("Resize", "x _ scales", "y", mode="nearest"),
    ]
    weights = {
        "one": np.ones(2, np.float32),
        "two": np.full(2, 2, np.float32),
        "ones": np.ones(2, np.float32),
    }
    lowered = lower(model(nodes, weights))
    assert dict(lowered.parameters) == {}
    image = rng.standard_normal((2, 3, 8, 8), np.float32)
    expected = image.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(jax.jit(lowered)({}, image)["y"], expected)


def test_a_shape_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="has the shape"):
        lower(conv_net(), input_shapes={"x": (2, 1, 8, 8)})
    with pytest.raises(UsageError, match="shape of the input 'x' is missing"):
        lower(conv_net(), input_shapes={})


def test_inputs_that_are_missing_are_named() -> None:
    lowered = lower(conv_net())
    with pytest.raises(UsageError, match="input 'x' of the model is missing"):
        lowered(lowered.parameters, {})


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Bernoulli", "x", "y")], "RandomUniformLike"),
        ([node("Relu", "x", "y", slope=1.0)], "Relu node 'the_Relu'.*attribute 'slope'"),
        ([node("Dropout", "x _ t", "y")], "Dropout node 'the_Dropout'.*training"),
        ([node("Reshape", "x ints", "y")], "Reshape node 'the_Reshape'.*input shape"),
        ([node("GridSample", "x x", "y", padding_mode="wrap")], "padding_mode is 'wrap'"),
        ([node("NonZero", "x", "y")], "NonZero node 'the_NonZero'.*must be known"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(
    nodes: list[onnx.NodeProto], words: str
) -> None:
    nodes = [node("Cast", "x", "ints", to=TensorProto.INT64), *nodes]
    lowered = lower(model(nodes, {"t": np.array(True)}, x=(4,)))
    with pytest.raises(NotSupportedError, match=words):
        jax.eval_shape(lowered, lowered.parameters, jax.ShapeDtypeStruct((4,), np.float32))


def test_contradictions_name_the_node() -> None:
    lowered = lower(model([node("Add", "x b", "y")], {"b": np.ones(5, np.float32)}, x=(4,)))
    with pytest.raises(ModelError, match="Add node 'the_Add' cannot be computed"):
        lowered(lowered.parameters, np.ones(4, np.float32))


def test_large_integers_are_not_cut_to_32_bits() -> None:
    nodes = [node("Cast", "x", "i", to=TensorProto.INT64), node("Add", "i big", "y")]
    lowered = lower(model(nodes, {"big": np.array([1 << 40])}, x=(4,)))
    with pytest.raises(NotSupportedError, match="more than 32 bits"):
        lowered({}, np.ones(4, np.float32))
    with double_precision():
        assert int(lowered({}, np.ones(4, np.float32))["y"][0]) == (1 << 40) + 1


def test_a_chain_of_many_nodes_needs_no_stack() -> None:
    count = 20_000
    nodes = [node("Identity", "x", "t0")]
    nodes += [node("Identity", f"t{i}", f"t{i + 1}") for i in range(count)]
    nodes.append(node("Neg", f"t{count}", "y"))
    lowered = lower(model(nodes, x=(4,)), input_shapes={"x": (4,)})
    np.testing.assert_array_equal(lowered({}, np.ones(4, np.float32))["y"], -np.ones(4))


def test_a_node_that_reads_what_nothing_makes_is_refused() -> None:
    lowered = lower(model([node("Add", "x later", "y"), node("Neg", "y", "later")], x=(4,)))
    with pytest.raises(ModelError, match="reads 'later'"):
        lowered({}, np.ones(4, np.float32))


def test_sizes_that_no_memory_holds_are_not_allocated() -> None:
    shape = np.array([1 << 20, 1 << 20])
    nodes = [node("ConstantOfShape", "shape", "big"), node("ReduceSum", "big _", "y")]
    lowered = lower(model(nodes, {"shape": shape}, x=(4,)), input_shapes={"x": (4,)})
    assert lowered.types is not None
    assert lowered.types["big"].shape == (1 << 20, 1 << 20)


def test_external_weights_are_read_from_beside_the_model(tmp_path: Path) -> None:
    proto = conv_net()
    expected = numpy_helper.to_array(proto.graph.initializer[0])
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    path = tmp_path / "m.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, size_threshold=0)
    np.testing.assert_array_equal(lower(load_model(path)).parameters["w"], expected)


def test_functions_of_the_model_are_unfolded() -> None:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 18)]
    )
    call = helper.make_node("Twice", ["x"], ["y"], domain="own")
    proto = model([call], x=(4,))
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    lowered = lower(proto)
    assert [n.op for n in lowered.nodes] == ["Add"]
    np.testing.assert_array_equal(lowered({}, np.ones(4, np.float32))["y"], np.full(4, 2))


def test_one_node_can_be_evaluated_and_differentiated() -> None:
    lowered = lower(conv_net())
    conv = lowered.nodes[0]
    image = rng.standard_normal((2, 3, 8, 8), np.float32)
    w, b = (lowered.parameters[name] for name in conv.inputs[1:])
    (c,) = evaluate_node(conv, [jnp.asarray(image), w, b])
    np.testing.assert_allclose(c, lowered(lowered.parameters, image, ["c"])["c"], rtol=1e-6)
    _, back = jax.vjp(lambda x: evaluate_node(conv, [x, w, None])[0], image)
    assert back(jnp.ones_like(c))[0].shape == image.shape
    static = evaluate_node(lowered.nodes[1], [np.array([-1.0, 2.0], np.float32)])
    assert isinstance(static[0], np.ndarray)
