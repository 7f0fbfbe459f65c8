"""Shapes: what they are, and how they change without moving elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cleanai_onnx.lowering.arrays import Array, Static, as_traced, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__ = ["MOST_STATIC", "Ints", "ints", "roomy"]

Ints = tuple[int, ...]

MOST_STATIC = 1 << 24
"""Elements; larger results are left to JAX, which need not have them in memory while tracing."""


def ints(values: Static | Ints) -> Ints:
    """Return a static vector as Python integers."""
    return tuple(int(value) for value in np.asarray(values).reshape(-1))


def roomy(x: Array, shape: Ints) -> Array:
    """Return `x`, as JAX's array if the result would be too large to hold while tracing."""
    return as_traced(x) if math.prod(shape) > MOST_STATIC else x


@operator("Shape", 1)
def shape(node: Node, x: Array, *, start: int = 0, end: int | None = None) -> Static:
    """Return the shape, which is static while tracing."""
    return np.asarray(x.shape[slice(start, end)], np.int64)


@operator("Size")
def size(node: Node, x: Array) -> Static:
    """Return the number of elements."""
    return np.asarray(math.prod(x.shape), np.int64)


def reshaped(x: Array, target: Ints, allowzero: int) -> Array:
    """Reshape by ONNX's rules: 0 keeps a size, -1 takes what is left."""
    sizes = [
        x.shape[axis] if length == 0 and not allowzero else length
        for axis, length in enumerate(target)
    ]
    return x.reshape(sizes)


@operator("Reshape", 1)
def reshape_by_attribute(
    node: Node, x: Array, *, shape: Ints, consumed_inputs: Any = None
) -> Array:
    """Reshape to an attribute."""
    return reshaped(x, shape, 0)


@operator("Reshape", 5, static=("shape",))
def reshape(node: Node, x: Array, shape: Static, *, allowzero: int = 0) -> Array:
    """Reshape."""
    return reshaped(x, ints(shape), allowzero)


@operator("Flatten")
def flatten(node: Node, x: Array, *, axis: int = 1) -> Array:
    """Two axes: what is before `axis`, and the rest."""
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Transpose")
def transpose(node: Node, x: Array, *, perm: Ints | None = None) -> Array:
    """Permute the axes, by default reverse them."""
    return x.transpose(perm if perm else tuple(reversed(range(x.ndim))))


def _squeezed(x: Array, axes: Ints | None) -> Array:
    if axes is None:
        axes = tuple(axis for axis, length in enumerate(x.shape) if length == 1)
    return namespace(x).squeeze(x, axis=axes)


@operator("Squeeze", 1)
def squeeze_by_attribute(node: Node, x: Array, *, axes: Ints | None = None) -> Array:
    """Drop axes of size 1."""
    return _squeezed(x, axes)


@operator("Squeeze", 13, static=("axes",))
def squeeze(node: Node, x: Array, axes: Static | None = None) -> Array:
    """Drop axes of size 1."""
    return _squeezed(x, None if axes is None else ints(axes))


@operator("Unsqueeze", 1)
def unsqueeze_by_attribute(node: Node, x: Array, *, axes: Ints) -> Array:
    """Insert axes of size 1."""
    return namespace(x).expand_dims(x, axes)


@operator("Unsqueeze", 13, static=("axes",))
def unsqueeze(node: Node, x: Array, axes: Static) -> Array:
    """Insert axes of size 1."""
    return namespace(x).expand_dims(x, ints(axes))


@operator("Expand", 8, static=("shape",))
def expand(node: Node, x: Array, shape: Static) -> Array:
    """Broadcast to a shape, both ways."""
    target = np.broadcast_shapes(x.shape, ints(shape))
    x = roomy(x, target)
    return namespace(x).broadcast_to(x, target)


@operator("Tile", 6, static=("repeats",))
def tile(node: Node, x: Array, repeats: Static) -> Array:
    """Repeat an array along its axes."""
    times = ints(repeats)
    if len(times) != x.ndim:
        raise ValueError(f"{len(times)} repeats for {x.ndim} axes")
    target = tuple(length * n for length, n in zip(x.shape, times, strict=True))
    x = roomy(x, target)
    return namespace(x).tile(x, times)
