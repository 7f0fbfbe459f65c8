"""Linear layers as a pair of functions: forward, and transposed.

Dense layers are here, convolutions in `cleanai_onnx.relevance.convolution`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["Dense", "LinearMap", "Prepared", "product"]

Array: TypeAlias = Any
Prepared: TypeAlias = tuple[Array, ...]


class LinearMap(Protocol):
    """z = forward(x, w), linear in x and in w, without a bias."""

    channels_last: ClassVar[bool]
    """Whether x and z have their channels last (`cleanai_onnx.relevance.layouts`)."""

    def prepare(self, weight: Array) -> Prepared:
        """Bring a weight (numpy, as ONNX stores it) into the forms that the map uses."""

    def forward(self, x: Array, weight: Prepared) -> Array:
        """Return z."""

    def transposed(self, s: Array, weight: Prepared) -> Array:
        r"""Return :math:`\sum_k w_{jk} s_k`, of the shape of x."""

    def bias(self, bias: Array) -> Array:
        """Return a stored bias in a form that can be added to z."""


@dataclass(frozen=True)
class Dense:
    """A product with a stored matrix: Gemm, or MatMul with a constant on either side.

    Attributes
    ----------
    transposed_weight
        Whether the weight has its outputs first.
    transposed_input
        Whether the input is transposed before (Gemm's transA).
    left
        Whether the weight is the left operand of the MatMul.
    scale
        Gemm's alpha.
    bias_scale
        Gemm's beta.
    """

    transposed_weight: bool = False
    transposed_input: bool = False
    left: bool = False
    scale: float = 1.0
    bias_scale: float = 1.0
    channels_last: ClassVar[bool] = False

    def prepare(self, weight: Array) -> Prepared:
        """Return the matrix, inputs first."""
        matrix = weight.T if self.transposed_weight else weight
        return (np.ascontiguousarray(matrix * np.asarray(self.scale, matrix.dtype)),)

    def forward(self, x: Array, weight: Prepared) -> Array:
        """Return the product."""
        (matrix,) = weight
        if self.left:
            return product(matrix, x)
        return product(x.T if self.transposed_input else x, matrix)

    def transposed(self, s: Array, weight: Prepared) -> Array:
        """Return the product with the transposed matrix."""
        (matrix,) = weight
        back = jnp.swapaxes(matrix, -1, -2)
        if self.left:
            return product(back, s)
        back = product(s, back)
        return back.T if self.transposed_input else back

    def bias(self, bias: Array) -> Array:
        """Return the bias, which numpy's rules add to z."""
        return bias * np.asarray(self.bias_scale, bias.dtype)


def product(a: Array, b: Array) -> Array:
    """Return the matrix product in full precision."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
