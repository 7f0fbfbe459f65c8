"""Fold batch normalisation into the linear node after it."""

from __future__ import annotations

import numpy as np
import onnx

from cleanai_onnx.graph.canonical.batchnorm import scale_and_shift
from cleanai_onnx.graph.canonical.editing import Edited, ints, is_standard
from cleanai_onnx.graph.canonical.linear import linear_node
from cleanai_onnx.graph.canonical.passes import CanonicalPass
from cleanai_onnx.graph.topology import attribute

__all__ = ["FOLD_BATCHNORM_BEFORE", "fold_batchnorm_before"]


def fold_batchnorm_before(proto: onnx.ModelProto) -> bool:
    r"""Fold w·(s·x + t) + b into the weights w·s and the bias b + w·t.

    A padded convolution pads the *normalised* tensor with zeros, so that near the border w·t lacks
    terms: it is folded only where there is no padding, or t is zero. For the same reason a
    ConvTranspose, whose outputs meet different numbers of weights, is folded only where t is zero.
    """
    edited = Edited(proto)
    for index, node in edited.nodes("BatchNormalization"):
        after = edited.sole_reader(node.output[0])
        linear = linear_node(edited, after)
        if linear is None or after is None or linear.node.input[0] != node.output[0]:
            continue
        affine = scale_and_shift(node, edited)
        if affine is None or is_standard(linear.node, "MatMul"):
            continue
        scale, shift = affine
        if scale.shape != (linear.inputs,) or (np.any(shift) and not _uniform(linear.node)):
            continue
        bias = np.zeros(linear.outputs) if linear.bias is None else linear.bias
        linear.rewrite(
            edited,
            linear.scaled_inputs(scale),
            bias + linear.shift_of(shift) if np.any(shift) else bias,
        )
        edited.set_input(linear.node, 0, node.input[0])
        edited.used.add(after)
        edited.remove(index)
    return edited.finish()


def _uniform(node: onnx.NodeProto) -> bool:
    """Say whether every output of a linear node meets all of its weights."""
    if is_standard(node, "Gemm"):
        return True
    padding = attribute(node, "auto_pad")
    automatic = padding is not None and padding.s not in (b"", b"NOTSET", b"VALID")
    return is_standard(node, "Conv") and not automatic and not any(ints(node, "pads"))


FOLD_BATCHNORM_BEFORE = CanonicalPass(
    name="fold batch normalisation into the layer after",
    requires="weights and statistics are stored tensors",
    ensures="no BatchNormalization in inference is read by a Gemm or an unpadded Conv alone",
    apply=fold_batchnorm_before,
)
