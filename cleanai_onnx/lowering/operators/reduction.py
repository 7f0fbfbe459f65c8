"""Reductions over axes, and the positions of extrema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cleanai_onnx.lowering.arrays import Array, Static, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

Axes = tuple[int, ...] | None


def _log_sum_exp(xp: Any, x: Array, axes: Axes, keep: bool) -> Array:
    return jax.scipy.special.logsumexp(jnp.asarray(x), axis=axes, keepdims=keep)


def _extremum(name: str) -> Callable[[Any, Array, Axes, bool], Array]:
    # The value for an empty set, which numpy does not have.
    def reduce(xp: Any, x: Array, axes: Axes, keep: bool) -> Array:
        if x.dtype == bool:
            start: Any = name == "min"
        elif jnp.issubdtype(x.dtype, jnp.floating):
            start = np.asarray(np.inf if name == "min" else -np.inf, x.dtype)
        else:
            limits = jnp.iinfo(x.dtype)
            start = limits.max if name == "min" else limits.min
        return getattr(xp, name)(x, axis=axes, keepdims=keep, initial=start)

    return reduce


REDUCTIONS: dict[str, Callable[[Any, Array, Axes, bool], Array]] = {
    "ReduceL1": lambda xp, x, axes, keep: xp.sum(xp.abs(x), axis=axes, keepdims=keep),
    "ReduceL2": lambda xp, x, axes, keep: xp.sqrt(xp.sum(x * x, axis=axes, keepdims=keep)),
    "ReduceLogSum": lambda xp, x, axes, keep: xp.log(xp.sum(x, axis=axes, keepdims=keep)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extremum("max"),
    "ReduceMean": lambda xp, x, axes, keep: xp.mean(x, axis=axes, keepdims=keep),
    "ReduceMin": _extremum("min"),
    "ReduceProd": lambda xp, x, axes, keep: xp.prod(x, axis=axes, keepdims=keep),
    "ReduceSum": lambda xp, x, axes, keep: xp.sum(x, axis=axes, keepdims=keep),
    "ReduceSumSquare": lambda xp, x, axes, keep: xp.sum(x * x, axis=axes, keepdims=keep),
}
"""Each takes namespace, array, axes and whether these stay with size 1."""


def _apply(op: str, x: Array, axes: Axes, keepdims: int, noop: int) -> Array:
    if not axes:
        axes = () if noop else None
    y = REDUCTIONS[op](namespace(x), x, axes, bool(keepdims))
    return y.astype(x.dtype)


def _by_attribute(op: str) -> Callable[..., Array]:
    def reduction(node: Node, x: Array, *, axes: Axes = None, keepdims: int = 1) -> Array:
        return _apply(op, x, axes, keepdims, noop=0)

    return reduction


def _by_input(op: str) -> Callable[..., Array]:
    def reduction(
        node: Node,
        x: Array,
        axes: Static | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Array:
        chosen = None if axes is None else tuple(int(axis) for axis in axes.reshape(-1))
        return _apply(op, x, chosen, keepdims, noop_with_empty_axes)

    return reduction


for _op in REDUCTIONS:
    operator(_op, 1)(_by_attribute(_op))
    operator(_op, 13 if _op == "ReduceSum" else 18, static=("axes",))(_by_input(_op))


def _arg(name: str) -> Callable[..., Array]:
    def position(
        node: Node, x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Array:
        xp = namespace(x)
        if select_last_index:
            last = x.shape[axis] - 1
            index = last - getattr(xp, name)(xp.flip(x, axis), axis=axis)
        else:
            index = getattr(xp, name)(x, axis=axis)
        index = (
            index.astype(np.int64)
            if xp is np
            else index.astype(jax.dtypes.canonicalize_dtype(np.int64))
        )
        return xp.expand_dims(index, axis) if keepdims else index

    return position


operator("ArgMax")(_arg("argmax"))
operator("ArgMin")(_arg("argmin"))
