from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.converters.keras_naming import name_tensors
from cleanai_onnx.converters.keras_repairs import repair_pooling
from cleanai_onnx.converters.keras_upgrade import is_old, upgraded
from cleanai_onnx.converters.parity import OnnxModel

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "idc" / "models"
REJECTED = "route_di_lenet5_keras3_jax2onnx_op23_ORT_REJECTS.onnx"
SOUND = "route_di_lenet5_keras3_tf2onnx_op17.onnx"


def golden(name: str) -> Path:
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip("the converted models to compare with are not beside this checkout")
    return path


def test_onnxruntime_rejects_what_jax2onnx_wrote() -> None:
    model = OnnxModel(golden(REJECTED))
    with pytest.raises(FailedAttemptError, match=r"onnxruntime fails on a batch of 2.*MaxPool"):
        model.predict([np.zeros((2, 28, 28, 1), np.float32)])


def test_the_repair_makes_it_the_network_that_another_route_wrote(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(golden(REJECTED).read_bytes())
    assert repair_pooling(path) == 2
    assert repair_pooling(path) == 0
    onnx.checker.check_model(str(path), full_check=True)
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    (found,) = OnnxModel(path).predict([images])
    (expected,) = OnnxModel(golden(SOUND)).predict([images])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("pads", [[0] * 8, [0, 0, 1, 0, 0, 1, 1, 0]])
def test_pooling_over_two_of_four_axes(tmp_path: Path, pads: list[int]) -> None:
    path = tmp_path / "model.onnx"
    node = helper.make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=[1, 2, 3, 1], strides=[1, 2, 1, 1], pads=pads
    )
    shape = [1, 1, "N", 7, 6, 2]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    assert repair_pooling(path) == 1
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 7, 6, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": x})
    wide = [(0, 0), (0, 0)] + [(pads[i], pads[i + 4]) for i in range(4)]
    padded = np.pad(x, wide, constant_values=-np.inf)
    rows, columns = (padded.shape[3] - 2) // 2 + 1, padded.shape[4] - 2
    slow = np.full((1, 1, 3, rows, columns, 2), np.nan, np.float32)
    for r in range(rows):
        for c in range(columns):
            slow[:, :, :, r, c] = padded[:, :, :, 2 * r : 2 * r + 2, c : c + 3].max(axis=(3, 4))
    np.testing.assert_array_equal(found, slow)


def test_pooling_that_is_not_of_this_form_is_left(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["x"], ["z"], kernel_shape=[2, 2, 2, 1]),
    ]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [], [])), str(path))
    assert repair_pooling(path) == 0


def test_names(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [
        helper.make_node("Relu", ["x"], ["add_out_2"]),
        helper.make_node("Neg", ["add_out_2"], ["taken"]),
        helper.make_node("Abs", ["taken"], ["other"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["unk__1", 2])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["unk__2", 2])
         for n in ("add_out_2", "other")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), str(path))
    name_tensors(path, ["classes", "taken"])
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["classes", "other"]
    assert list(model.graph.node[1].input) == ["classes"]
    axes = [
        v.type.tensor_type.shape.dim[0].dim_param for v in (*model.graph.input, *model.graph.output)
    ]
    assert axes == ["batch"] * 3


def test_architectures_of_keras_2_are_upgraded() -> None:
    first = {"class_name": "Conv2D", "config": {"name": "c", "batch_input_shape": [None, 4, 4, 1]}}
    depthwise = {"class_name": "DepthwiseConv2D", "config": {"groups": 1, "kernel_initializer": {}}}
    old = {"class_name": "Sequential", "config": [first, depthwise], "keras_version": "2.2.2"}
    assert is_old(old)
    new = upgraded(old)
    assert [layer["class_name"] for layer in new["config"]["layers"]] == [
        "InputLayer", "Conv2D", "DepthwiseConv2D",
    ]  # fmt: skip
    assert new["config"]["layers"][0]["config"]["batch_input_shape"] == [None, 4, 4, 1]
    assert new["config"]["layers"][1]["config"] == {"name": "c"}
    assert new["config"]["layers"][2]["config"] == {}
    assert old["config"][0]["config"]["batch_input_shape"] == [None, 4, 4, 1]


def test_keras_3_is_not_old() -> None:
    assert not is_old({"module": "keras", "class_name": "Sequential", "config": {}})
    assert not is_old({"keras_version": "3.15.1", "class_name": "Sequential", "config": {}})
