"""Operators of onnxruntime (`com.microsoft`) in terms of ONNX's own, as far as shapes go.

onnx's shape inference does not know them and would lose every shape behind one. For inference, and
for it alone, each is replaced by a standard operator whose output has the same shape and type.
"""

from __future__ import annotations

import onnx

__all__ = ["replace_runtime_operators"]

# Operator: the standard one, and which of its inputs that reads.
_SAME_SHAPE = {
    "BiasGelu": ("Identity", (0,)),
    "DequantizeLinear": ("DequantizeLinear", (0, 1, 2)),
    "FastGelu": ("Identity", (0,)),
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "Gelu": ("Identity", (0,)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QuantizeLinear": ("QuantizeLinear", (0, 1, 2)),
    "QuickGelu": ("Identity", (0,)),
}
_FOREIGN_ATTRIBUTES = frozenset(
    {"activation", "activation_alpha", "activation_beta", "activation_gamma", "activation_params"}
)


def replace_runtime_operators(graph: onnx.GraphProto) -> None:
    """Replace onnxruntime's operators by standard ones of the same shape, in place."""
    for node in graph.node:
        known = _SAME_SHAPE.get(node.op_type)
        if node.domain != "com.microsoft" or known is None:
            continue
        standard, positions = known
        inputs = [node.input[p] for p in positions if p < len(node.input)]
        kept = [item for item in node.attribute if item.name not in _FOREIGN_ATTRIBUTES]
        replaced = onnx.NodeProto(op_type=standard, name=node.name)
        replaced.input.extend(inputs)
        replaced.output.append(node.output[0])
        if standard not in ("Identity", "Add", "Mul"):
            replaced.attribute.extend(kept)
        node.CopyFrom(replaced)
