"""Fold batch normalisation into the linear node before it."""

from __future__ import annotations

import numpy as np
import onnx

from cleanai_onnx.graph.canonical.batchnorm import scale_and_shift
from cleanai_onnx.graph.canonical.editing import Edited, is_standard
from cleanai_onnx.graph.canonical.linear import linear_node
from cleanai_onnx.graph.canonical.passes import CanonicalPass

__all__ = ["FOLD_BATCHNORM_AFTER", "fold_batchnorm_after"]


def fold_batchnorm_after(proto: onnx.ModelProto) -> bool:
    r"""Fold y = s·(w·x + b) + t into the weights s·w and the bias s·b + t.

    For Conv, ConvTranspose and Gemm whose output nobody else reads. The linear node takes the name
    of the normalised output.
    """
    edited = Edited(proto)
    for index, node in edited.nodes("BatchNormalization"):
        before = edited.producer(node.input[0])
        if before is None or edited.sole_reader(node.input[0]) != index:
            continue
        linear, affine = linear_node(edited, before), scale_and_shift(node, edited)
        if linear is None or affine is None or is_standard(linear.node, "MatMul"):
            continue
        scale, shift = affine
        if scale.shape != (linear.outputs,):
            continue
        bias = np.zeros(linear.outputs) if linear.bias is None else linear.bias
        linear.rewrite(edited, linear.scaled_outputs(scale), scale * bias + shift)
        linear.node.output[0] = node.output[0]
        edited.used.add(before)
        edited.remove(index)
    return edited.finish()


FOLD_BATCHNORM_AFTER = CanonicalPass(
    name="fold batch normalisation into the layer before",
    requires="weights and statistics are stored tensors",
    ensures="no BatchNormalization in inference reads a Conv, ConvTranspose or Gemm that only it "
    "reads",
    apply=fold_batchnorm_after,
)
