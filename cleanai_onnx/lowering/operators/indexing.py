"""Reading and writing elements by their indices; sorting."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, Static, cast, is_floating, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


def _wrapped(xp: Any, indices: Array, length: int) -> Array:
    """Count indices from behind from the end; static ones out of range are refused."""
    if xp is np or isinstance(indices, np.ndarray):
        indices = np.asarray(indices)
        if indices.size and not -length <= indices.min() <= indices.max() < length:
            raise IndexError(f"an index is out of range for an axis of {length}")
        return np.where(indices < 0, indices + length, indices)
    return jnp.where(indices < 0, indices + length, indices)


@operator("Gather")
def gather(node: Node, x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Take slices along an axis."""
    xp = namespace(x, indices)
    return xp.take(x, _wrapped(xp, indices, x.shape[axis]), axis=axis)


@operator("GatherElements", 11)
def gather_elements(node: Node, x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Take one element for each index along an axis."""
    xp = namespace(x, indices)
    indices = _wrapped(xp, indices, x.shape[axis])
    places = list(np.ogrid[tuple(slice(0, n) for n in indices.shape)])
    places[axis] = indices
    return x[tuple(places)] if xp is np else jnp.asarray(x)[tuple(places)]


@operator("GatherND", 11)
def gather_nd(node: Node, x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """Take slices by tuples of indices."""
    xp = namespace(x, indices)
    depth = indices.shape[-1]
    batch = [
        np.arange(n).reshape(-1, *(1,) * (indices.ndim - 2 - axis))
        for axis, n in enumerate(x.shape[:batch_dims])
    ]
    places = [_wrapped(xp, indices[..., i], x.shape[batch_dims + i]) for i in range(depth)]
    return (x if xp is np else jnp.asarray(x))[(*batch, *places)]


def _written(node: Node, x: Array, places: tuple[Array, ...], updates: Array, mode: str) -> Array:
    x = jnp.asarray(x)
    target = x.at[places]
    if mode == "none":
        return target.set(updates)
    if mode == "add":
        return target.add(updates)
    if mode == "mul":
        return target.multiply(updates)
    if mode == "max":
        return target.max(updates)
    if mode == "min":
        return target.min(updates)
    raise node.refuse(f"its reduction is {mode!r}")


def scatter_elements(
    node: Node, x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> Array:
    """Write one element for each index along an axis."""
    indices = _wrapped(namespace(indices), indices, x.shape[axis])
    places = list(np.ogrid[tuple(slice(0, n) for n in indices.shape)])
    places[axis] = indices
    return _written(node, x, tuple(places), updates, reduction)


operator("Scatter", 9)(scatter_elements)
operator("ScatterElements", 11)(scatter_elements)


@operator("ScatterND", 11)
def scatter_nd(
    node: Node, x: Array, indices: Array, updates: Array, *, reduction: str = "none"
) -> Array:
    """Write slices by tuples of indices."""
    places = tuple(
        _wrapped(namespace(indices), indices[..., i], x.shape[i]) for i in range(indices.shape[-1])
    )
    if namespace(x, indices, updates) is np and reduction == "none":
        y = x.copy()
        y[places] = updates
        return y
    return _written(node, x, places, updates, reduction)


@operator("TensorScatter", 24)
def tensor_scatter(
    node: Node,
    x: Array,
    update: Array,
    start: Array | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Array:
    """Write a block into each row of a cache, at a position of its own."""
    axis %= x.ndim
    length, steps = x.shape[axis], update.shape[axis]
    first = np.zeros(x.shape[0], np.int64) if start is None else start
    where = first.reshape(-1, 1) + np.arange(steps)
    if mode == "circular":
        where = where % length
    elif mode != "linear":
        raise node.refuse(f"its mode is {mode!r}")
    moved = jnp.moveaxis(jnp.asarray(x), axis, 1)
    block = jnp.moveaxis(jnp.asarray(update), axis, 1)
    y = moved.at[np.arange(x.shape[0])[:, None], where].set(block)
    return jnp.moveaxis(y, 1, axis)


@operator("NonZero", 9, static=("x",))
def non_zero(node: Node, x: Static) -> Static:
    """Find the elements that are not zero; their number must be known while tracing."""
    return np.stack(np.nonzero(x) if x.ndim else (np.nonzero(x.reshape(1))[0][:0],)).astype(
        np.int64
    )


@operator("Compress", 9, static=("condition",))
def compress(node: Node, x: Array, condition: Static, *, axis: int | None = None) -> Array:
    """Take the slices for which the condition holds."""
    xp = namespace(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    return xp.take(x, np.flatnonzero(condition), axis=axis)


@operator("Unique", 11, static=("x",))
def unique(node: Node, x: Static, *, axis: int | None = None, sorted: int = 1) -> tuple[Array, ...]:
    """Distinct elements or slices; their number must be known while tracing."""
    y, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        y = np.take(y, order, axis=0 if axis is None else axis)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        first, inverse, counts = first[order], rank[inverse], counts[order]
    return y, *(values.astype(np.int64) for values in (first, inverse, counts))


def _top(x: Array, k: int, axis: int, largest: int) -> tuple[Array, Array]:
    if k > x.shape[axis]:
        raise ValueError(f"the {k} largest of {x.shape[axis]}")
    moved = jnp.moveaxis(jnp.asarray(x), axis, -1)
    if largest and is_floating(moved):
        values, indices = lax.top_k(moved, k)
    else:
        # Stable, so that of equal numbers the first comes first.
        indices = jnp.argsort(moved, axis=-1, stable=True, descending=bool(largest))[..., :k]
        values = jnp.take_along_axis(moved, indices, axis=-1)
    indices = cast(indices, np.int64)
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(indices, -1, axis)


@operator("TopK", 1)
def top_k_by_attribute(node: Node, x: Array, *, k: int, axis: int = -1) -> tuple[Array, Array]:
    """Return the largest elements along an axis and their positions."""
    return _top(x, k, axis, 1)


@operator("TopK", 10, static=("k",))
def top_k(
    node: Node, x: Array, k: Static, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Array, Array]:
    """Return the largest or smallest elements along an axis and their positions."""
    return _top(x, int(k.reshape(())), axis, largest)


@operator("NonMaxSuppression", 10, static=("boxes", "scores", "most", "overlap", "threshold"))
def non_max_suppression(
    node: Node,
    boxes: Static,
    scores: Static,
    most: Static | None = None,
    overlap: Static | None = None,
    threshold: Static | None = None,
    *,
    center_point_box: int = 0,
) -> Static:
    """Boxes that do not overlap better ones; their number must be known while tracing."""
    limit = 0 if most is None else int(most.reshape(-1)[0])
    iou_limit = 0.0 if overlap is None else float(overlap.reshape(-1)[0])
    least = -np.inf if threshold is None else float(threshold.reshape(-1)[0])
    if center_point_box:
        half = boxes[..., 2:] / 2
        boxes = np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)
    low = np.minimum(boxes[..., :2], boxes[..., 2:])
    high = np.maximum(boxes[..., :2], boxes[..., 2:])
    area = np.prod(high - low, axis=-1)
    found = []
    for batch, label in np.ndindex(*scores.shape[:2]):
        kept: list[int] = []
        ranked = np.argsort(-scores[batch, label], kind="stable")
        for box in ranked[scores[batch, label][ranked] > least]:
            if len(kept) >= limit:
                break
            sides = np.minimum(high[batch, box], high[batch, kept])
            sides = sides - np.maximum(low[batch, box], low[batch, kept])
            shared = np.prod(np.maximum(sides, 0), axis=-1)
            if np.all(shared <= iou_limit * (area[batch, box] + area[batch, kept] - shared)):
                kept.append(int(box))
        found += [(batch, label, box) for box in kept]
    return np.asarray(found, np.int64).reshape(-1, 3)
