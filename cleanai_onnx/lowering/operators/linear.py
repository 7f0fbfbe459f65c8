"""Products of matrices."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, is_floating, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__ = ["HIGHEST", "accumulator", "matmul", "product"]

HIGHEST = lax.Precision.HIGHEST


def product(a: Array, b: Array) -> Array:
    """Matrix product in full precision; static if both are."""
    if namespace(a, b) is np:
        return np.matmul(a, b)
    kind = jnp.result_type(a, b)
    return jnp.matmul(a, b, precision=HIGHEST, preferred_element_type=accumulator(kind)).astype(
        kind
    )


def accumulator(dtype: Any) -> Any:
    """Return the type that sums of many products are taken in: at least float32."""
    return jnp.promote_types(dtype, np.float32) if jnp.issubdtype(dtype, jnp.floating) else dtype


@operator("MatMul")
def matmul(node: Node, a: Array, b: Array) -> Array:
    """Numpy's matmul."""
    return product(a, b)


@operator("Gemm")
def gemm(
    node: Node,
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    broadcast: int = 0,
) -> Array:
    """Alpha a b + beta c, a and b transposed where asked."""
    y = product(a.T if transA else a, b.T if transB else b)
    if alpha != 1:
        y = (y * alpha).astype(y.dtype)
    if c is None or beta == 0:
        return y
    return y + (c if beta == 1 else (c * beta).astype(c.dtype))


@operator("Einsum", 12)
def einsum(node: Node, *arrays: Array, equation: str) -> Array:
    """Einstein's summation."""
    return jnp.einsum(equation.replace(" ", ""), *arrays, precision=HIGHEST)


@operator("Det", 11)
def det(node: Node, x: Array) -> Array:
    """Return determinants of the matrices in the last two axes."""
    if not is_floating(x):
        raise node.refuse("determinants of integers are not implemented")
    return jnp.linalg.det(x)
