"""Batch normalisation in inference as a scale and a shift of each channel."""

from __future__ import annotations

import numpy as np
import onnx

from cleanai_onnx.graph.canonical.editing import Array, Edited, real
from cleanai_onnx.graph.topology import attribute

__all__ = ["scale_and_shift"]


def scale_and_shift(node: onnx.NodeProto, edited: Edited) -> tuple[Array, Array] | None:
    """Return s and t of y = s·x + t, float64 of shape (C,), or None if they are not constant.

    s = gamma / sqrt(variance + ε), t = beta - s · mean: Ioffe and Szegedy, "Batch normalization"
    (2015), algorithm 2.
    """
    training = attribute(node, "training_mode")
    if training is not None and training.i:
        return None
    operands = [edited.array(name) for name in node.input[1:5]]
    if len(operands) != 4 or any(value is None or value.ndim != 1 for value in operands):
        return None
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in operands)
    scale = gamma / np.sqrt(variance + real(node, "epsilon", 1e-5))
    return scale, beta - scale * mean
