"""Convolutions in any number of spatial dimensions.

Tensors are (N, C, D1, ..., Dn), filters (M, C / group, k1, ..., kn); for the transposed convolution
(C, M / group, k1, ..., kn).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, per_channel
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators import windows
from cleanai_onnx.lowering.operators.linear import HIGHEST, accumulator
from cleanai_onnx.lowering.operators.pooling import Sizes, padding
from cleanai_onnx.lowering.registry import operator

__all__ = ["add_bias", "convolve", "depthwise"]

MOST_SHIFTS = 128
"""Depthwise filters with more elements than this are left to XLA."""

Pads = tuple[tuple[int, int], ...]


def convolve(x: Array, w: Array, strides: Sizes, pads: Pads, dilations: Sizes, group: int) -> Array:
    """Convolve in full precision."""
    kind, wide = x.dtype, accumulator(x.dtype)
    if kind != wide:
        return convolve(x.astype(wide), w.astype(wide), strides, pads, dilations, group).astype(
            kind
        )
    spatial = x.ndim - 2
    if group > 1 and w.shape[1] == 1 and int(np.prod(w.shape[2:])) <= MOST_SHIFTS:
        return depthwise(x, w, strides, pads, dilations)
    if windows.pays(w, strides, dilations, group):
        return windows.convolve_windows(x, w, tuple(pads))
    letters = "DHW"[-spatial:] if spatial <= 3 else "DEFGHW"[:spatial]
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=strides,
        padding=pads,
        rhs_dilation=dilations,
        dimension_numbers=(f"NC{letters}", f"OI{letters}", f"NC{letters}"),
        feature_group_count=group,
        precision=HIGHEST,
    )


def depthwise(x: Array, w: Array, strides: Sizes, pads: Pads, dilations: Sizes) -> Array:
    """Convolve each channel with filters of its own, as shifted multiply-adds.

    XLA's own depthwise convolution on CPU takes many times as long.
    """
    multiplier = w.shape[0] // x.shape[1]
    if multiplier > 1:
        x = jnp.repeat(x, multiplier, axis=1)
    x = lax.pad(x, np.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), *((a, b, 0) for a, b in pads)))
    kernel = w.shape[2:]
    size = [
        (length - d * (k - 1) - 1) // s + 1
        for length, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    ]
    offsets = [
        tuple(step * d for step, d in zip(steps, dilations, strict=True))
        for steps in product(*(range(k) for k in kernel))
    ]
    phases = _phases(x, offsets, strides)
    total = None
    for offset, steps in zip(offsets, product(*(range(k) for k in kernel)), strict=True):
        phase = phases[tuple(o % s for o, s in zip(offset, strides, strict=True))]
        first = [o // s for o, s in zip(offset, strides, strict=True)]
        last = [f + n for f, n in zip(first, size, strict=True)]
        part = lax.slice(phase, (0, 0, *first), (*x.shape[:2], *last))
        term = part * w[(slice(None), 0, *steps)].reshape(-1, *(1,) * len(kernel))
        total = term if total is None else total + term
    return total


def _phases(x: Array, offsets: Iterable[Sizes], strides: Sizes) -> dict[Sizes, Array]:
    """Return every stride-th element of `x`, from each of the first ones on that is needed.

    With them apart, every shift is a block without gaps; the gradient is then several times
    quicker.
    """
    if all(stride == 1 for stride in strides):
        return {(0,) * len(strides): x}
    starts = sorted({tuple(o % s for o, s in zip(f, strides, strict=True)) for f in offsets})
    parts = tuple(lax.slice(x, (0, 0, *r), x.shape, (1, 1, *strides)) for r in starts)
    return dict(zip(starts, lax.optimization_barrier(parts), strict=True))


def add_bias(y: Array, b: Array | None) -> Array:
    """Add a number to each channel."""
    return y if b is None else y + per_channel(b, y)


@operator("Conv")
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
    kernel = w.shape[2:]
    if kernel_shape is not None and tuple(kernel_shape) != tuple(kernel):
        raise ValueError(f"kernel_shape {kernel_shape} but filters of {kernel}")
    if x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"filters {w.shape} in {group} groups for an input {x.shape}")
    strides = strides or (1,) * len(kernel)
    dilations = dilations or (1,) * len(kernel)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    found = padding(node, auto_pad, pads, x.shape[2:], extents, strides)
    return add_bias(convolve(x, w, strides, found, dilations, group), b)


@operator("ConvTranspose")
def conv_transpose(
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
    output_padding: Sizes | None = None,
    output_shape: Sizes | None = None,
) -> Array:
    """Spread each input over its window: the gradient of a convolution, and bias."""
    kernel = w.shape[2:]
    axes = len(kernel)
    if kernel_shape is not None and tuple(kernel_shape) != tuple(kernel):
        raise ValueError(f"kernel_shape {kernel_shape} but filters of {kernel}")
    if x.shape[1] != w.shape[0] or w.shape[0] % group:
        raise ValueError(f"filters {w.shape} in {group} groups for an input {x.shape}")
    strides = strides or (1,) * axes
    dilations = dilations or (1,) * axes
    behind = output_padding or (0,) * axes
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [
        s * (length - 1) + extent + more
        for length, s, extent, more in zip(x.shape[2:], strides, extents, behind, strict=True)
    ]
    wanted = None
    if output_shape is not None:
        wanted = tuple(output_shape)[-axes:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(length * s for length, s in zip(x.shape[2:], strides, strict=True))
    if wanted is None:
        cut = padding(node, auto_pad, pads, x.shape[2:], extents, strides)
    else:
        totals = [have - want for have, want in zip(full, wanted, strict=True)]
        # SAME_UPPER cuts the larger half behind, every other mode before.
        upper = auto_pad == "SAME_UPPER"
        cut = tuple((t // 2, t - t // 2) if upper else (t - t // 2, t // 2) for t in totals)
    # (C, M / g, ...) as filters (M, C / g, ...) of an ordinary convolution, flipped.
    w = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    w = jnp.swapaxes(w, 1, 2).reshape(-1, x.shape[1] // group, *kernel)
    w = jnp.flip(w, tuple(range(2, w.ndim)))
    spread = tuple(
        (extent - 1 - before, extent - 1 - after + more)
        for extent, (before, after), more in zip(extents, cut, behind, strict=True)
    )
    letters = "DHW"[-axes:] if axes <= 3 else "DEFGHW"[:axes]
    wide = accumulator(x.dtype)
    y = lax.conv_general_dilated(
        x.astype(wide),
        w.astype(wide),
        window_strides=(1,) * axes,
        padding=spread,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        dimension_numbers=(f"NC{letters}", f"OI{letters}", f"NC{letters}"),
        feature_group_count=group,
        precision=HIGHEST,
    )
    return add_bias(y.astype(x.dtype), b)
