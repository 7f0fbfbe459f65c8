"""Resizing by interpolation, one axis at a time.

For a static input size, what an output element reads along an axis, and with which weights, is
known while tracing: each axis is a small matrix, applied as a few shifted multiply-adds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, Static, is_floating
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.shaping import ints
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

MOST_TAPS = 8
"""With more elements than this for each output, a product with the matrix is quicker."""


@dataclass(frozen=True)
class Interpolation:
    """How elements are interpolated: the attributes of Resize."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


def positions(
    node: Node,
    how: Interpolation,
    length: int,
    size: int,
    scale: float,
    roi: tuple[float, float] | None,
) -> Static:
    """Return where each of `size` outputs lies among `length` inputs, as float64."""
    y = np.arange(size, dtype=np.float64)
    exact = scale * length
    kind = how.coordinates
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and size > 1):
        return (y + 0.5) / scale - 0.5
    if kind == "pytorch_half_pixel":
        return np.full(size, -0.5)
    if kind == "half_pixel_symmetric":
        return length / 2 * (1 - size / exact) + (y + 0.5) / scale - 0.5
    if kind == "align_corners":
        return y * (length - 1) / (exact - 1) if exact != 1 else np.zeros(size)
    if kind == "asymmetric":
        return y / scale
    if kind == "tf_half_pixel_for_nn":
        return (y + 0.5) / scale
    if kind == "tf_crop_and_resize" and roi is not None:
        start, end = roi
        if exact == 1:
            return np.full(size, (start + end) * (length - 1) / 2)
        return start * (length - 1) + y * (end - start) * (length - 1) / (exact - 1)
    raise node.refuse(f"its coordinate_transformation_mode is {kind!r}")


def _nearest(node: Node, how: Interpolation, places: Static) -> Static:
    if how.nearest == "round_prefer_floor":
        return np.ceil(places - 0.5)
    if how.nearest == "round_prefer_ceil":
        return np.floor(places + 0.5)
    if how.nearest == "floor":
        return np.floor(places)
    if how.nearest == "ceil":
        return np.ceil(places)
    raise node.refuse(f"its nearest_mode is {how.nearest!r}")


def _kernel(node: Node, how: Interpolation, distance: Static) -> Static:
    """Return the weight of an element at a distance (in elements)."""
    x = np.abs(distance)
    if how.mode == "linear":
        return np.maximum(1 - x, 0)
    if how.mode == "cubic":
        a = how.cubic
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))
    raise node.refuse(f"its mode is {how.mode!r}")


def taps(
    node: Node,
    how: Interpolation,
    length: int,
    size: int,
    scale: float,
    roi: tuple[float, float] | None,
) -> tuple[Static, Static, Static]:
    """Return what each output reads.

    Returns
    -------
    indices : (size, K) int
        Elements of the input; those beyond its ends are the last ones.
    weights : (size, K) float64
    outside : (size,) bool
        Outputs that are not interpolated but extrapolated.
    """
    places = positions(node, how, length, size, scale, roi)
    outside = np.zeros(size, bool)
    if how.coordinates == "tf_crop_and_resize":
        outside = (places < 0) | (places > length - 1)
    if how.mode == "nearest":
        indices = _nearest(node, how, places)[:, None]
        weights = np.ones(indices.shape)
    else:
        # Antialiasing stretches the kernel when an axis shrinks.
        stretch = min(scale, 1.0) if how.antialias else 1.0
        reach = 1 if how.mode == "linear" else 2
        first = math.floor(-reach / stretch) + 1
        count = 2 - 2 * first if stretch < 1 else 2 * reach
        whole = np.floor(places)
        # An element right at an output is the left of its two neighbours.
        whole = np.where(whole == places, whole - 1, whole)
        indices = whole[:, None] + np.arange(first, first + count)
        weights = _kernel(node, how, (indices - places[:, None]) * stretch)
        if stretch < 1:
            weights = weights / weights.sum(axis=1, keepdims=True)
    if how.exclude_outside:
        weights = np.where((indices < 0) | (indices >= length), 0, weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, length - 1).astype(np.int64), weights, outside


def along(x: Array, axis: int, indices: Static, weights: Static) -> Array:
    """Apply the taps of an axis."""
    count = indices.shape[1]
    if count == 1 and (weights == 1).all():
        return _taken(x, axis, indices[:, 0])
    kind = np.dtype(x.dtype) if is_floating(x) else np.dtype(np.float32)
    if count > MOST_TAPS:
        matrix = np.zeros((indices.shape[0], x.shape[axis]))
        np.add.at(matrix, (np.arange(indices.shape[0])[:, None], indices), weights)
        y = jnp.tensordot(
            x.astype(kind), matrix.astype(kind), ((axis,), (1,)), precision=lax.Precision.HIGHEST
        )
        return jnp.moveaxis(y, -1, axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    total = None
    for tap in range(count):
        part = _taken(x, axis, indices[:, tap]) * weights[:, tap].reshape(shape).astype(kind)
        total = part if total is None else total + part
    return total


def _taken(x: Array, axis: int, indices: Static) -> Array:
    """Take elements along an axis; whole repeats (nearest, twice the size) need no gather."""
    length = x.shape[axis]
    if (indices.size == length) and (indices == np.arange(length)).all():
        return x
    times, rest = divmod(indices.size, max(length, 1))
    if not rest and times and (indices == np.arange(length).repeat(times)).all():
        wide = jnp.broadcast_to(
            jnp.expand_dims(x, axis + 1), (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
        )
        return wide.reshape(*x.shape[:axis], length * times, *x.shape[axis + 1 :])
    return jnp.take(x, indices, axis=axis)


def resized(
    node: Node,
    x: Array,
    how: Interpolation,
    scales: tuple[float, ...],
    sizes: tuple[int, ...],
    roi: Static | None,
) -> Array:
    """Resize every axis of `x`."""
    kind = x.dtype
    outside_any = None
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        length = x.shape[axis]
        crop = None if roi is None else (float(roi[axis]), float(roi[axis + x.ndim]))
        whole = crop in (None, (0.0, 1.0)) or how.coordinates != "tf_crop_and_resize"
        if size == length and scale == 1 and whole:
            continue
        if size <= 0 or not 0 < scale < np.inf:
            raise ValueError(f"an axis of {length} resized to {size} (scale {scale})")
        indices, weights, outside = taps(node, how, length, size, scale, crop)
        x = along(x, axis, indices, weights)
        if outside.any():
            shape = [1] * x.ndim
            shape[axis] = -1
            mask = outside.reshape(shape)
            outside_any = mask if outside_any is None else outside_any | mask
    if outside_any is not None:
        x = jnp.where(outside_any, np.asarray(how.extrapolation, x.dtype), x)
    return x.astype(kind)


def _scaled(x: Array, scales: tuple[float, ...]) -> tuple[int, ...]:
    if len(scales) != x.ndim:
        raise ValueError(f"{len(scales)} scales for {x.ndim} axes")
    return tuple(math.floor(n * s) for n, s in zip(x.shape, scales, strict=True))


def _floats(values: Static) -> tuple[float, ...]:
    return tuple(float(value) for value in values.reshape(-1))


def _legacy(mode: str) -> Interpolation:
    # Upsample and the first Resize: output / scale, and the element before it.
    return Interpolation("linear" if mode == "bilinear" else mode, "asymmetric", "floor")


@operator("Upsample", 7)
def upsample_by_attribute(
    node: Node, x: Array, *, scales: tuple[float, ...], mode: str = "nearest"
) -> Array:
    """Resize by scales."""
    return resized(node, x, _legacy(mode), scales, _scaled(x, scales), None)


@operator("Upsample", 9, static=("scales",))
def upsample(node: Node, x: Array, scales: Static, *, mode: str = "nearest") -> Array:
    """Resize by scales."""
    factors = _floats(scales)
    return resized(node, x, _legacy(mode), factors, _scaled(x, factors), None)


operator("Resize", 10, static=("scales",))(upsample)


def _fitted(
    x: Array, sizes: tuple[int, ...], axes: tuple[int, ...], policy: str, node: Node
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return scales and sizes for the sizes that some axes are to have."""
    scales, whole = [1.0] * x.ndim, list(x.shape)
    ratios = [size / x.shape[axis] for axis, size in zip(axes, sizes, strict=True)]
    if policy == "stretch":
        for axis, size, ratio in zip(axes, sizes, ratios, strict=True):
            scales[axis], whole[axis] = ratio, size
    elif policy in ("not_larger", "not_smaller"):
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        for axis in axes:
            scales[axis], whole[axis] = ratio, math.floor(ratio * x.shape[axis] + 0.5)
    else:
        raise node.refuse(f"its keep_aspect_ratio_policy is {policy!r}")
    return tuple(scales), tuple(whole)


@operator("Resize", 11, static=("roi", "scales", "sizes"))
def resize(
    node: Node,
    x: Array,
    roi: Static | None = None,
    scales: Static | None = None,
    sizes: Static | None = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Array:
    """Resize by scales or to sizes."""
    how = Interpolation(
        mode=mode,
        coordinates=coordinate_transformation_mode,
        nearest=nearest_mode,
        cubic=cubic_coeff_a,
        exclude_outside=bool(exclude_outside),
        antialias=bool(antialias),
        extrapolation=extrapolation_value,
    )
    chosen = tuple(range(x.ndim)) if axes is None else tuple(axis % x.ndim for axis in axes)
    region = None
    if roi is not None and roi.size:
        region = np.concatenate([np.zeros(x.ndim), np.ones(x.ndim)])
        for position, axis in enumerate(chosen):
            region[axis] = roi[position]
            region[axis + x.ndim] = roi[position + len(chosen)]
    if sizes is not None and sizes.size:
        factors, target = _fitted(x, ints(sizes), chosen, keep_aspect_ratio_policy, node)
    elif scales is not None and scales.size:
        factors = tuple(
            _floats(scales)[chosen.index(axis)] if axis in chosen else 1.0 for axis in range(x.ndim)
        )
        target = _scaled(x, factors)
    else:
        raise ValueError("neither scales nor sizes")
    return resized(node, x, how, factors, target, region)
