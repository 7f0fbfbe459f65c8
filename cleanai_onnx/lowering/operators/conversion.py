"""Changes of type, and what leaves its input as it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from cleanai_onnx.lowering.arrays import (
    Array,
    Static,
    cast,
    dtype_of,
    is_floating,
    is_static,
    namespace,
)
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


@operator("Identity")
def identity(node: Node, x: Array) -> Array:
    """Return the input."""
    return x


@operator("Dropout", 1)
def old_dropout(
    node: Node, x: Array, *, is_test: int = 0, ratio: float = 0.5, consumed_inputs: Any = None
) -> Array | tuple[Array, Array]:
    """Return the input; before opset 7, is_test tells inference from training."""
    if node.opset < 7 and not is_test:
        raise node.refuse("it is in training mode (is_test is 0)")
    return _undropped(node, x)


@operator("Dropout", 12, static=("training_mode",))
def dropout(
    node: Node,
    x: Array,
    ratio: Array | None = None,
    training_mode: Static | None = None,
    *,
    seed: int = 0,
) -> Array | tuple[Array, Array]:
    """Return the input, and a mask of ones: nothing is dropped in inference."""
    if training_mode is not None and training_mode.any():
        no_ratio = ratio is None or not is_static(ratio) or ratio.any()
        if no_ratio:
            raise node.refuse("it is in training mode, its output is random")
    return _undropped(node, x)


def _undropped(node: Node, x: Array) -> Array | tuple[Array, Array]:
    if len(node.outputs) > 1:
        # The mask has the type of the input before opset 10.
        return x, namespace(x).ones(x.shape, bool if node.opset >= 10 else x.dtype)
    return x


@operator("Cast", 1)
def cast_to(
    node: Node, x: Array, *, to: int | str, saturate: int = 1, round_mode: str = "up"
) -> Array:
    """Return the input in another type."""
    if isinstance(to, str):
        raise node.refuse(f"its attribute to is {to!r}, as in opset 5 and before")
    return converted(node, x, dtype_of(to), saturate, round_mode)


def converted(
    node: Node, x: Array, dtype: np.dtype[Any], saturate: int = 1, round_mode: str = "up"
) -> Array:
    """Change the type of an array.

    Of types with less than 8 bits, or 8-bit floating-point ones, conversions to them are refused.
    """
    if "O" in (x.dtype.kind, dtype.kind):
        raise node.refuse("strings are not implemented")
    if dtype == x.dtype:
        return x
    if _is_small(dtype):
        raise node.refuse(f"conversion to {dtype} is not implemented")
    if dtype.kind in "iu" and is_floating(x):
        # Numbers out of range are undefined in ONNX; towards zero as everywhere.
        x = namespace(x).trunc(x)
    return cast(x, dtype)


def _is_small(dtype: np.dtype[Any]) -> bool:
    return dtype.name.startswith(("float8", "float4", "int4", "uint4", "int2", "uint2"))


@operator("CastLike", 15)
def cast_like(
    node: Node, x: Array, target: Array, *, saturate: int = 1, round_mode: str = "up"
) -> Array:
    """Return the first input in the type of the second."""
    return converted(node, x, np.dtype(target.dtype), saturate, round_mode)


@operator("BitCast", 26)
def bit_cast(node: Node, x: Array, *, to: int) -> Array:
    """Read the same bits in another type of the same size."""
    dtype = dtype_of(to)
    if _is_small(dtype) or _is_small(np.dtype(x.dtype)) or dtype.itemsize != x.dtype.itemsize:
        raise node.refuse(f"bits of {x.dtype} as {dtype} are not implemented")
    return x.view(dtype)
