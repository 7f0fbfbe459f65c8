"""Operators that jax2onnx writes in a way that no runtime takes, rewritten.

Whether the result computes what the source computes is not argued here but measured: every
converted model is compared with its source.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from cleanai_onnx.graph.topology import attribute

__all__ = ["repair_pooling"]

_POOLING = ("MaxPool", "AveragePool")


def repair_pooling(path: Path) -> int:
    """Rewrite pooling over (N, H, W, C) as pooling over (H, W); return how many there were.

    jax2onnx gives the pooling operator the tensor (N, H, W, C) as (1, 1, N, H, W, C) with the
    window [1, h, w, 1]. ONNX allows four spatial axes, onnxruntime at most three. The same window
    over the tensor with its axes as (1 * N, C, H, W) gives the same values.
    """
    model = onnx.load(str(path), load_external_data=False)
    nodes = []
    count = 0
    for node in model.graph.node:
        window = attribute(node, "kernel_shape") if node.op_type in _POOLING else None
        if window is None or not _only_over_two(node):
            nodes.append(node)
            continue
        name = f"repaired_pooling_{count}"
        axes = helper.make_tensor(f"{name}_axes", onnx.TensorProto.INT64, [2], [0, 1])
        model.graph.initializer.append(axes)
        settings = {
            item.name: helper.get_attribute_value(item)
            for item in node.attribute
            if item.name in ("ceil_mode", "count_include_pad")
        }
        for key, default in (("kernel_shape", 1), ("strides", 1), ("dilations", 1)):
            settings[key] = _integers(node, key, 4, default)[1:3]
        pads = _integers(node, "pads", 8, 0)
        settings["pads"] = [pads[1], pads[2], pads[5], pads[6]]
        t = [f"{name}_{step}" for step in ("nhwc", "nchw", "pooled", "back")]
        nodes += [
            helper.make_node("Squeeze", [node.input[0], axes.name], [t[0]], f"{name}_squeeze"),
            helper.make_node("Transpose", [t[0]], [t[1]], f"{name}_to_nchw", perm=[0, 3, 1, 2]),
            helper.make_node(node.op_type, [t[1]], [t[2]], node.name, **settings),
            helper.make_node("Transpose", [t[2]], [t[3]], f"{name}_to_nhwc", perm=[0, 2, 3, 1]),
            helper.make_node("Unsqueeze", [t[3], axes.name], [node.output[0]], f"{name}_restore"),
        ]
        count += 1
    if count:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        onnx.save(model, str(path))
    return count


def _only_over_two(node: onnx.NodeProto) -> bool:
    """Say whether a pooling has four spatial axes but moves over the middle two only."""
    if len(_integers(node, "kernel_shape", 0, 1)) != 4 or len(node.output) != 1:
        return False
    automatic = attribute(node, "auto_pad")
    if automatic is not None and automatic.s not in (b"NOTSET", b""):
        return False
    outer = (
        value
        for key in ("kernel_shape", "strides", "dilations")
        for value in _integers(node, key, 4, 1)[::3]
    )
    pads = _integers(node, "pads", 8, 0)
    return all(value == 1 for value in outer) and not any(pads[i] for i in (0, 3, 4, 7))


def _integers(node: onnx.NodeProto, name: str, count: int, default: int) -> list[int]:
    found = attribute(node, name)
    return [default] * count if found is None else list(found.ints)
