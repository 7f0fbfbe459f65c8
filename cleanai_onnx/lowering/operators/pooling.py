"""Pooling over windows and over whole images, in any number of spatial dimensions.

Tensors are (N, C, D1, ..., Dn).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, Static, cast, is_floating
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__ = ["Windows", "padding"]

Sizes = tuple[int, ...]

_FEW = 9


def padding(
    node: Node,
    auto_pad: str,
    pads: Sizes | None,
    size: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Return how much is added before and after each spatial axis.

    `window` is the extent of the kernel, dilation included.
    """
    if auto_pad == "VALID":
        return ((0, 0),) * len(size)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for length, extent, stride in zip(size, window, strides, strict=True):
            total = max((math.ceil(length / stride) - 1) * stride + extent - length, 0)
            less, more = total // 2, total - total // 2
            found.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
        return tuple(found)
    if auto_pad not in ("", "NOTSET"):
        raise node.refuse(f"its auto_pad is {auto_pad!r}")
    values = pads or (0,) * (2 * len(size))
    if len(values) != 2 * len(size):
        raise ValueError(f"{len(values)} pads for {len(size)} spatial axes")
    return tuple(zip(values[: len(size)], values[len(size) :], strict=True))


@dataclass(frozen=True)
class Windows:
    """Where the windows of a pooling lie, one entry for each spatial axis.

    `pads` are the zeros that the node asks for; `extra` is what is missing behind them to complete
    the last window (with ceil_mode).
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    pads: tuple[tuple[int, int], ...]
    extra: Sizes
    size: Sizes

    @classmethod
    def of(
        cls,
        node: Node,
        x: Array,
        kernel: Sizes,
        strides: Sizes | None,
        dilations: Sizes | None,
        pads: Sizes | None,
        auto_pad: str,
        ceil_mode: int,
    ) -> Windows:
        """Work out the windows over `x`."""
        spatial = x.shape[2:]
        if len(kernel) != len(spatial):
            raise ValueError(f"a kernel of {len(kernel)} axes for {len(spatial)} spatial axes")
        strides = strides or (1,) * len(spatial)
        dilations = dilations or (1,) * len(spatial)
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        found = padding(node, auto_pad, pads, spatial, extents, strides)
        size, extra = [], []
        for length, extent, stride, (before, after) in zip(
            spatial, extents, strides, found, strict=True
        ):
            room = length + before + after - extent
            if room < 0:
                raise ValueError(f"a window of {extent} on an axis of {length}")
            steps = room // stride
            if ceil_mode and auto_pad in ("", "NOTSET"):
                steps = -(-room // stride)
                # A window must begin inside the image or the padding before it.
                if steps * stride >= length + before:
                    steps -= 1
            size.append(steps + 1)
            extra.append(max(steps * stride - room, 0))
        return cls(kernel, strides, dilations, found, tuple(extra), tuple(size))

    @property
    def padded(self) -> tuple[tuple[int, int], ...]:
        """All that is added before and after each spatial axis."""
        return tuple((b, a + more) for (b, a), more in zip(self.pads, self.extra, strict=True))

    def reduced(self, x: Array, start: Array, function: Callable[..., Any]) -> Array:
        """Reduce each window with a function of `lax` that JAX can differentiate."""
        return lax.reduce_window(
            x,
            start,
            function,
            (1, 1, *self.kernel),
            (1, 1, *self.strides),
            ((0, 0), (0, 0), *self.padded),
            window_dilation=(1, 1, *self.dilations),
        )

    def elements(self, x: Array, fill: Array) -> Array:
        """Return ``(K, N, C, ...)``: the K elements of each window, `fill` outside the image."""
        return jnp.stack(self.parts(x, fill))

    def parts(self, x: Array, fill: Array) -> list[Array]:
        """Return the K elements of each window, ``(N, C, ...)`` each; the last axis runs first."""
        widths = [(0, 0), (0, 0), *self.padded]
        x = jnp.pad(x, widths, constant_values=fill)
        parts = []
        for offset in product(*(range(k) for k in self.kernel)):
            index = [slice(None), slice(None)]
            for axis, step in enumerate(offset):
                first = step * self.dilations[axis]
                last = first + (self.size[axis] - 1) * self.strides[axis] + 1
                index.append(slice(first, last, self.strides[axis]))
            parts.append(x[tuple(index)])
        return parts

    @property
    def tile(self) -> bool:
        """Whether the windows are few elements each, side by side, with nothing added."""
        return (
            self.kernel == self.strides
            and math.prod(self.kernel) <= _FEW
            and not any(map(any, self.padded))
            and all(step == 1 for step in self.dilations)
        )

    def counts(self, sizes: Sequence[int], include_pads: bool) -> Static:
        """Return how many elements of each window count, as an array of the output's size."""
        counts = np.ones((), np.int64)
        for axis, length in enumerate(sizes):
            before, after = self.pads[axis]
            low, high = (-before, length + after) if include_pads else (0, length)
            first = np.arange(self.size[axis]) * self.strides[axis] - before
            offsets = np.arange(self.kernel[axis]) * self.dilations[axis]
            places = first[:, None] + offsets
            counts = np.multiply.outer(counts, ((places >= low) & (places < high)).sum(axis=1))
        return counts


def lowest(dtype: np.dtype[np.generic]) -> Static:
    """Return what is not larger than any number of a type."""
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(-np.inf, dtype)
    return np.asarray(jnp.iinfo(dtype).min, dtype)


@operator("MaxPool")
def max_pool(
    node: Node,
    x: Array,
    *,
    kernel_shape: Sizes,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    storage_order: int = 0,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window, and where it lies if that is asked for."""
    windows = Windows.of(node, x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if len(node.outputs) > 1 and node.outputs[1]:
        return _max_and_index(x, windows, storage_order)
    if any(step != 1 for step in windows.dilations) and is_floating(x):
        # JAX has no gradient for windows with gaps.
        return jnp.max(windows.elements(x, lowest(x.dtype)), axis=0)
    if windows.tile and is_floating(x):
        return _largest(windows.parts(x, lowest(x.dtype)))
    return windows.reduced(x, lowest(x.dtype), lax.max)


def _largest(parts: Sequence[Array]) -> Array:
    """Return the largest of several arrays, element by element; the gradient goes to the first.

    The gradient that JAX has for windows takes several times longer on CPU.
    """
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        left = [jnp.where((a >= b) | jnp.isnan(a), a, b) for a, b in pairs]
        parts = [*left, *parts[len(left) * 2 :]]
    return parts[0]


def _max_and_index(x: Array, windows: Windows, storage_order: int) -> tuple[Array, Array]:
    spatial = x.shape[2:]
    order: Literal["F", "C"] = "F" if storage_order else "C"
    places = np.arange(math.prod(spatial), dtype=np.int32).reshape(spatial, order=order)
    planes = np.arange(x.shape[0] * x.shape[1], dtype=np.int32) * math.prod(spatial)
    indices = planes.reshape(x.shape[:2] + (1,) * len(spatial)) + places
    values = windows.elements(x, lowest(x.dtype))
    best = jnp.argmax(values, axis=0)[None]
    found = jnp.take_along_axis(windows.elements(jnp.asarray(indices), -1), best, axis=0)[0]
    return jnp.take_along_axis(values, best, axis=0)[0], cast(found, np.int64)


@operator("AveragePool")
def average_pool(
    node: Node,
    x: Array,
    *,
    kernel_shape: Sizes,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Array:
    """Take the mean of each window."""
    windows = Windows.of(node, x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    sums = windows.reduced(x, np.zeros((), x.dtype), lax.add)
    counts = windows.counts(x.shape[2:], bool(count_include_pad))
    if (counts == counts.flat[0]).all():
        return sums / np.asarray(counts.flat[0], x.dtype)
    return sums / counts.astype(x.dtype)


@operator("LpPool")
def lp_pool(
    node: Node,
    x: Array,
    *,
    kernel_shape: Sizes,
    p: int = 2,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Array:
    """Take the p-norm of each window."""
    windows = Windows.of(node, x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    powers = jnp.abs(x) ** p
    return windows.reduced(powers, np.zeros((), x.dtype), lax.add) ** (1.0 / p)


@operator("MaxUnpool", 9, static=("output_shape",))
def max_unpool(
    node: Node,
    x: Array,
    indices: Array,
    output_shape: Static | None = None,
    *,
    kernel_shape: Sizes,
    strides: Sizes | None = None,
    pads: Sizes | None = None,
) -> Array:
    """Put each maximum back where it was, zeros elsewhere."""
    spatial = x.shape[2:]
    strides = strides or (1,) * len(spatial)
    pads = pads or (0,) * (2 * len(spatial))
    own = tuple(
        (length - 1) * strides[i] + kernel_shape[i] - pads[i] - pads[i + len(spatial)]
        for i, length in enumerate(spatial)
    )
    shape = (*x.shape[:2], *own)
    target = shape if output_shape is None else tuple(int(size) for size in output_shape)
    flat = jnp.zeros(math.prod(shape), x.dtype)
    y = flat.at[indices.reshape(-1)].set(x.reshape(-1)).reshape(shape)
    widths = [(0, wanted - size) for wanted, size in zip(target, shape, strict=True)]
    return y if target == shape else jnp.pad(y, widths)


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool")
def global_average_pool(node: Node, x: Array) -> Array:
    """Mean of each channel."""
    return jnp.mean(x, axis=_spatial(x), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(node: Node, x: Array) -> Array:
    """Maximum of each channel."""
    return jnp.max(x, axis=_spatial(x), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node, x: Array, *, p: int = 2) -> Array:
    """p-norm of each channel."""
    return jnp.sum(jnp.abs(x) ** p, axis=_spatial(x), keepdims=True) ** (1.0 / p)
