"""Fold what is computed from stored tensors alone: transposed, reshaped or scaled weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from cleanai_onnx.graph.canonical.editing import Edited, is_standard
from cleanai_onnx.graph.canonical.passes import CanonicalPass

__all__ = ["FOLD_CONSTANTS", "fold_constants"]

_FOLDED = (
    "Add", "Cast", "Concat", "Constant", "Div", "Flatten", "Identity", "Mul", "Neg", "Pow",
    "Reciprocal", "Reshape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze",
)  # fmt: skip
"""None of these makes a tensor much larger than its operands together."""


def fold_constants(proto: onnx.ModelProto) -> bool:
    """Replace nodes that read nothing but stored tensors by stored tensors of the same names."""
    edited = Edited(proto)
    known: dict[str, np.ndarray] = {}
    for index, node in edited.nodes(*_FOLDED):
        if len(node.output) != 1 or node.output[0] in edited.topology.outputs:
            continue
        names = [name for name in node.input if name]
        values = [known[name] if name in known else edited.array(name) for name in names]
        operands = {n: x for n, x in zip(names, values, strict=True) if x is not None}
        if len(operands) < len(set(names)):
            continue
        value = _evaluate(node, operands, edited)
        if value is None:
            continue
        known[node.output[0]] = value
        edited.graph.initializer.append(onnx.numpy_helper.from_array(value, node.output[0]))
        edited.remove(index)
    return edited.finish()


def _evaluate(
    node: onnx.NodeProto, operands: dict[str, np.ndarray], edited: Edited
) -> np.ndarray | None:
    if is_standard(node, "Constant") and any(
        item.name not in ("value", "value_float", "value_floats", "value_int", "value_ints")
        for item in node.attribute
    ):
        return None
    if any(item.name in ("saturate", "round_mode") for item in node.attribute):
        return None
    graph = onnx.helper.make_graph(
        [node],
        "constant",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in operands.items()
        ],
        [onnx.ValueInfoProto(name=node.output[0])],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", edited.opset)]
    )
    model.ir_version = min(model.ir_version, 10)
    (value,) = ReferenceEvaluator(model).run(None, operands)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


FOLD_CONSTANTS = CanonicalPass(
    name="fold constants",
    requires="stored tensors are loaded: those in files beside the model are left alone",
    ensures="no elementwise or moving node reads nothing but stored tensors",
    apply=fold_constants,
)
