"""Quantised arithmetic: numbers q of few bits that stand for scale (q - zero point)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, dtype_of, per_channel
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.convolution import add_bias
from cleanai_onnx.lowering.operators.pooling import Sizes, padding
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

INTEGERS = frozenset({"uint8", "int8", "uint16", "int16", "int32"})


def _along(values: Array, x: Array, axis: int, block_size: int) -> Array:
    """Shape scales (one, one for each slice, or one for each block) so that they meet `x`."""
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    axis %= x.ndim
    if block_size:
        wide = jnp.repeat(values, block_size, axis=axis)
        return lax.slice_in_dim(wide, 0, x.shape[axis], axis=axis)
    if values.ndim > 1:
        raise ValueError(f"scales of {values.ndim} axes without a block size")
    return values.reshape(-1, *(1,) * (x.ndim - axis - 1))


def _quantised(node: Node, x: Array, scale: Array, zero: Array | None, dtype: Any) -> Array:
    if np.dtype(dtype).name not in INTEGERS:
        raise node.refuse(f"quantisation to {np.dtype(dtype)} is not implemented")
    limits = np.iinfo(dtype)
    q = jnp.round(x / scale)
    if zero is not None:
        q = q + zero.astype(q.dtype)
    return jnp.clip(q, limits.min, limits.max).astype(dtype)


@operator("QuantizeLinear", 10)
def quantize_linear(
    node: Node,
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
) -> Array:
    """Round x / scale, to even, and add the zero point."""
    if precision:
        raise node.refuse("its attribute precision is not implemented")
    dtype = np.dtype(np.uint8)
    if zero is not None:
        dtype = np.dtype(zero.dtype)
    elif output_dtype:
        dtype = dtype_of(output_dtype)
    zeros = None if zero is None else _along(zero, x, axis, block_size)
    return _quantised(node, x, _along(scale, x, axis, block_size), zeros, dtype)


@operator("DequantizeLinear", 10)
def dequantize_linear(
    node: Node,
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Array:
    """(x - zero point) scale."""
    name = np.dtype(x.dtype).name
    if name not in INTEGERS and not name.startswith(
        ("int4", "uint4", "float8_e4m3", "float8_e5m2")
    ):
        raise node.refuse(f"numbers of the type {x.dtype} are not implemented")
    kind = np.float32 if name.startswith("float8") else np.int32
    wide = jnp.asarray(x).astype(kind)
    if zero is not None:
        wide = wide - _along(jnp.asarray(zero).astype(kind), x, axis, block_size)
    y = wide.astype(scale.dtype) * _along(scale, x, axis, block_size)
    return y.astype(dtype_of(output_dtype)) if output_dtype else y


def _shifted(x: Array, zero: Array | None, axis: int | None = None) -> Array:
    """X - zero point as int32; a vector of zero points lies along `axis`."""
    wide = jnp.asarray(x).astype(np.int32)
    if zero is None:
        return wide
    zero = zero.astype(np.int32)
    if zero.ndim == 1 and zero.shape[0] > 1 and axis is not None:
        zero = zero.reshape(-1, *(1,) * (x.ndim - axis % x.ndim - 1))
    elif zero.size == 1:
        zero = zero.reshape(())
    return wide - zero


@operator("MatMulInteger", 10)
def matmul_integer(
    node: Node, a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None
) -> Array:
    """Matrix product of integers, as int32."""
    return jnp.matmul(_shifted(a, a_zero, -2), _shifted(b, b_zero, -1))


@operator("QLinearMatMul", 10)
def qlinear_matmul(
    node: Node,
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    """Matrix product of quantised numbers, quantised."""
    if max(scale.size for scale in (a_scale, b_scale, y_scale)) > 1:
        raise node.refuse("scales for each row or column are not implemented")
    sums = jnp.matmul(_shifted(a, a_zero), _shifted(b, b_zero)).astype(np.float32)
    factor = a_scale.astype(np.float32) * b_scale / y_scale
    limits = np.iinfo(y_zero.dtype)
    y = jnp.round(sums * factor) + y_zero.astype(np.float32)
    return jnp.clip(y, limits.min, limits.max).astype(y_zero.dtype)


def _integer_conv(
    node: Node,
    x: Array,
    w: Array,
    strides: Sizes | None,
    dilations: Sizes | None,
    pads: Sizes | None,
    auto_pad: str,
    group: int,
) -> Array:
    kernel = w.shape[2:]
    strides, dilations = strides or (1,) * len(kernel), dilations or (1,) * len(kernel)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=strides,
        padding=padding(node, auto_pad, pads, x.shape[2:], extents, strides),
        rhs_dilation=dilations,
        feature_group_count=group,
    )


@operator("ConvInteger", 10)
def conv_integer(
    node: Node,
    x: Array,
    w: Array,
    x_zero: Array | None = None,
    w_zero: Array | None = None,
    *,
    kernel_shape: Sizes | None = None,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Array:
    """Convolution of integers, as int32."""
    return _integer_conv(
        node, _shifted(x, x_zero), _shifted(w, w_zero, 0), strides, dilations, pads, auto_pad, group
    )


@operator("QLinearConv", 10)
def qlinear_conv(
    node: Node,
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    b: Array | None = None,
    *,
    kernel_shape: Sizes | None = None,
    strides: Sizes | None = None,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Array:
    """Convolution of quantised numbers with an int32 bias, quantised."""
    sums = _integer_conv(
        node, _shifted(x, x_zero), _shifted(w, w_zero, 0), strides, dilations, pads, auto_pad, group
    )
    sums = add_bias(sums, b)
    factor = x_scale.reshape(()) * w_scale / y_scale.reshape(())
    if factor.size > 1:
        factor = per_channel(factor, x)
    limits = np.iinfo(y_zero.dtype)
    y = jnp.round(sums.astype(np.float32) * factor) + y_zero.reshape(()).astype(np.float32)
    return jnp.clip(y, limits.min, limits.max).astype(y_zero.dtype)
