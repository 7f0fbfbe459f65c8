"""Merge a Pad with zeros into the convolution after it."""

from __future__ import annotations

import onnx

from cleanai_onnx.graph.canonical.editing import Edited, ints, is_standard, real
from cleanai_onnx.graph.canonical.passes import CanonicalPass
from cleanai_onnx.graph.topology import attribute

__all__ = ["MERGE_PADDING", "merge_padding"]


def merge_padding(proto: onnx.ModelProto) -> bool:
    """Add the sizes of a constant zero Pad of spatial axes to the ``pads`` of the Conv after it.

    Not into a pooling: the maximum of padding is not zero, and an average may not count it.
    """
    edited = Edited(proto)
    for index, node in edited.nodes("Pad"):
        after = edited.sole_reader(node.output[0])
        if after is None:
            continue
        conv = edited.graph.node[after]
        if not is_standard(conv, "Conv") or conv.input[0] != node.output[0]:
            continue
        kind = attribute(conv, "auto_pad")
        if kind is not None and kind.s not in (b"", b"NOTSET", b"VALID"):
            continue
        weight = edited.array(conv.input[1])
        sizes = _sizes(node, edited)
        if weight is None or sizes is None or len(sizes) != 2 * weight.ndim:
            continue
        begin, end = sizes[: weight.ndim], sizes[weight.ndim :]
        if min(sizes) < 0 or any((*begin[:2], *end[:2])):
            continue
        own = ints(conv, "pads", [0] * (2 * weight.ndim - 4))
        merged = [a + b for a, b in zip(own, begin[2:] + end[2:], strict=True)]
        if kind is not None:
            edited.attribute(conv, "auto_pad", "NOTSET")
        edited.attribute(conv, "pads", merged)
        edited.set_input(conv, 0, node.input[0])
        edited.used.add(after)
        edited.remove(index)
    return edited.finish()


def _sizes(node: onnx.NodeProto, edited: Edited) -> list[int] | None:
    """Return the sizes of a constant zero Pad over all axes, or None."""
    mode = attribute(node, "mode")
    if mode is not None and mode.s != b"constant":
        return None
    if len(node.input) == 1:
        if real(node, "value", 0.0) != 0.0:
            return None
        return ints(node, "pads") or ints(node, "paddings") or None
    if len(node.input) > 3 and node.input[3]:
        return None  # only some axes: exporters of images do not write it
    if len(node.input) > 2 and node.input[2]:
        value = edited.array(node.input[2])
        if value is None or value.size != 1 or float(value.reshape(())) != 0.0:
            return None
    sizes = edited.array(node.input[1])
    return None if sizes is None else [int(size) for size in sizes.reshape(-1)]


MERGE_PADDING = CanonicalPass(
    name="merge padding into the convolution",
    requires="the sizes of the Pad are stored tensors or attributes",
    ensures="no Pad of spatial axes with zeros is read by a Conv alone",
    apply=merge_padding,
)
