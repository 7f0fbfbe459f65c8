"""The public function: targets, layers, starts, batches, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import ImageError, NotSupportedError, UsageError
from cleanai_onnx.relevance import Composite, Explainer, attribute, composite, rules
from cleanai_onnx.relevance.composites import any_layer
from tests.graph.canonical.models import node

LENET = Path(__file__).resolve().parents[2] / "models" / "lenet1.onnx"
RANDOM = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def net(nodes: list, shape: list, stored: dict, output: str = "y", opset: int = 17):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    from onnx import shape_inference

    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return shape_inference.infer_shapes(proto)


def classifier(last: str | None = "Softmax"):
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f v u", "z" if last else "y"),
    ]
    if last:
        nodes.append(node(last, "z", "y"))
    stored = {"w": floats(4, 3, 3, 3), "b": floats(4), "v": floats(4, 5), "u": floats(5)}
    return net(nodes, ["n", 3, 6, 6], stored)


IMAGES = floats(3, 3, 6, 6)


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax", "Sigmoid", None])
def test_relevance_starts_before_the_last_function(last: str | None) -> None:
    explained = attribute(classifier(last), IMAGES)
    assert explained.start == ("z" if last else "y")
    plain = attribute(classifier(None), IMAGES)
    np.testing.assert_allclose(explained.relevance, plain.relevance, rtol=1e-5, atol=1e-7)


def test_targets() -> None:
    explainer = Explainer(classifier())
    predicted = explainer.explain(IMAGES)
    assert predicted.targets is not None
    chosen = explainer.explain(IMAGES, target=predicted.targets)
    np.testing.assert_array_equal(chosen.relevance, predicted.relevance)
    other = explainer.explain(IMAGES, target=2)
    assert list(other.targets) == [2, 2, 2]
    mixed = explainer.explain(IMAGES, target=[-1, 2, -1])
    np.testing.assert_array_equal(mixed.relevance[1], other.relevance[1])
    np.testing.assert_array_equal(mixed.relevance[0], predicted.relevance[0])
    whole = explainer.explain(IMAGES, target="output")
    assert whole.targets is None
    every = sum(explainer.explain(IMAGES, target=k).relevance for k in range(5))
    np.testing.assert_allclose(whole.relevance, every, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", [5, -2, [0, 1], "cat", 0.5, [[0], [1], [2]]])
def test_targets_that_are_none(target: object) -> None:
    with pytest.raises(UsageError, match="target"):
        attribute(classifier(), IMAGES, target=target)


def test_a_model_with_one_output_is_explained_by_it() -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w b", "y")]
    model = net(nodes, ["n", 3, 2, 2], {"w": floats(12, 1), "b": floats(1)})
    explained = attribute(model, floats(2, 3, 2, 2), composite="epsilon")
    assert explained.targets is None
    wanted = floats(2, 3, 2, 2).reshape(2, -1) @ floats(12, 1) + floats(1)
    np.testing.assert_allclose(explained.values, wanted[:, 0], rtol=1e-5)
    with pytest.raises(UsageError, match="one value"):
        attribute(model, floats(2, 3, 2, 2), target=0)


def test_the_batch_size_changes_nothing() -> None:
    images = floats(7, 3, 6, 6)
    alone, together = (
        attribute(classifier(), images, batch_size=size, layers=["r"]) for size in (1, 3)
    )
    np.testing.assert_allclose(alone.relevance, together.relevance, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(alone.layers["r"], together.layers["r"], rtol=1e-4, atol=1e-6)
    assert alone.relevance.shape == images.shape and alone.relevance.dtype == np.float32


@pytest.mark.parametrize("forward", ["onnxruntime", "jax"])
@pytest.mark.parametrize("name", ["epsilon", "epsilon-plus", "epsilon-alpha2-beta1"])
def test_relevance_is_accounted_for(name: str, forward: str) -> None:
    images = RANDOM.random((4, 1, 28, 28), np.float32)
    explained = attribute(
        LENET, images, composite=name, forward=forward, layers="activations",
        account_stabilisers=True,
    )  # fmt: skip
    assert np.abs(explained.conservation.residual).max() < 1e-4 * np.abs(explained.values).max()
    assert len(explained.layers) >= 2
    assert explained.without_rule == ()


def test_both_forward_passes_give_the_same() -> None:
    images = RANDOM.random((4, 1, 28, 28), np.float32)
    one, other = (attribute(LENET, images, forward=f).relevance for f in ("onnxruntime", "jax"))
    np.testing.assert_allclose(one, other, atol=5e-5 * np.abs(one).max())


def test_an_operator_without_a_rule_is_refused_or_named() -> None:
    nodes = [node("Sin", "x", "s"), node("Flatten", "s", "f"), node("Gemm", "f w", "y")]
    model = net(nodes, ["n", 3, 2, 2], {"w": floats(12, 4)})
    images = floats(2, 3, 2, 2)
    with pytest.raises(NotSupportedError, match=r"Sin node 's'.*fallback"):
        attribute(model, images)
    explained = attribute(model, images, fallback="gradient", composite="epsilon")
    assert explained.without_rule == ("Sin node 's'",)
    z = np.sin(images)
    behind = z * (floats(12, 4)[:, explained.targets].T.reshape(images.shape))
    wanted = images * np.cos(images) * behind / z
    np.testing.assert_allclose(explained.relevance, wanted, rtol=1e-3, atol=1e-4)


def test_layers_that_are_none() -> None:
    with pytest.raises(UsageError, match=r"'nothing'.*none so named"):
        attribute(classifier(), IMAGES, layers=["nothing"])


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 1, 6, 6), (0, 3, 6, 6)])
def test_images_of_another_shape_are_refused(shape: tuple) -> None:
    with pytest.raises(ImageError, match="Nx3x6x6"):
        attribute(classifier(), np.zeros(shape, np.float32))


def test_options() -> None:
    with pytest.raises(UsageError, match="low= and high="):
        attribute(classifier(), IMAGES, composite="epsilon-gamma-box")
    with pytest.raises(UsageError, match="epsilon-plus"):
        attribute(classifier(), IMAGES, composite="none")
    with pytest.raises(UsageError, match="no option 'gama'"):
        attribute(classifier(), IMAGES, gama=1.0)
    with pytest.raises(UsageError, match="your own"):
        own = Composite("own", ((any_layer, rules.flat()),))
        attribute(classifier(), IMAGES, composite=own, epsilon=1.0)
    with pytest.raises(UsageError, match="float64"):
        attribute(classifier(), IMAGES, precision="float64", forward="onnxruntime")
    with pytest.raises(UsageError, match="fallback"):
        attribute(classifier(), IMAGES, fallback="maybe")


def test_the_first_match_wins() -> None:
    flat, plus = rules.flat(), rules.z_plus()
    own = Composite("own", ((lambda layer: layer.is_first, flat), (any_layer, plus)))
    explained = attribute(classifier(), IMAGES, composite=own)
    ruled = dict(explained.rules)
    assert ruled["Conv node 'c'"] == "flat"
    assert ruled["Gemm node 'z'"] == "z-plus"
    named = attribute(classifier(), IMAGES, composite="epsilon-gamma-box", low=-3, high=3)
    assert dict(named.rules)["Conv node 'c'"] == "z-box"
    assert composite("epsilon").rules[0][1].name == "epsilon"


def attention():
    """One head over four tokens, with a layer normalisation and a gate."""
    nodes = [
        node("LayerNormalization", "x g h", "n"),
        node("MatMul", "n q", "queries"),
        node("MatMul", "n k", "keys"),
        node("MatMul", "n v", "values"),
        node("Transpose", "keys", "turned", perm=[0, 2, 1]),
        node("MatMul", "queries turned", "scores"),
        node("Mul", "scores scale", "scaled"),
        node("Softmax", "scaled", "weights", axis=-1),
        node("MatMul", "weights values", "mixed"),
        node("Add", "mixed x", "sum"),
        node("Sigmoid", "sum", "gate"),
        node("Mul", "sum gate", "gated"),
        node("ReduceMean", "gated", "mean", axes=[1], keepdims=0),
        node("Gemm", "mean w b", "y"),
    ]
    stored = {"g": 1 + 0.1 * floats(6), "h": 0.1 * floats(6), "q": floats(6, 6), "k": floats(6, 6),
              "v": floats(6, 6), "w": floats(6, 3), "b": floats(3),
              "scale": np.array(0.4, np.float32)}  # fmt: skip
    return net(nodes, ["n", 4, 6], stored)


def test_attention() -> None:
    """Every part has a rule, and all relevance is accounted for."""
    explained = attribute(
        attention(), floats(2, 4, 6), composite="epsilon", precision="float64", epsilon=1e-9,
        account_stabilisers=True,
    )  # fmt: skip
    ruled = dict(explained.rules)
    assert explained.without_rule == ()
    assert ruled["Softmax node 'weights'"] == "softmax"
    assert ruled["MatMul node 'mixed'"] == "matrix_product"
    assert "LayerNormalization node 'n'" in ruled
    np.testing.assert_allclose(explained.conservation.residual, 0, atol=1e-9)


@pytest.mark.parametrize("name", ["tokens_dynamo_18", "tokens_torchscript_17"])
def test_a_moved_batch_axis_is_accounted_for_in_total(name: str) -> None:
    model = Path(__file__).resolve().parents[1] / "data" / "exports" / f"{name}.onnx"
    explained = attribute(model, floats(4, 3, 8, 8), account_stabilisers=True)
    assert explained.without_rule == ()
    assert abs(explained.conservation.residual.sum()) < 1e-5 * np.abs(explained.values).sum()


def test_weights_in_files_beside_the_model(tmp_path: Path) -> None:
    import onnx

    model = classifier()
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    given = attribute(path, IMAGES).relevance
    np.testing.assert_allclose(given, attribute(classifier(), IMAGES).relevance, rtol=1e-5)


def of_type(kind: int, inside_only: bool = False):
    """Return a small convolutional net whose weights (and input, output) are of an element type."""
    random = np.random.default_rng(8)

    def stored(name: str, *shape: int):
        # Sixteenths: the same numbers in every type.
        array = np.round(random.standard_normal(shape) * 16) / 16
        return helper.make_tensor(name, kind, shape, array.ravel().tolist())

    weights = [stored("w", 4, 3, 3, 3), stored("b", 4), stored("v", 4, 5), stored("u", 5)]
    ends = TensorProto.FLOAT if inside_only else kind
    nodes = [
        node(
            "Cast" if inside_only else "Identity", "x", "h", **({"to": kind} if inside_only else {})
        ),
        node("Conv", "h w b", "z", pads=[1, 1, 1, 1]),
        node("Relu", "z", "r"),
        node("GlobalAveragePool", "r", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f v u", "q"),
        node("Cast", "q", "y", to=ends),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", ends, ["n", 3, 6, 6])],
        [helper.make_tensor_value_info("y", ends, ["n", 5])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("inside_only", [False, True])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_models_of_other_types(kind: int, inside_only: bool) -> None:
    """Half precision is widened and double precision run by JAX: the weights are the same."""
    images = (np.round(RANDOM.standard_normal((2, 3, 6, 6)) * 16) / 16).astype(np.float32)
    wanted = attribute(of_type(TensorProto.FLOAT), images, precision="float64").relevance
    size = np.abs(wanted).max()
    for precision, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
        explained = attribute(of_type(kind, inside_only), images, precision=precision)
        np.testing.assert_allclose(explained.relevance, wanted, atol=tolerance * size)
        assert explained.relevance.dtype == precision
        widened = "widen half precision to float32" in explained.passes
        assert widened == (kind != TensorProto.DOUBLE)


def test_onnxruntime_is_not_asked_for_float64() -> None:
    with pytest.raises(UsageError, match="computes in float64"):
        attribute(of_type(TensorProto.DOUBLE), IMAGES, forward="onnxruntime")
