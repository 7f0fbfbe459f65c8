"""Convolutions of few channels as products of matrices, for CPUs.

XLA's own convolution is slow where there are few channels (the first layers of small networks), and
its gradient is slower. Here the windows are gathered for one product of matrices. For the gradient,
two by two neighbouring outputs are taken together, as channels, with the windows of them all:
somewhat more arithmetic in a far better shape. The values themselves are not computed that way:
equal windows would get values that differ in their last digit by where they lie in their block, and
a maximum over them would have its gradient elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array
from cleanai_onnx.lowering.operators.linear import HIGHEST

__all__ = ["convolve_windows", "pays"]

Pads: TypeAlias = tuple[tuple[int, int], ...]

BLOCK = 2
MOST_PAIRS = 128
"""With more pairs of an input and an output channel than this, XLA's own is as fast."""


def pays(w: Array, strides: Sequence[int], dilations: Sequence[int], group: int) -> bool:
    """Say whether a convolution is of the form that is faster this way."""
    return (
        w.ndim == 4
        and group == 1
        and w.shape[0] * w.shape[1] <= MOST_PAIRS
        and min(w.shape[2:]) > 1
        and all(step == 1 for step in (*strides, *dilations))
        and jax.default_backend() == "cpu"
    )


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def convolve_windows(x: Array, w: Array, pads: Pads) -> Array:
    """Convolve ``(N, C, H, W)`` with ``(O, C, h, w)``, for convolutions that `pays` accepts."""
    n, outputs, kernel = x.shape[0], w.shape[0], w.shape[2:]
    x = lax.pad(x, np.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), *((a, b, 0) for a, b in pads)))
    height, width = (length - k + 1 for length, k in zip(x.shape[2:], kernel, strict=True))
    windows = jnp.concatenate(
        [
            x[:, :, i : i + height, j : j + width]
            for i in range(kernel[0])
            for j in range(kernel[1])
        ],
        axis=1,
    ).reshape(n, -1, height * width)
    matrix = jnp.broadcast_to(
        w.transpose(0, 2, 3, 1).reshape(outputs, -1), (n, outputs, windows.shape[1])
    )
    y = lax.dot_general(matrix, windows, (((2,), (1,)), ((0,), (0,))), precision=HIGHEST)
    return y.reshape(n, outputs, height, width)


@convolve_windows.defjvp
def _tangent(pads: Pads, at: tuple[Array, Array], moved: tuple[Any, Any]) -> tuple[Array, Array]:
    (x, w), (dx, dw) = at, moved
    return convolve_windows(x, w, pads), _in_blocks(dx, w, pads) + _in_blocks(x, dw, pads)


def _in_blocks(x: Array, w: Array, pads: Pads) -> Array:
    """Return the same, computed by blocks of outputs."""
    b = BLOCK
    n, channels = x.shape[:2]
    outputs, kernel = w.shape[0], w.shape[2:]
    size = [
        length + before + after - k + 1
        for length, k, (before, after) in zip(x.shape[2:], kernel, pads, strict=True)
    ]
    blocks = [-(-length // b) for length in size]
    # The windows of a block of outputs lie in so many blocks of inputs.
    span = [-(-(b + k - 1) // b) for k in kernel]
    rows, columns = (many + wide - 1 for many, wide in zip(blocks, span, strict=True))
    widths = [
        (before, many * b - length - before, 0)
        for length, many, (before, _) in zip(x.shape[2:], (rows, columns), pads, strict=True)
    ]
    x = lax.pad(x, np.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), *widths))
    cut = x.reshape(n, channels, rows, b, columns, b).transpose(0, 2, 4, 1, 3, 5)
    cut = cut.reshape(n, rows, columns, channels * b * b)
    windows = jnp.concatenate(
        [
            cut[:, i : i + blocks[0], j : j + blocks[1]]
            for i in range(span[0])
            for j in range(span[1])
        ],
        axis=3,
    )
    matrix = _matrix(w, span)
    y = lax.dot_general(
        windows.reshape(-1, len(matrix)), matrix, (((1,), (0,)), ((), ())), precision=HIGHEST
    )
    y = y.reshape(n, *blocks, outputs, b, b).transpose(0, 3, 1, 4, 2, 5)
    return y.reshape(n, outputs, blocks[0] * b, blocks[1] * b)[:, :, : size[0], : size[1]]


def _matrix(w: Array, span: Sequence[int]) -> Array:
    """Return the filters of every output of a block, as ``(windows, outputs · block)``."""
    b = BLOCK
    outputs, channels, *kernel = w.shape
    shifted = [
        lax.pad(
            w,
            np.zeros((), w.dtype),
            (
                (0, 0, 0),
                (0, 0, 0),
                *(
                    (first, wide * b - k - first, 0)
                    for first, wide, k in zip((i, j), span, kernel, strict=True)
                ),
            ),
        )
        for i in range(b)
        for j in range(b)
    ]
    stacked = jnp.stack(shifted).reshape(b, b, outputs, channels, span[0], b, span[1], b)
    arranged = stacked.transpose(4, 6, 3, 5, 7, 2, 0, 1)
    return arranged.reshape(span[0] * span[1] * channels * b * b, outputs * b * b)
