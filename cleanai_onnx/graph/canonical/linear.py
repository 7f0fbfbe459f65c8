"""The weight and bias of a linear node, by output and input channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from cleanai_onnx.graph.canonical.editing import LINEAR_WEIGHT, Array, Edited, is_standard, real
from cleanai_onnx.graph.topology import attribute

__all__ = ["LinearNode", "linear_node"]


@dataclass(frozen=True)
class LinearNode:
    """A linear node with a constant weight, ready to have a scale or a shift folded in.

    Attributes
    ----------
    node, index
        The node and where it stands.
    weight
        As stored.
    bias
        ``(out,)`` as it is added (a Gemm's beta multiplied in), or None.
    outputs
        Number of output channels.
    """

    node: onnx.NodeProto
    index: int
    weight: Array
    bias: Array | None
    outputs: int

    @property
    def groups(self) -> int:
        """How many groups a convolution has; 1 for others."""
        found = attribute(self.node, "group")
        return 1 if found is None else int(found.i)

    @property
    def _transposed(self) -> bool:
        """Whether a Gemm's weight has its output channels first."""
        found = attribute(self.node, "transB")
        return found is not None and bool(found.i)

    def scaled_outputs(self, scale: Array) -> Array:
        """Return the weight with output channel k multiplied by ``scale[k]``, float64."""
        w = np.asarray(self.weight, np.float64)
        if is_standard(self.node, "Conv"):
            return np.asarray(w * scale.reshape(-1, *(1,) * (w.ndim - 1)))
        if is_standard(self.node, "ConvTranspose"):
            # (in, out / groups, ...): the output channel is group · (out / groups) + column.
            grouped = w.reshape(self.groups, -1, *w.shape[1:])
            by_group = scale.reshape(self.groups, 1, w.shape[1], *(1,) * (w.ndim - 2))
            return np.asarray((grouped * by_group).reshape(w.shape))
        return np.asarray(w * (scale[:, None] if self._transposed else scale))

    def scaled_inputs(self, scale: Array) -> Array:
        """Return the weight with input channel j multiplied by ``scale[j]``, float64."""
        w = np.asarray(self.weight, np.float64)
        if is_standard(self.node, "Conv"):
            grouped = w.reshape(self.groups, -1, *w.shape[1:])
            by_group = scale.reshape(self.groups, 1, w.shape[1], *(1,) * (w.ndim - 2))
            return np.asarray((grouped * by_group).reshape(w.shape))
        if is_standard(self.node, "ConvTranspose"):
            return np.asarray(w * scale.reshape(-1, *(1,) * (w.ndim - 1)))
        return np.asarray(w * (scale if self._transposed else scale[:, None]))

    @property
    def inputs(self) -> int:
        """Number of input channels."""
        if is_standard(self.node, "Conv"):
            return int(self.weight.shape[1] * self.groups)
        if is_standard(self.node, "ConvTranspose"):
            return int(self.weight.shape[0])
        return int(self.weight.shape[1 if self._transposed else 0])

    def shift_of(self, shift: Array) -> Array:
        """Return what a constant ``shift[j]`` on every input adds to each output channel.

        Holds where every weight meets an input: not at the border of a padded convolution.
        """
        w = self.scaled_inputs(shift)
        if is_standard(self.node, "Conv"):
            return np.asarray(w.reshape(w.shape[0], -1).sum(axis=1))
        return np.asarray(w.sum(axis=1 if self._transposed else 0))

    def rewrite(self, edited: Edited, weight: Array, bias: Array | None) -> None:
        """Give the node a new weight and bias, in the type of its weight."""
        name = self.node.input[LINEAR_WEIGHT[self.node.op_type]]
        dtype = self.weight.dtype
        stored = edited.store(f"{name}_folded", weight.astype(dtype))
        edited.set_input(self.node, LINEAR_WEIGHT[self.node.op_type], stored)
        if is_standard(self.node, "Gemm"):
            edited.attribute(self.node, "alpha", 1.0)
        if bias is None:
            return
        wanted = f"{name}_bias" if len(self.node.input) < 3 else f"{self.node.input[2]}_folded"
        edited.set_input(self.node, 2, edited.store(wanted, bias.astype(dtype)))
        if is_standard(self.node, "Gemm"):
            edited.attribute(self.node, "beta", 1.0)


def linear_node(edited: Edited, index: int | None) -> LinearNode | None:
    """Return a node as linear in its first input with a constant weight, or None.

    A Gemm with a transposed first operand or a bias that is no row is none; a MatMul's weight has
    two axes.
    """
    if index is None:
        return None
    node = edited.graph.node[index]
    if not is_standard(node, *LINEAR_WEIGHT) or len(node.input) < 2:
        return None
    weight = edited.array(node.input[1])
    if weight is None or weight.dtype.kind != "f" or edited.array(node.input[0]) is not None:
        return None
    dense = is_standard(node, "Gemm", "MatMul")
    if weight.ndim != 2 if dense else weight.ndim < 3:
        return None
    flag = attribute(node, "transA")
    if is_standard(node, "Gemm") and flag is not None and flag.i:
        return None
    plain = LinearNode(node, index, weight, None, 0)
    if is_standard(node, "Conv"):
        outputs = weight.shape[0]
    elif is_standard(node, "ConvTranspose"):
        outputs = weight.shape[1] * plain.groups
    else:
        outputs = weight.shape[0 if plain._transposed else 1]
    bias = None
    if len(node.input) > 2 and node.input[2]:
        bias = edited.array(node.input[2])
        if bias is None:
            return None
        if is_standard(node, "Gemm"):
            if bias.ndim > 1 and bias.shape[0] != 1:
                return None
            bias = np.broadcast_to(bias.reshape(-1) * real(node, "beta", 1.0), (outputs,))
    if bias is not None and bias.shape != (outputs,):
        return None
    if is_standard(node, "Gemm") and real(node, "alpha", 1.0) != 1.0:
        weight = weight * np.asarray(real(node, "alpha", 1.0), weight.dtype)
    return LinearNode(node, index, weight, bias, int(outputs))
