"""The box of the z^B rule at the first convolution, wherever that stands."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.errors import NotSupportedError, UsageError
from cleanai_onnx.relevance import attribute
from tests.relevance import twins
from tests.relevance.layers import matrix_of

RANDOM = np.random.default_rng(4)
W = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
IMAGES = RANDOM.uniform(-1, 1, (2, 3, 6, 6)).astype(np.float32)
LOW = np.array([-1.5, -1.0, -2.0], np.float32)
HIGH = np.array([1.0, 2.0, 1.25], np.float32)
BOX = {"composite": "epsilon-gamma-box", "target": "output"}


def model(*before, shape=("n", 3, 6, 6), stored=()):
    """Return nodes that lead from x to c, a convolution of that, and its elements in a row."""
    nodes = [
        *before,
        helper.make_node("Conv", ["c", "w"], ["z"], name="z"),
        helper.make_node("Flatten", ["z"], ["y"]),
    ]
    weights = {"w": W, **dict(stored)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], name=output, **attributes)


def relevance(made, images, low, high):
    return attribute(made, images, precision="float64", low=low, high=high, **BOX).relevance


PLAIN = model(node("Identity", "x", "c"))


def wanted(images: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the rule's outcome by its slow twin; low and high have the shape of an image."""
    x, w = images.astype(np.float64), W.astype(np.float64)
    matrix = matrix_of("Conv", x, w)
    box = [np.broadcast_to(end, x.shape[1:]).reshape(-1, 1) for end in (low, high)]
    rows = []
    for image in x:
        a = image.reshape(-1)
        rows.append(twins.z_box(a, matrix, a @ matrix, *box, 1e-6).reshape(image.shape))
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["number", "channels", "pixels"])
def test_the_shapes_of_a_box(kind: str) -> None:
    low, high = {
        "number": (np.float32(-2), np.float32(2)),
        "channels": (LOW.reshape(3, 1, 1), HIGH.reshape(3, 1, 1)),
        "pixels": (
            -1 - RANDOM.random((3, 6, 6), np.float32),
            1 + RANDOM.random((3, 6, 6), np.float32),
        ),
    }[kind]
    given = relevance(PLAIN, IMAGES, low, high)
    right = wanted(IMAGES, np.asarray(low, float), np.asarray(high, float))
    np.testing.assert_allclose(given, right, atol=1e-6 * np.abs(right).max())


def test_channels_that_are_last() -> None:
    made = model(node("Transpose", "x", "c", perm=[0, 3, 1, 2]), shape=("n", 6, 6, 3))
    given = relevance(made, np.moveaxis(IMAGES, 1, -1), LOW, HIGH)
    right = wanted(IMAGES, LOW.reshape(3, 1, 1), HIGH.reshape(3, 1, 1))
    np.testing.assert_allclose(np.moveaxis(given, -1, 1), right, atol=1e-6 * np.abs(right).max())


def test_a_scale_that_turns_the_box_over() -> None:
    scale = np.array([-2.0, 0.5, 1.0], np.float32).reshape(3, 1, 1)
    made = model(node("Mul", "x s", "c"), stored={"s": scale}.items())
    low, high = LOW.reshape(3, 1, 1), HIGH.reshape(3, 1, 1)
    given = relevance(made, IMAGES, low, high)
    ends = low * scale, high * scale
    right = wanted(IMAGES * scale, np.minimum(*ends), np.maximum(*ends))
    np.testing.assert_allclose(given, right, atol=1e-6 * np.abs(right).max())


def test_a_way_that_cannot_be_followed() -> None:
    made = model(node("Mul", "x x", "c"))
    with pytest.raises(NotSupportedError, match=r"Mul node 'c'.*another composite"):
        relevance(made, IMAGES, -1, 1)


@pytest.mark.parametrize("shape", [(3,), (2, 1, 1), (1, 3, 6, 6)])
def test_a_box_of_another_shape(shape: tuple) -> None:
    with pytest.raises(UsageError, match="low and high"):
        relevance(PLAIN, IMAGES, np.zeros(shape), np.ones(shape))
