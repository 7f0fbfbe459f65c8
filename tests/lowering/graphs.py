"""Small graphs for the tests of the lowering."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F = TensorProto.FLOAT


def model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, Any] | None = None,
    *,
    x: tuple[Any, ...] = (2, 3, 8, 8),
    output: str = "y",
    opset: int = 18,
    dtype: int = F,
) -> onnx.ModelProto:
    """A model with the input ``x`` and one output."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, x)],
        [helper.make_empty_tensor_value_info(output)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; names are separated by blanks, ``_`` leaves one out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"the_{op}", **attributes)
