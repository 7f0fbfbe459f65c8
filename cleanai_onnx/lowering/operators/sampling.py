"""Reading images between their pixels, at places that may depend on the input."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, is_static
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.convolution import add_bias
from cleanai_onnx.lowering.operators.linear import HIGHEST
from cleanai_onnx.lowering.operators.pooling import Sizes
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

Ends = Callable[[Array, int], Array]


def _pixels(x: Array, places: tuple[Array, ...]) -> Array:
    """Read pixels ``(N, C, D1, ..., Dn)`` at integer places ``(N, ...)``, zero outside.

    The result is ``(N, ..., C)``.
    """
    inside = jnp.ones(places[0].shape, bool)
    index = []
    for place, length in zip(places, x.shape[2:], strict=True):
        inside &= (place >= 0) & (place < length)
        index.append(jnp.clip(place, 0, length - 1).astype(np.int32))
    rows = np.arange(x.shape[0]).reshape(-1, *(1,) * (places[0].ndim - 1))
    moved = jnp.moveaxis(jnp.asarray(x), 1, -1)
    return jnp.where(inside[..., None], moved[(rows, *index)], np.zeros((), x.dtype))


def _linear(distance: Array) -> Array:
    return jnp.maximum(1 - jnp.abs(distance), 0)


def _cubic(distance: Array) -> Array:
    a, x = -0.75, jnp.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return jnp.where(x <= 1, near, jnp.where(x < 2, far, 0))


def interpolated(
    x: Array, places: tuple[Array, ...], kernel: Callable[[Array], Array], reach: int, ends: Ends
) -> Array:
    """Interpolate at real-valued places; `ends` maps pixels beyond the image into it."""
    whole = [jnp.floor(place) for place in places]
    total = None
    for offset in product(range(1 - reach, reach + 1), repeat=len(places)):
        weight: Array = 1
        index = []
        for axis, step in enumerate(offset):
            pixel = whole[axis] + step
            weight = weight * kernel(pixel - places[axis])
            index.append(ends(pixel, axis))
        part = _pixels(x, tuple(index)) * weight[..., None]
        total = part if total is None else total + part
    return total


def _reflected(place: Array, low: float, high: float) -> Array:
    span = high - low
    if span == 0:
        return jnp.zeros_like(place)
    turns = jnp.abs(place - low) % (2 * span)
    return low + jnp.minimum(turns, 2 * span - turns)


def _grid_sample(
    node: Node,
    x: Array,
    grid: Array,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: int = 0,
) -> Array:
    """Read `x` at the places of a grid, whose last axis is (x, y, ...) from -1 to 1."""
    sizes = x.shape[2:]
    places = []
    for axis, length in enumerate(sizes):
        g = jnp.asarray(grid)[..., len(sizes) - 1 - axis]
        places.append((g + 1) / 2 * (length - 1) if align_corners else ((g + 1) * length - 1) / 2)
    if mode == "nearest":
        places = [jnp.round(place) for place in places]

    def ends(place: Array, axis: int) -> Array:
        length = sizes[axis]
        if padding_mode == "border":
            return jnp.clip(place, 0, length - 1)
        if padding_mode == "reflection":
            low, high = (0.0, length - 1.0) if align_corners else (-0.5, length - 0.5)
            return jnp.where((place < low) | (place > high), _reflected(place, low, high), place)
        return place

    if padding_mode not in ("zeros", "border", "reflection"):
        raise node.refuse(f"its padding_mode is {padding_mode!r}")
    places = [ends(place, axis) for axis, place in enumerate(places)]

    def integer_ends(place: Array, axis: int) -> Array:
        return jnp.trunc(ends(place, axis))

    if mode == "nearest":
        y = _pixels(x, tuple(integer_ends(place, axis) for axis, place in enumerate(places)))
    elif mode in ("linear", "bilinear"):
        y = interpolated(x, tuple(places), _linear, 1, integer_ends)
    elif mode in ("cubic", "bicubic"):
        y = interpolated(x, tuple(places), _cubic, 2, integer_ends)
    else:
        raise node.refuse(f"its mode is {mode!r}")
    return jnp.moveaxis(y, -1, 1).astype(x.dtype)


@operator("GridSample", 16)
def grid_sample_2d(
    node: Node,
    x: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: int = 0,
) -> Array:
    """Read `x` at the places of a grid."""
    return _grid_sample(
        node, x, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners
    )


operator("GridSample", 20)(_grid_sample)


@operator("DeformConv", 19)
def deform_conv(
    node: Node,
    x: Array,
    w: Array,
    offset: Array,
    b: Array | None = None,
    mask: Array | None = None,
    *,
    kernel_shape: Sizes | None = None,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    group: int = 1,
    offset_group: int = 1,
) -> Array:
    """Convolve with filters whose elements are moved by offsets ``(N, 2 G kh kw, oh, ow)``."""
    if x.ndim != 4:
        raise node.refuse(f"it has {x.ndim - 2} spatial axes, only 2 are implemented")
    strides, dilations, pads = strides or (1, 1), dilations or (1, 1), pads or (0, 0, 0, 0)
    n, channels = x.shape[:2]
    kernel = w.shape[2:]
    rows, columns = offset.shape[2:]
    shifts = offset.reshape(n, offset_group, *kernel, 2, rows, columns)
    weights = None if mask is None else mask.reshape(n, offset_group, *kernel, rows, columns)
    y0 = np.arange(rows)[:, None] * strides[0] - pads[0]
    x0 = np.arange(columns)[None] * strides[1] - pads[1]
    parts = []
    per_group = channels // offset_group
    for g in range(offset_group):
        image = x[:, g * per_group : (g + 1) * per_group]
        taps = []
        for i, j in np.ndindex(*kernel):
            places = (
                shifts[:, g, i, j, 0] + (y0 + i * dilations[0]).astype(x.dtype),
                shifts[:, g, i, j, 1] + (x0 + j * dilations[1]).astype(x.dtype),
            )
            value = interpolated(image, places, _linear, 1, lambda place, axis: place)
            if weights is not None:
                value = value * weights[:, g, i, j][..., None]
            taps.append(value)
        parts.append(jnp.stack(taps))
    # (K, N, oh, ow, C) and (M, C / group, K)
    columns_of = jnp.concatenate(parts, axis=-1)
    columns_of = columns_of.reshape(*columns_of.shape[:-1], group, channels // group)
    filters = w.reshape(group, w.shape[0] // group, w.shape[1], -1)
    y = jnp.einsum("knhwgc,gmck->ngmhw", columns_of, filters, precision=HIGHEST)
    return add_bias(y.reshape(n, w.shape[0], rows, columns), b).astype(x.dtype)


def _roi_align(
    node: Node,
    x: Array,
    rois: Array,
    batch: Array,
    mode: str,
    height: int,
    width: int,
    ratio: int,
    scale: float,
    offset: float,
) -> Array:
    if mode not in ("avg", "max"):
        raise node.refuse(f"its mode is {mode!r}")
    boxes = rois * scale - np.asarray(offset, rois.dtype)
    extent = boxes[:, 2:] - boxes[:, :2]
    if not offset:
        extent = jnp.maximum(extent, 1)
    bins = extent / np.asarray([width, height], rois.dtype)
    if ratio > 0:
        across = down = ratio
    else:
        if not is_static(rois):
            raise node.refuse("its sampling_ratio is 0, with regions that are computed")
        counts = np.ceil(np.asarray(bins)).astype(np.int64)
        if (counts != counts[:1]).any():
            raise node.refuse("its sampling_ratio is 0, with regions of different sizes")
        across, down = (int(count) for count in counts[0])
    ys = (np.arange(height * down) + 0.5) / down
    xs = (np.arange(width * across) + 0.5) / across
    places = []
    for steps, start, size, length in (
        (ys, boxes[:, 1], bins[:, 1], x.shape[2]),
        (xs, boxes[:, 0], bins[:, 0], x.shape[3]),
    ):
        place: Array = start[:, None] + size[:, None] * steps.astype(x.dtype)
        outside = (place < -1) | (place > length)
        place = jnp.clip(place, 0, length - 1)
        places.append((place, outside))
    (py, oy), (px, ox) = places
    images = jnp.take(x, batch.astype(np.int32), axis=0)
    shape = (py.shape[0], py.shape[1], px.shape[1])
    grid = (
        jnp.broadcast_to(py[:, :, None], shape),
        jnp.broadcast_to(px[:, None, :], shape),
    )
    beyond = oy[:, :, None] | ox[:, None, :]
    if mode == "avg":
        values = interpolated(images, grid, _linear, 1, lambda place, axis: place)
    else:
        values = _largest_part(images, grid)
    values = jnp.where(beyond[..., None], np.zeros((), x.dtype), values)
    values = values.reshape(shape[0], height, down, width, across, -1)
    y = values.mean(axis=(2, 4)) if mode == "avg" else values.max(axis=(2, 4))
    return jnp.moveaxis(y, -1, 1).astype(x.dtype)


def _largest_part(x: Array, places: tuple[Array, ...]) -> Array:
    """Return the largest of the weighted neighbours, as RoiAlign's maximum is defined."""
    whole = [
        jnp.minimum(jnp.floor(place), length - 1)
        for place, length in zip(places, x.shape[2:], strict=True)
    ]
    best = None
    for steps in product((0, 1), repeat=2):
        weight, index = jnp.ones_like(places[0]), []
        for axis, step in enumerate(steps):
            fraction = places[axis] - whole[axis]
            weight = weight * (fraction if step else 1 - fraction)
            index.append(jnp.minimum(whole[axis] + step, x.shape[2 + axis] - 1))
        part = _pixels(x, tuple(index)) * weight[..., None]
        best = part if best is None else lax.max(best, part)
    return best


@operator("RoiAlign", 10)
def roi_align_without_offset(
    node: Node,
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """Pool regions of an image, read between its pixels."""
    return _roi_align(
        node, x, rois, batch_indices, mode, output_height, output_width, sampling_ratio,
        spatial_scale, 0.0,
    )  # fmt: skip


@operator("RoiAlign", 16)
def roi_align(
    node: Node,
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """Pool regions of an image, read between its pixels."""
    offset = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    return _roi_align(
        node, x, rois, batch_indices, mode, output_height, output_width, sampling_ratio,
        spatial_scale, offset,
    )  # fmt: skip
