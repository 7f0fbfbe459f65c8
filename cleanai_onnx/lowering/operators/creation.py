"""Arrays from nothing or from shapes: constants, ranges, unit matrices."""

from __future__ import annotations

import numpy as np

from cleanai_onnx.lowering.arrays import Array, Static, cast, dtype_of, is_static, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.shaping import MOST_STATIC, ints, roomy
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


@operator("Constant")
def constant(
    node: Node,
    *,
    value: Static | None = None,
    sparse_value: Static | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
) -> Static:
    """Return a stored tensor."""
    if value is not None:
        return value
    if sparse_value is not None:
        return sparse_value
    if value_int is not None or value_ints is not None:
        return np.asarray(value_ints if value_int is None else value_int, np.int64)
    if value_float is not None or value_floats is not None:
        return np.asarray(value_floats if value_float is None else value_float, np.float32)
    raise node.refuse("it holds strings, or nothing")


@operator("ConstantOfShape", 9, static=("shape",))
def constant_of_shape(node: Node, shape: Static, *, value: Static | None = None) -> Array:
    """Return an array filled with one number."""
    target = ints(shape)
    fill = roomy(np.zeros((), np.float32) if value is None else value.reshape(()), target)
    return namespace(fill).full(target, fill)


@operator("Range", 11, static=("start", "limit", "delta"))
def range_(node: Node, start: Static, limit: Static, delta: Static) -> Array:
    """Numbers from `start` up to before `limit`."""
    first, last, step = (x.reshape(()) for x in (start, limit, delta))
    length = np.ceil((last.astype(np.float64) - first) / step)
    if not length <= MOST_STATIC:
        raise node.refuse(f"it makes {length:.0f} numbers")
    steps = np.arange(max(int(length), 0)).astype(start.dtype)
    return (first + steps * step).astype(start.dtype)


@operator("EyeLike", 9)
def eye_like(node: Node, x: Array, *, dtype: int | None = None, k: int = 0) -> Array:
    """Ones on a diagonal, zeros elsewhere."""
    kind = np.dtype(x.dtype) if dtype is None else dtype_of(dtype)
    return namespace(roomy(np.zeros(0), x.shape)).eye(*x.shape, k=k, dtype=kind)


@operator("OneHot", 9, static=("depth",))
def one_hot(node: Node, indices: Array, depth: Static, values: Array, *, axis: int = -1) -> Array:
    """`values[1]` where the new axis stands at the index, else `values[0]`."""
    xp = namespace(indices, values)
    length = int(depth.reshape(()))
    axis = axis % (indices.ndim + 1)
    if not is_static(indices):
        indices = cast(indices, np.int32)
    wrapped = xp.where(indices < 0, indices + length, indices)
    places = np.arange(length).reshape(-1, *(1,) * (indices.ndim - axis))
    hit = xp.expand_dims(wrapped, axis) == places
    return xp.where(hit, values[1], values[0])


@operator("MelWeightMatrix", 17, static=("bins", "length", "rate", "lower", "upper"))
def mel_weight_matrix(
    node: Node,
    bins: Static,
    length: Static,
    rate: Static,
    lower: Static,
    upper: Static,
    *,
    output_datatype: int = 1,
) -> Static:
    """Weights that bring a spectrum into mel-frequency bins."""
    count, size = int(bins.reshape(())), int(length.reshape(())) // 2 + 1
    low, high = (2595 * np.log10(1 + float(f.reshape(())) / 700) for f in (lower, upper))
    step = (high - low) / (count + 2)
    edges = 700 * (10 ** ((np.arange(count + 2) * step + low) / 2595) - 1)
    edges = ((int(length.reshape(())) + 1) * edges // int(rate.reshape(()))).astype(np.int64)
    y = np.zeros((size, count))
    for i in range(count):
        left, centre, right = edges[i : i + 3]
        if centre == left:
            y[centre, i] = 1
        else:
            y[left : centre + 1, i] = (np.arange(left, centre + 1) - left) / (centre - left)
        if right > centre:
            y[centre:right, i] = (right - np.arange(centre, right)) / (right - centre)
    return y.astype(dtype_of(output_datatype))
