"""Nodes and stored tensors in double precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from cleanai_onnx.lowering.node import Graph, Node

__all__ = ["wide", "widened"]


def wide(x: Any) -> Any:
    """Return a float32 array as float64, anything else as it is."""
    return x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x


def widened(node: Node) -> Node:
    """Return a node whose constants and casts to float32 are float64, also in its subgraphs."""
    attributes = dict(node.attributes)
    if node.op == "Constant":
        for old in ("value_float", "value_floats"):
            if old in attributes:
                attributes["value"] = np.asarray(attributes.pop(old), np.float64)
    for name, value in attributes.items():
        if isinstance(value, Graph):
            attributes[name] = replace(
                value,
                nodes=tuple(widened(inner) for inner in value.nodes),
                constants={key: wide(x) for key, x in value.constants.items()},
            )
        elif name in ("to", "dtype", "output_dtype", "stash_type") and value == 1:
            attributes[name] = int(onnx.TensorProto.DOUBLE)
        else:
            attributes[name] = wide(value)
    return replace(node, attributes=attributes)
