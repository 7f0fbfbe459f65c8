"""Sizes that a graph computes: shape arithmetic that onnx's own inference does not follow.

Operators such as ConstantOfShape or Expand make tensors of a size that another tensor holds.
onnx's inference follows the common arithmetic on such sizes and leaves the rest unknown, and an
unknown size must not hide an allocation of any amount. Here that arithmetic is done: on tensors of
at most 4096 numbers, with operators that cannot make large ones, by onnx's reference
implementation. Nothing that depends on an input's values is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx

from cleanai_onnx.graph.tensors import SMALL
from cleanai_onnx.graph.topology import Topology, read_names, subgraphs

__all__ = ["ALLOCATING", "computed_sizes", "range_length", "size_operands", "value_free"]

Array = npt.NDArray[np.generic]
Shape = tuple[int | None, ...]

ALLOCATING: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
    "TopK": (1,),
    "Upsample": (1,),
}
"""Operators whose output can be larger than all they read: the inputs that hold its size."""

_ARITHMETIC = frozenset(
    {"Abs", "Add", "And", "Cast", "Ceil", "Concat", "Div", "Equal", "Exp", "Flatten", "Floor",
     "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min",
     "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "ReduceMax", "ReduceMin", "ReduceProd",
     "ReduceSum", "Reshape", "Round", "Sign", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum",
     "Transpose", "Unsqueeze", "Where"}
)  # fmt: skip
"""Operators whose output has no more numbers than their inputs broadcast to."""


def size_operands(node: onnx.NodeProto) -> tuple[str, ...]:
    """Return the tensors that hold the size of what an allocating node makes."""
    if node.domain not in ("", "ai.onnx"):
        return ()
    positions = ALLOCATING.get(node.op_type, ())
    return tuple(node.input[p] for p in positions if p < len(node.input) and node.input[p])


def value_free(
    topology: Topology, shapes: Mapping[str, Shape], outer: frozenset[str] = frozenset()
) -> frozenset[str]:
    """Return the tensors that follow from constants and known shapes alone.

    `outer` are such tensors of the graph around a subgraph.
    """
    free = set(topology.initializers) | outer
    for node in topology.graph.node:
        if node.op_type in ("Shape", "Size"):
            known = shapes.get(node.input[0])
            if known is not None and None not in known:
                free.update(node.output)
        elif free.issuperset(read_names(node)):
            free.update(name for name in node.output if name)
    return frozenset(free)


def computed_sizes(topology: Topology, shapes: Mapping[str, Shape], opset: int) -> dict[str, Array]:
    """Return the values of the small tensors that follow from constants and known shapes.

    Parameters
    ----------
    topology
        The graph, its nodes in topological order.
    shapes
        Shapes as far as they are known.
    opset
        The version of ONNX's operators that the model uses.
    """
    values: dict[str, Array] = {}

    def value(name: str) -> Array | None:
        return values[name] if name in values else topology.constant(name)

    for node in topology.graph.node:
        if node.domain not in ("", "ai.onnx") or not node.output:
            continue
        if node.op_type in ("Shape", "Size"):
            shape = shapes.get(node.input[0])
            if shape is not None and None not in shape:
                values |= _evaluated(_read_shape(node, shape), [], opset)
        elif node.op_type in _ARITHMETIC and not any(subgraphs(node)):
            operands = [value(name) if name else None for name in node.input]
            given = [name for name in node.input if name]
            if len(given) == sum(operand is not None for operand in operands):
                small = [operand for operand in operands if operand is not None]
                if _broadcast_size(small) <= SMALL:
                    values |= _evaluated(node, list(zip(given, small, strict=True)), opset)
    return values


def range_length(
    topology: Topology, node: onnx.NodeProto, values: Mapping[str, Array]
) -> float | None:
    """Return how many numbers a Range node makes if its operands are known.

    onnx's inference converts that count to an integer without a check, so that a count too large
    comes out as zero.
    """
    operands = [values.get(name, topology.constant(name)) for name in node.input]
    if len(operands) != 3 or any(operand is None or operand.size != 1 for operand in operands):
        return None
    start, limit, delta = (
        float(np.asarray(operand, dtype=np.float64).item()) for operand in operands
    )
    return max(0.0, (limit - start) / delta) if delta else math.inf


def _broadcast_size(operands: list[Array]) -> int:
    try:
        return int(np.prod(np.broadcast_shapes(*(a.shape for a in operands)), dtype=object))
    except ValueError:
        return sum(operand.size for operand in operands)


def _read_shape(node: onnx.NodeProto, shape: Shape) -> onnx.NodeProto:
    """Return a Constant node that has the output of a Shape or Size node."""
    sizes = [size for size in shape if size is not None]
    if node.op_type == "Size":
        array = np.asarray(int(np.prod(sizes, dtype=object)) % 2**63, dtype=np.int64)
    else:
        limits = {item.name: item.i for item in node.attribute}
        array = np.asarray(sizes[limits.get("start", 0) : limits.get("end")], dtype=np.int64)
    tensor = onnx.numpy_helper.from_array(array)
    return onnx.helper.make_node("Constant", [], list(node.output), value=tensor)


def _evaluated(
    node: onnx.NodeProto, operands: list[tuple[str, Array]], opset: int
) -> dict[str, Array]:
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(node, opsets={"": opset})
            results = evaluator.run(None, dict(operands))
    except Exception:
        # Arithmetic that fails here (a division by zero, an index out of range) fails when the
        # model runs too. The size stays unknown, which the memory check then refuses.
        return {}
    pairs = zip(node.output, results, strict=False)
    return {name: np.asarray(array) for name, array in pairs if np.size(array) <= SMALL}
