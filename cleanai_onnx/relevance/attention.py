r"""Softmax and matrix products of two computed operands: the rules of AttnLRP.

Achtibat et al., "AttnLRP: attention-aware layer-wise relevance propagation for transformers"
(2024), section 3.3.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from cleanai_onnx.relevance.redistribution import balance, per_image, redistributes
from cleanai_onnx.relevance.rules import stabilised
from cleanai_onnx.relevance.visit import Redistributed, Visit

__all__ = ["matrix_product", "softmax"]

Array: TypeAlias = Any


@redistributes("Softmax")
def softmax(visit: Visit) -> Redistributed:
    r"""Use :math:`R_i = x_i (R_i - s_i \sum_j R_j)` (proposition 3.1), x before and s after.

    It is the first-order Taylor decomposition at x; what is left over is the softmax's bias.
    """
    x, s, relevance = visit.input(0), visit.output(), visit.only
    since_13 = visit.node.opset >= 13
    axis = int(visit.attribute("axis", -1 if since_13 else 1)) % x.ndim
    # Before version 13, everything from the axis on is one distribution.
    axes = (axis,) if since_13 else tuple(range(axis, x.ndim))
    total = relevance.sum(axis=axes, keepdims=True)
    inputs = {0: x * (relevance - s * total)}
    return Redistributed(inputs, biases=balance(visit, inputs))


@redistributes("Einsum", "MatMul")
def matrix_product(visit: Visit) -> Redistributed:
    r"""Use the ε rule on each operand with half of the relevance (proposition 3.3).

    .. math:: R_{ji}(A) = \sum_p A_{ji} V_{ip} \frac{R_{jp}}{2\,O_{jp} + ε}, \quad O = A V

    With one computed operand it is the ε rule of a linear layer.
    """
    operands = [visit.input(i) for i in visit.data]
    (z,) = visit.function()(*operands)
    count = len(operands)
    share = visit.only / stabilised(z * count, visit.stabiliser)
    gradients = visit.pull_back(operands, [share])
    inputs = {i: x * gradients[i] for i, x in zip(visit.data, operands, strict=True)}
    left = per_image(visit.only - count * share * z) if visit.accounts else None
    return Redistributed(inputs, stabilisers=left)
