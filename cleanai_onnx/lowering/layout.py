"""A pass over a lowered model: small convolutional networks with the batch as the last axis.

See `cleanai_onnx.lowering.operators.batch_last` for why. From each convolution that is faster this
way on, all nodes are computed so that do not care where the batch is; where another one reads a
tensor, it is turned back. Tensors keep their names, and any of them can still be asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cleanai_onnx.lowering.lowered import Lowered, TensorType
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.batch_last import BATCH_LAST, pays
from cleanai_onnx.lowering.operators.pooling import Windows

__all__ = ["with_batch_last"]

_POINTWISE = frozenset(
    (
        "Abs",
        "Add",
        "Celu",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Mish",
        "Mul",
        "Neg",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Sub",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
    )
)
"""Operators that compute each element from the elements at the same place."""
_OF_GEMM = ("alpha", "beta", "transB")
_OLDEST = 7
"""Before, operators broadcast by rules of their own."""
_OPSET = 14
"""Of the nodes that are put in."""
_TURNED, _BEFORE = "\0batch-last", "\0before-relu"
"""Endings of new names, which no tensor of a file has."""


def with_batch_last(lowered: Lowered) -> Lowered:
    """Return the same function, computed with the batch last where that is faster on CPUs.

    Parameters
    ----------
    lowered
        Specialised to shapes.
    """
    if lowered.types is None:
        raise ValueError("the shapes are not known")
    types = dict(lowered.types)
    turned: set[str] = set()
    nodes: list[Node] = []
    for node in _maxima_first(lowered.nodes, types):
        other = _other_form(node, types, turned)
        if other is None:
            nodes.append(node)
            continue
        first, output = node.inputs[0], node.outputs[0]
        if other.op == "Conv" and first not in turned:
            nodes.append(_turn(first, first + _TURNED, types[first], -1))
            turned.add(first)
        inputs = tuple(name + _TURNED if name in turned else name for name in other.inputs)
        nodes.append(replace(other, inputs=inputs, outputs=(output + _TURNED,)))
        # Only computed where something reads it.
        nodes.append(_turn(output + _TURNED, output, types[output], 1))
        turned.add(output)
    return replace(lowered, nodes=tuple(nodes))


def _maxima_first(nodes: Sequence[Node], types: dict[str, TensorType]) -> Iterator[Node]:
    """Take maxima before ReLU: the same values and the same gradients, with less to do."""
    rectified = {node.outputs[0]: node.inputs[0] for node in nodes if _is(node, "Relu")}
    for node in nodes:
        within = rectified.get(node.inputs[0]) if _is(node, "MaxPool") else None
        if within is None or len(node.outputs) > 1 or not _windows(node, types[within]).tile:
            yield node
            continue
        (output,) = node.outputs
        types[output + _BEFORE] = types[output]
        yield replace(node, inputs=(within,), outputs=(output + _BEFORE,))
        yield Node("Relu", (output + _BEFORE,), (output,), {}, _OPSET)


def _is(node: Node, op: str) -> bool:
    return node.op == op and not node.domain


def _turn(name: str, turned: str, kind: TensorType, by: int) -> Node:
    axes = tuple(int(axis) for axis in np.roll(np.arange(len(kind.shape)), by))
    return Node("Transpose", (name,), (turned,), {"perm": axes}, _OPSET)


def _other_form(node: Node, types: Mapping[str, TensorType], turned: set[str]) -> Node | None:
    """Return a node in the form for the batch as the last axis; None if it has none."""
    if node.domain or node.opset < _OLDEST or len(node.outputs) != 1 or not node.inputs:
        return None
    x, y = types.get(node.inputs[0]), types.get(node.outputs[0])
    if x is None or y is None or y.dtype not in (np.float32, np.float64) or not y.shape:
        return None
    if node.op == "Conv":
        return replace(node, domain=BATCH_LAST) if _is_small(node, types) else None
    if node.inputs[0] not in turned:
        return None
    shapes = [types[name].shape for name in node.inputs if name]
    match node.op:
        case op if op in _POINTWISE:
            return node if _is_pointwise(node, types, turned) else None
        case "MaxPool" if len(x.shape) == 4 and _windows(node, x).tile:
            kernel = node.attributes["kernel_shape"]
            return replace(node, domain=BATCH_LAST, attributes={"kernel_shape": kernel})
        case "Flatten" | "Reshape" if len(y.shape) == 2 and y.shape[0] == x.shape[0]:
            return Node("Flatten", node.inputs[:1], node.outputs, {}, node.opset, "", BATCH_LAST)
        case "MatMul" if len(x.shape) == len(shapes[1]) == 2 and node.inputs[1] not in turned:
            return replace(node, op="Gemm", domain=BATCH_LAST)
        case "Gemm" if _is_dense(node, shapes) and turned.isdisjoint(node.inputs[1:]):
            attributes = {k: v for k, v in node.attributes.items() if k in _OF_GEMM}
            return replace(node, domain=BATCH_LAST, attributes=attributes)
    return None


def _is_small(node: Node, types: Mapping[str, TensorType]) -> bool:
    a = node.attributes
    filters = types[node.inputs[1]].shape
    ones = (1,) * (len(filters) - 2)
    return pays(filters, a.get("strides") or ones, a.get("dilations") or ones, a.get("group", 1))


def _is_pointwise(node: Node, types: Mapping[str, TensorType], turned: set[str]) -> bool:
    shape = types[node.outputs[0]].shape
    for name in filter(None, node.inputs):
        own = types[name].shape
        if not (own == shape if name in turned else len(own) <= 1 and own in ((), (1,))):
            return False
    return True


def _windows(node: Node, x: TensorType) -> Windows:
    a = node.attributes
    return Windows.of(
        node,
        x,
        a["kernel_shape"],
        a.get("strides"),
        a.get("dilations"),
        a.get("pads"),
        a.get("auto_pad", "NOTSET"),
        a.get("ceil_mode", 0),
    )


def _is_dense(node: Node, shapes: Sequence[tuple[int, ...]]) -> bool:
    outputs = shapes[1][0 if node.attributes.get("transB") else 1]
    bias = shapes[2] if len(shapes) > 2 else (outputs,)
    return not node.attributes.get("transA") and bias in ((), (1,), (outputs,), (1, outputs))
