"""Small linear layers, and the matrix that each of them is."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from cleanai_onnx.lowering.node import node_from
from cleanai_onnx.relevance.convolution import Convolution
from cleanai_onnx.relevance.geometry import geometry

OPSET = 17


def single_node(op: str, x: np.ndarray, weights: dict[str, np.ndarray], **attributes):
    """Return the model with one node, float64."""
    node = helper.make_node(op, ["x", *weights], ["z"], **attributes)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, x.shape)],
        [helper.make_tensor_value_info("z", TensorProto.DOUBLE, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


def evaluated(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def layer_output(op: str, x: np.ndarray, w: np.ndarray, **attributes) -> np.ndarray:
    """Return the output without a bias; onnx's reference knows no groups in a ConvTranspose."""
    groups = attributes.get("group", 1)
    if op == "Conv" or groups == 1:
        return evaluated(single_node(op, x, {"w": w}, **attributes), x)
    rest = {key: value for key, value in attributes.items() if key != "group"}
    parts = zip(np.split(x, groups, axis=1), np.split(w, groups, axis=0), strict=True)
    return np.concatenate([layer_output(op, one, part, **rest) for one, part in parts], axis=1)


def matrix_of(op: str, x: np.ndarray, w: np.ndarray, **attributes) -> np.ndarray:
    """Return w[j, k]: what each element of the input adds to each of the output."""
    units = np.eye(x[0].size).reshape(-1, *x.shape[1:])
    return layer_output(op, units, w, **attributes).reshape(len(units), -1)


def convolution(op: str, x: np.ndarray, w: np.ndarray, **attributes) -> tuple[Convolution, tuple]:
    """Return the map of a convolution, and the shape of its output."""
    z = layer_output(op, x, w, **attributes)
    node = node_from(single_node(op, x, {"w": w}, **attributes).graph.node[0], {"": OPSET})
    backward = op == "ConvTranspose"
    large, small = (z, x) if backward else (x, z)
    groups = attributes.get("group", 1)
    shape = geometry(node, w.shape[2:], large.shape[2:], small.shape[2:], groups)
    return Convolution(shape, backward, groups > 1 and w.shape[1] == 1), z.shape
