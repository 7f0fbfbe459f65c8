"""Which axis of a tensor holds the channels."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from cleanai_onnx.graph.topology import Topology, attribute

__all__ = ["channel_axes", "default_channel_axis"]

_SECOND_AXIS = frozenset(
    {"AveragePool", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DepthToSpace",
     "FusedConv", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GroupNormalization",
     "InstanceNormalization", "LRN", "LpPool", "MaxPool", "QLinearConv", "SpaceToDepth"}
)  # fmt: skip
_LAST_AXIS = frozenset(
    {"FusedGemm", "FusedMatMul", "Gemm", "MatMul", "MatMulInteger", "QGemm", "QLinearMatMul"}
)
# Any other operator keeps the axis if its input and output have the same rank, except these.
_FORGETS = frozenset({"Einsum", "Expand", "Flatten", "Gather", "Reshape", "Tile"})


def default_channel_axis(rank: int) -> int:
    """Return the channel axis of a tensor of which only the rank is known, batch included.

    Images (rank 4) and volumes (rank 5) have it second, tokens (rank 3) last.
    """
    return 2 if rank == 3 else min(1, rank - 1)


def channel_axes(
    topology: Topology, shapes: Mapping[str, tuple[int | None, ...]]
) -> dict[str, int]:
    """Return the channel axis, batch included, of every tensor for which the graph tells it.

    Parameters
    ----------
    topology
        The graph, its nodes in topological order.
    shapes
        Shapes as inferred; tensors without one are passed over.
    """
    axes: dict[str, int] = {}
    for node in topology.graph.node:
        for output in node.output:
            shape = shapes.get(output)
            if shape is None:
                continue
            axis = _axis(node, output, axes, shapes, topology)
            if axis is not None and 0 < axis < len(shape):
                axes[output] = axis
    return axes


def _axis(
    node: onnx.NodeProto,
    output: str,
    axes: Mapping[str, int],
    shapes: Mapping[str, tuple[int | None, ...]],
    topology: Topology,
) -> int | None:
    rank = len(shapes[output])
    if node.op_type in _SECOND_AXIS:
        return 1
    if node.op_type in _LAST_AXIS:
        return rank - 1
    source = next((name for name in node.input if name in axes), None)
    if source is None:
        return None
    axis, before = axes[source], shapes[source]
    if node.op_type == "Transpose":
        perm = attribute(node, "perm")
        order = list(perm.ints) if perm is not None else list(range(rank))[::-1]
        return order.index(axis) if axis in order else None
    if node.op_type in ("Reshape", "Flatten"):
        # (B, C, H, W) to (B, C, H*W) keeps the channels where they are.
        same = before[: axis + 1] == shapes[output][: axis + 1]
        return axis if same and rank > axis + 1 else None
    if node.op_type in ("Squeeze", "Unsqueeze"):
        return _after_squeeze(node, axis, max(rank, len(before)), topology)
    if node.op_type in _FORGETS or rank != len(before):
        return None
    return axis


def _after_squeeze(node: onnx.NodeProto, axis: int, rank: int, topology: Topology) -> int | None:
    listed = attribute(node, "axes")
    if listed is not None:
        changed = [int(value) for value in listed.ints]
    else:
        constant = topology.constant(node.input[1]) if len(node.input) > 1 else None
        if constant is None or constant.dtype.kind != "i":
            return None
        changed = [int(value) for value in constant.ravel()]
    changed = [value + rank if value < 0 else value for value in changed]
    if node.op_type == "Squeeze":
        return None if axis in changed else axis - sum(value < axis for value in changed)
    for value in sorted(changed):
        axis += value <= axis
    return axis
