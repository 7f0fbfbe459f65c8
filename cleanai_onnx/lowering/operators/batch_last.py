"""Operators on arrays that have their batch as the last axis, for small networks on CPUs.

XLA's own convolution on CPU is slow where there are few channels, as in small networks, and its
gradient is slower. Here every element of a filter is multiplied with the whole image, shifted, and
all is added up. The items of a batch lie side by side, so that a row of pixels is one run of memory
without gaps, however small the image, and whatever is done to all items alike fills whole vectors.

Equal windows have equal values, to the last digit: a maximum over them has its gradient where it
belongs.

`cleanai_onnx.lowering.layout` decides which nodes of a model are computed this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators import linear
from cleanai_onnx.lowering.operators.pooling import Sizes, padding
from cleanai_onnx.lowering.registry import operator

__all__ = ["BATCH_LAST", "convolve", "maximum_of_tiles", "pays"]

BATCH_LAST = "batch-last"
"""The domain of these operators, which no file has."""

Pads: TypeAlias = tuple[tuple[int, int], ...]

MOST_PAIRS = 128
"""With more pairs of an input and an output channel than this, XLA's own is as fast."""
MOST_SHIFTS = 128
"""With more elements of a filter than this, compilation takes long."""


def pays(filters: Sequence[int], strides: Sizes, dilations: Sizes, group: int) -> bool:
    """Say whether convolutions with filters of a shape ``(O, C, h, w)`` are faster this way."""
    return (
        len(filters) == 4
        and group == 1
        and filters[0] * filters[1] <= MOST_PAIRS
        and filters[2] * filters[3] <= MOST_SHIFTS
        and all(step == 1 for step in (*strides, *dilations))
    )


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def convolve(x: Array, w: Array, b: Array, pads: Pads) -> Array:
    """Convolve ``(C, H, W, N)`` with ``(O, C, h, w)`` and add ``(O,)``: ``(O, H', W', N)``."""
    outputs, channels, *kernel = w.shape
    n = x.shape[3]
    height, width = (
        length + before + after - k + 1
        for length, (before, after), k in zip(x.shape[1:3], pads, kernel, strict=True)
    )
    x, (top, left) = _padded(x, pads)

    def added(total: Array, channel: Array | int, filters: Array) -> Array:
        # Only here are columns and items made one axis: XLA is slow where it pads that.
        flat = x.reshape(channels, x.shape[1] * x.shape[2], -1)
        for i, j in product(*map(range, kernel)):
            start = (channel, top + i, (left + j) * n)
            shifted = lax.dynamic_slice(flat, start, (1, height, width * n))
            total = total + shifted * filters[..., i, j, None, None]
        return total

    # Loops, because XLA would compute the sums anew for all that is made of them.
    if channels == 1:
        _, total = lax.scan(lambda _, one: (None, added(one[1], 0, one[0])[0]), None, (w[:, 0], b))
    else:
        start = jnp.broadcast_to(b[:, None, None], (outputs, height, width * n))
        each = (np.arange(channels, dtype=np.int32), w.swapaxes(0, 1))
        total, _ = lax.scan(lambda total, one: (added(total, *one), None), start, each)
    return total.reshape(outputs, height, width, n)


def _padded(x: Array, pads: Pads) -> tuple[Array, tuple[int, ...]]:
    """Put zeros around images; return them, and how many rows and columns more than asked for.

    Sides of even length are taken as pairs: XLA then sees through to the pairs that the gradient of
    a maximum over tiles consists of, and need not ask of each element where it lies.
    """
    cut = [
        slice(max(-a, 0), length - max(-b, 0))
        for length, (a, b) in zip(x.shape[1:3], pads, strict=True)
    ]
    x = x[:, *cut]
    parts = [2 if length % 2 == 0 else 1 for length in x.shape[1:3]]
    widths, shape, more = [(0, 0, 0)], [], []
    for length, part, pad in zip(x.shape[1:3], parts, pads, strict=True):
        before, after = (-(-max(end, 0) // part) for end in pad)
        widths += [(before, after, 0), (0, 0, 0)]
        shape += [length // part, part]
        more.append(before * part - max(pad[0], 0))
    x = x.reshape(len(x), *shape, x.shape[3])
    x = lax.pad(x, np.zeros((), x.dtype), (*widths, (0, 0, 0)))
    return x, tuple(more)


def _convolve_forward(x: Array, w: Array, b: Array, pads: Pads) -> tuple[Array, Any]:
    return convolve(x, w, b, pads), (x, w)


def _convolve_backward(pads: Pads, kept: Any, arriving: Array) -> tuple[Array, Array, Array]:
    x, w = kept
    turned = jnp.flip(w, (2, 3)).swapaxes(0, 1)
    around = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(w.shape[2:], pads, strict=True))
    of_x = convolve(arriving, turned, jnp.zeros(len(turned), x.dtype), around)
    # Those for the weights are seldom wanted, and then not computed.
    _, of_filters = jax.vjp(lambda w: _by_xla(x, w, pads), w)
    return of_x, *of_filters(arriving), jnp.sum(arriving, (1, 2, 3))


convolve.defvjp(_convolve_forward, _convolve_backward)


def _by_xla(x: Array, w: Array, pads: Pads) -> Array:
    order = ("CHWN", "OIHW", "CHWN")
    return lax.conv_general_dilated(
        x, w, (1, 1), pads, dimension_numbers=order, precision=linear.HIGHEST
    )


@operator("Conv", domain=BATCH_LAST)
def conv(
    node: Node,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    kernel_shape: Sizes | None = None,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Array:
    """Convolution (without flipping the filters) and bias."""
    found = padding(node, auto_pad, pads, x.shape[1:3], w.shape[2:], (1, 1))
    return convolve(x, w, jnp.zeros(len(w), x.dtype) if b is None else b, found)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def maximum_of_tiles(x: Array, kernel: Sizes) -> Array:
    """Return the largest element of each tile of ``(C, H, W, N)``; the gradient goes to the first.

    What is left over at the ends counts for nothing.
    """
    return _maximum_forward(x, kernel)[0]


def _maximum_forward(x: Array, kernel: Sizes) -> tuple[Array, Any]:
    """Return the largest elements, and which ones of their tiles these are."""
    rows, columns = kernel
    height, width = x.shape[1] // rows, x.shape[2] // columns
    shape = x.shape
    x = x[:, : height * rows, : width * columns]
    tiles = x.reshape(len(x), height, rows, width, columns, -1)
    largest = tiles[:, :, 0, :, 0]
    place = jnp.zeros(largest.shape, np.int32)
    for number in range(1, rows * columns):
        other = tiles[:, :, number // columns, :, number % columns]
        place = jnp.where(other > largest, number, place)
        # Not a number, if either is none.
        largest = jnp.maximum(largest, other)
    return largest, (place, shape)


def _maximum_backward(kernel: Sizes, kept: Any, arriving: Array) -> tuple[Array]:
    place, shape = kept
    channels, height, width, n = arriving.shape
    numbers = np.arange(kernel[0] * kernel[1]).reshape(1, 1, kernel[0], 1, kernel[1], 1)
    place, arriving = (a[:, :, None, :, None] for a in (place, arriving))
    spread = jnp.where(place == numbers, arriving, 0)
    spread = spread.reshape(channels, height * kernel[0], width * kernel[1], n)
    ends = [(0, whole - part, 0) for whole, part in zip(shape, spread.shape, strict=True)]
    return (lax.pad(spread, np.zeros((), spread.dtype), ends),)


maximum_of_tiles.defvjp(_maximum_forward, _maximum_backward)


@operator("MaxPool", domain=BATCH_LAST)
def max_pool(node: Node, x: Array, *, kernel_shape: Sizes) -> Array:
    """Take the maximum of tiles."""
    return maximum_of_tiles(x, kernel_shape)


@operator("Flatten", domain=BATCH_LAST)
def flatten(node: Node, x: Array) -> Array:
    """Return ``(F, N)``."""
    return x.reshape(-1, x.shape[-1])


@operator("Gemm", domain=BATCH_LAST)
def gemm(
    node: Node,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transB: int = 0,  # noqa: N803
) -> Array:
    """Product with a matrix, and bias."""
    bias = None if b is None else b.reshape(-1, 1)
    return linear.gemm(node, w if transB else w.T, x, bias, alpha=alpha, beta=beta)
