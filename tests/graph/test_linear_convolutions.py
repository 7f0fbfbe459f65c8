"""ReLUs that directly follow a convolution are left out, and nothing else."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from cleanai_onnx.graph import load_model, without_convolution_relus
from tests.graph.conftest import build_model

node = onnx.helper.make_node
rng = np.random.default_rng(0)
KERNEL = rng.normal(size=(3, 3, 1, 1)).astype(np.float32)
IMAGES = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)


def run(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {"x": IMAGES}), strict=True))


@pytest.mark.parametrize("outputs", [("y",), ("y", "b"), ("y", "a")])
def test_what_is_left_out(outputs: tuple[str, ...]) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Relu", ["a"], ["c"]),
        node("Add", ["b", "c"], ["d"]),
        node("Sub", ["d", "a"], ["e"]),
        node("Relu", ["e"], ["y"]),
    ]
    model = load_model(build_model(nodes, {"w": KERNEL}, outputs=outputs))
    before = model.proto.SerializeToString()
    found = run(without_convolution_relus(model).proto)
    assert model.proto.SerializeToString() == before
    convolved = np.einsum("oi,nihw->nohw", KERNEL[..., 0, 0], IMAGES)
    expected = {"a": convolved, "b": convolved, "y": np.maximum(convolved, 0)}
    assert list(found) == list(outputs)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_layers_keep_their_names() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Relu", ["b"], ["y"]),
    ]
    model = without_convolution_relus(load_model(build_model(nodes, {"w": KERNEL})))
    assert [(one.op_type, *one.output) for one in model.proto.graph.node] == [
        ("Conv", "b"), ("Relu", "y")
    ]  # fmt: skip
