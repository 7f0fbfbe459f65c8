"""Fold constants that are added to, or multiplied with, the output of a linear node."""

from __future__ import annotations

import itertools

import numpy as np
import onnx

from cleanai_onnx.graph.canonical.editing import Array, Edited, ints, is_standard
from cleanai_onnx.graph.canonical.linear import LinearNode, linear_node
from cleanai_onnx.graph.canonical.passes import CanonicalPass

__all__ = ["FOLD_AFFINE", "fold_affine"]


def fold_affine(proto: onnx.ModelProto) -> bool:
    """Fold Add, Sub, Mul and Div by a constant for each channel into the linear node before.

    Converters put bias and batch normalisation so, and may have a Transpose in between (an NHWC
    model whose convolutions were wrapped for ONNX). A MatMul takes a factor only; its bias needs
    `cleanai_onnx.graph.canonical.gemm`.
    """
    edited = Edited(proto)
    for index, node in edited.nodes("Add", "Sub", "Mul", "Div"):
        found = _operands(node, edited)
        if found is None:
            continue
        source, constant = found
        chain = _chain(edited, source, index)
        if chain is None:
            continue
        linear, transposes = chain
        row = _by_channel(constant, linear, [edited.graph.node[i] for i in transposes])
        if row is None:
            continue
        if is_standard(node, "Add", "Sub"):
            if is_standard(linear.node, "MatMul"):
                continue
            old = np.zeros(linear.outputs) if linear.bias is None else linear.bias
            scale = np.ones(linear.outputs)
            bias: Array | None = old + (-row if node.op_type == "Sub" else row)
        else:
            scale = row if node.op_type == "Mul" else 1.0 / row
            bias = None if linear.bias is None else linear.bias * scale
            if not np.all(np.isfinite(scale)):
                continue
        linear.rewrite(edited, linear.scaled_outputs(scale), bias)
        _rename_chain(edited, [linear.index, *transposes], node.output[0])
        edited.used.update({linear.index, *transposes})
        edited.remove(index)
    return edited.finish()


def _operands(node: onnx.NodeProto, edited: Edited) -> tuple[str, Array] | None:
    """Return the operand that is computed and the one that is constant."""
    first, second = (edited.array(name) for name in node.input)
    if second is not None and first is None and second.dtype.kind == "f":
        return node.input[0], second
    commutes = is_standard(node, "Add", "Mul")
    if commutes and first is not None and second is None and first.dtype.kind == "f":
        return node.input[1], first
    return None


def _chain(edited: Edited, source: str, reader: int) -> tuple[LinearNode, list[int]] | None:
    """Return the linear node that makes a tensor, and the Transposes between, in graph order."""
    transposes: list[int] = []
    for _ in range(4):
        if edited.sole_reader(source) != reader:
            return None
        index = edited.producer(source)
        if index is None:
            return None
        node = edited.graph.node[index]
        if not is_standard(node, "Transpose"):
            linear = linear_node(edited, index)
            return None if linear is None else (linear, transposes[::-1])
        transposes.append(index)
        source, reader = node.input[0], index
    return None


def _by_channel(
    constant: Array, linear: LinearNode, transposes: list[onnx.NodeProto]
) -> Array | None:
    """Return a constant as one number for each output channel, or None if it is something else."""
    if constant.size == 1:
        if constant.ndim > 2:
            return None
        return np.full(linear.outputs, float(constant.reshape(())))
    rank = _rank(linear, constant)
    if rank is None:
        return None
    axis = 1 if is_standard(linear.node, "Conv", "ConvTranspose") else rank - 1
    for node in transposes:
        order = ints(node, "perm", range(rank)[::-1])
        if len(order) != rank:
            return None
        axis = order.index(axis)
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if len(shape) != rank or any(n != 1 for i, n in enumerate(shape) if i != axis):
        return None
    if shape[axis] != linear.outputs:
        return None
    return np.asarray(constant, np.float64).reshape(-1)


def _rank(linear: LinearNode, constant: Array) -> int | None:
    if is_standard(linear.node, "Conv", "ConvTranspose"):
        return int(linear.weight.ndim)
    if is_standard(linear.node, "Gemm"):
        return 2
    # The rank of a MatMul's first operand is not known here: the last axis is the channel's.
    return max(int(constant.ndim), 2)


def _rename_chain(edited: Edited, chain: list[int], result: str) -> None:
    """Give the last node of a chain the name of the folded result, the others new names.

    Their values are no longer those of the tensors that they were called after.
    """
    for index, following in itertools.pairwise(chain):
        node, reader = edited.graph.node[index], edited.graph.node[following]
        node.output[0] = reader.input[0] = edited.fresh(f"{node.output[0]}_folded")
    edited.graph.node[chain[-1]].output[0] = result


FOLD_AFFINE = CanonicalPass(
    name="fold constants into the layer before",
    requires="weights and constants are stored tensors",
    ensures="no Add, Sub, Mul or Div by a constant for each channel reads, directly or through "
    "Transposes, a linear node that only it reads (a MatMul keeps its Add)",
    apply=fold_affine,
)
