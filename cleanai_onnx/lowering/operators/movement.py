"""Operators that move elements: joining, cutting, padding, rearranging."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from cleanai_onnx.lowering.arrays import Array, Static, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.shaping import Ints, ints, roomy
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


@operator("Concat", 1)
def concat_by_default(node: Node, *arrays: Array, axis: int = 1) -> Array:
    """Join arrays along an axis."""
    return namespace(*arrays).concatenate(arrays, axis=axis)


@operator("Concat", 4)
def concat(node: Node, *arrays: Array, axis: int) -> Array:
    """Join arrays along an axis."""
    return namespace(*arrays).concatenate(arrays, axis=axis)


def _split(node: Node, x: Array, axis: int, sizes: Ints | None, parts: int) -> tuple[Array, ...]:
    length = x.shape[axis]
    if sizes is None:
        chunk = -(-length // parts)
        sizes = (*(chunk,) * (parts - 1), length - chunk * (parts - 1))
    if sum(sizes) != length or min(sizes) < 0:
        raise ValueError(f"parts of {sizes} of an axis of {length}")
    edges = np.cumsum((0, *sizes))
    index: list[Any] = [slice(None)] * x.ndim
    found = []
    for first, last in itertools.pairwise(edges):
        index[axis] = slice(int(first), int(last))
        found.append(x[tuple(index)])
    return tuple(found)


@operator("Split", 1)
def split_by_attribute(
    node: Node, x: Array, *, axis: int = 0, split: Ints | None = None
) -> tuple[Array, ...]:
    """Cut an axis into parts."""
    return _split(node, x, axis, split, len(node.outputs))


@operator("Split", 13, static=("split",))
def split(
    node: Node,
    x: Array,
    split: Static | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
) -> tuple[Array, ...]:
    """Cut an axis into parts."""
    return _split(
        node, x, axis, None if split is None else ints(split), num_outputs or len(node.outputs)
    )


def _sliced(x: Array, starts: Ints, ends: Ints, axes: Ints | None, steps: Ints | None) -> Array:
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    index: list[Any] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        length = x.shape[axis]
        # A start or end from behind; ends before the first element are -1 for negative steps.
        start = start + length if start < 0 else start
        end = end + length if end < 0 else end
        if step > 0:
            index[axis] = slice(min(max(start, 0), length), min(max(end, 0), length), step)
        else:
            start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
            index[axis] = slice(start, None if end == -1 else end, step)
            if start <= end:
                index[axis] = slice(0, 0)
    return x[tuple(index)]


@operator("Slice", 1)
def slice_by_attribute(
    node: Node, x: Array, *, starts: Ints, ends: Ints, axes: Ints | None = None
) -> Array:
    """Cut a block out of an array."""
    return _sliced(x, starts, ends, axes, None)


@operator("Slice", 10, static=("starts", "ends", "axes", "steps"))
def slice_(
    node: Node,
    x: Array,
    starts: Static,
    ends: Static,
    axes: Static | None = None,
    steps: Static | None = None,
) -> Array:
    """Cut a block out of an array."""
    return _sliced(
        x,
        ints(starts),
        ints(ends),
        None if axes is None else ints(axes),
        None if steps is None else ints(steps),
    )


def padded(node: Node, x: Array, pads: Ints, mode: str, value: Array | None) -> Array:
    """Pad (positive widths) and crop (negative ones)."""
    before, after = pads[: x.ndim], pads[x.ndim :]
    crop = tuple(
        slice(max(-b, 0), length - max(-a, 0))
        for b, a, length in zip(before, after, x.shape, strict=True)
    )
    x = x[crop]
    widths = [(max(b, 0), max(a, 0)) for b, a in zip(before, after, strict=True)]
    x = roomy(x, tuple(length + b + a for length, (b, a) in zip(x.shape, widths, strict=True)))
    xp = namespace(x, value)
    if mode == "constant":
        fill = np.zeros((), x.dtype) if value is None else value.reshape(())
        return xp.pad(x, widths, constant_values=fill)
    if mode not in ("reflect", "edge", "wrap"):
        raise node.refuse(f"its mode is {mode!r}")
    return xp.pad(x, widths, mode=mode)


@operator("Pad", 1)
def pad_by_old_attribute(
    node: Node, x: Array, *, paddings: Ints, mode: str = "constant", value: float = 0.0
) -> Array:
    """Pad."""
    return padded(node, x, paddings, mode, np.asarray(value, x.dtype))


@operator("Pad", 2)
def pad_by_attribute(
    node: Node, x: Array, *, pads: Ints, mode: str = "constant", value: float = 0.0
) -> Array:
    """Pad."""
    return padded(node, x, pads, mode, np.asarray(value, x.dtype))


@operator("Pad", 11, static=("pads", "axes"))
def pad(
    node: Node,
    x: Array,
    pads: Static,
    value: Array | None = None,
    axes: Static | None = None,
    *,
    mode: str = "constant",
) -> Array:
    """Pad some axes or all."""
    widths = ints(pads)
    if axes is not None:
        chosen = ints(axes)
        if len(widths) != 2 * len(chosen):
            raise ValueError(f"{len(widths)} pads for {len(chosen)} axes")
        full = [0] * (2 * x.ndim)
        for position, axis in enumerate(chosen):
            full[axis % x.ndim] = widths[position]
            full[axis % x.ndim + x.ndim] = widths[position + len(chosen)]
        widths = tuple(full)
    if len(widths) != 2 * x.ndim:
        raise ValueError(f"{len(widths)} pads for {x.ndim} axes")
    return padded(node, x, widths, mode, value)


@operator("DepthToSpace")
def depth_to_space(node: Node, x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Move blocks of channels into the image."""
    n, c, h, w = x.shape
    b = blocksize
    if mode == "DCR":
        x = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    elif mode == "CRD":
        x = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        raise node.refuse(f"its mode is {mode!r}")
    return x.reshape(n, c // (b * b), h * b, w * b)


@operator("SpaceToDepth", 1)
def space_to_depth(node: Node, x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Move blocks of the image into channels."""
    n, c, h, w = x.shape
    b = blocksize
    x = x.reshape(n, c, h // b, b, w // b, b)
    if mode == "DCR":
        x = x.transpose(0, 3, 5, 1, 2, 4)
    elif mode == "CRD":
        x = x.transpose(0, 1, 3, 5, 2, 4)
    else:
        raise node.refuse(f"its mode is {mode!r}")
    return x.reshape(n, c * b * b, h // b, w // b)


@operator("Trilu", 14, static=("k",))
def trilu(node: Node, x: Array, k: Static | None = None, *, upper: int = 1) -> Array:
    """Keep the upper or lower triangle, zeros elsewhere."""
    offset = 0 if k is None else int(k.reshape(()))
    offset = max(-x.shape[-2] - 1, min(offset, x.shape[-1] + 1))
    rows = np.arange(x.shape[-2])[:, None]
    columns = np.arange(x.shape[-1])
    keep = columns - rows >= offset if upper else columns - rows <= offset
    return namespace(x).where(keep, x, np.zeros((), x.dtype))


@operator("ReverseSequence", 10)
def reverse_sequence(
    node: Node, x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0
) -> Array:
    """Reverse the first `lengths[i]` steps of sequence i."""
    xp = namespace(x, lengths)
    moved = xp.moveaxis(x, (batch_axis, time_axis), (0, 1))
    steps = np.arange(moved.shape[1])[None]
    ends = lengths.reshape(-1, 1)
    index = xp.where(steps < ends, ends - 1 - steps, steps)
    index = index.reshape(*index.shape, *(1,) * (moved.ndim - 2))
    y = xp.take_along_axis(moved, index, axis=1)
    return xp.moveaxis(y, (0, 1), (batch_axis, time_axis))


@operator("Col2Im", 18, static=("image_shape", "block_shape"))
def col2im(
    node: Node,
    x: Array,
    image_shape: Static,
    block_shape: Static,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Add up blocks ``(N, C x prod(block), L)`` where they come from in the image."""
    image, block = ints(image_shape), ints(block_shape)
    axes = len(image)
    dilations, strides = dilations or (1,) * axes, strides or (1,) * axes
    pads = pads or (0,) * (2 * axes)
    whole = [length + pads[i] + pads[i + axes] for i, length in enumerate(image)]
    counts = [(whole[i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(axes)]
    channels = x.shape[1] // math.prod(block)
    parts = x.reshape(x.shape[0], channels, math.prod(block), *counts)
    total = jnp.zeros((x.shape[0], channels, *whole), x.dtype)
    for position, offset in enumerate(np.ndindex(*block)):
        where: list[Any] = [slice(None), slice(None)]
        for i in range(axes):
            first = offset[i] * dilations[i]
            where.append(slice(first, first + (counts[i] - 1) * strides[i] + 1, strides[i]))
        total = total.at[tuple(where)].add(parts[:, :, position])
    inner = tuple(slice(pads[i], pads[i] + image[i]) for i in range(axes))
    return total[(slice(None), slice(None), *inner)]
