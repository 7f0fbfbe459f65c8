"""Which tensors are never negative, as far as the graph tells.

A rule that treats positive and negative inputs apart saves half of its work behind a ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cleanai_onnx.lowering.node import Node

__all__ = ["nonnegative_tensors"]

_ALWAYS = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"})
_IF_ALL_INPUTS = frozenset(
    {"Add", "AveragePool", "Cast", "Concat", "DepthToSpace", "Div", "Dropout", "Expand", "Flatten",
     "Gather", "GlobalAveragePool", "GlobalMaxPool", "HardSwish", "Identity", "Max", "MaxPool",
     "Mean", "Mul", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "Slice", "SpaceToDepth",
     "Split", "Sqrt", "Squeeze", "Sum", "Transpose", "Unsqueeze"}
)  # fmt: skip
_FIRST_ONLY = frozenset(
    {"Expand", "Gather", "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "Slice", "Split",
     "Squeeze", "Unsqueeze", "Dropout"}
)  # fmt: skip
"""Of these, only the first input holds values; the others say where they go."""


def nonnegative_tensors(
    nodes: Sequence[Node], constant: Callable[[str], np.ndarray | None]
) -> frozenset[str]:
    """Return the tensors that are certainly not negative.

    Parameters
    ----------
    nodes
        In topological order.
    constant
        Gives the value of a constant tensor, None for others.
    """
    found: set[str] = set()

    def holds(name: str) -> bool:
        if name in found:
            return True
        value = constant(name)
        return value is not None and value.dtype.kind in "fiu" and bool(np.all(value >= 0))

    for node in nodes:
        if node.domain:
            continue
        inputs = [name for name in node.inputs if name]
        if node.op in _FIRST_ONLY:
            inputs = inputs[:1]
        if node.op in _ALWAYS or (node.op in _IF_ALL_INPUTS and all(holds(x) for x in inputs)):
            found.update(node.outputs)
        elif node.op == "Clip":
            low = node.attributes.get("min")
            if low is None and len(node.inputs) > 1 and node.inputs[1]:
                low = constant(node.inputs[1])
            if low is not None and float(np.asarray(low).reshape(())) >= 0:
                found.update(node.outputs)
    return frozenset(found)
