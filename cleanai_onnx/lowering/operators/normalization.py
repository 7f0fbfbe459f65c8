"""Normalisation by mean and variance or by a norm."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, cast, dtype_of, per_channel
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


def standardised(x: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon)."""
    return (x - mean) * lax.rsqrt(variance + np.asarray(epsilon, variance.dtype))


@operator("BatchNormalization", 1)
def old_batch_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
    consumed_inputs: Any = None,
) -> Array:
    """Normalise each channel; before opset 7, is_test tells inference from training."""
    if node.opset < 7 and not is_test:
        raise node.refuse("it is in training mode (is_test is 0)")
    if not spatial:
        raise node.refuse("its attribute spatial is 0")
    return _affine(x, scale, bias, mean, variance, epsilon)


@operator("BatchNormalization", 9)
def batch_normalization_without_training(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Array:
    """Normalise each channel; training, which asks for further outputs, is refused."""
    return _affine(x, scale, bias, mean, variance, epsilon)


@operator("BatchNormalization", 14)
def batch_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Array | tuple[Array, Array, Array]:
    """Normalise each channel, with the statistics of the batch in training mode."""
    if not training_mode:
        return _affine(x, scale, bias, mean, variance, epsilon)
    axes = (0, *range(2, x.ndim))
    batch_mean, batch_variance = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
    return (
        _affine(x, scale, bias, batch_mean, batch_variance, epsilon),
        mean * momentum + batch_mean * (1 - momentum),
        variance * momentum + batch_variance * (1 - momentum),
    )


def _affine(
    x: Array, scale: Array, bias: Array, mean: Array, variance: Array, epsilon: float
) -> Array:
    factor = scale * lax.rsqrt(variance + np.asarray(epsilon, variance.dtype))
    y = (x - per_channel(mean, x)) * per_channel(factor, x) + per_channel(bias, x)
    return y.astype(x.dtype)


@operator("InstanceNormalization")
def instance_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    epsilon: float = 1e-5,
    consumed_inputs: Any = None,
) -> Array:
    """Normalise each channel of each image."""
    axes = tuple(range(2, x.ndim))
    y = standardised(
        x, jnp.mean(x, axis=axes, keepdims=True), jnp.var(x, axis=axes, keepdims=True), epsilon
    )
    return y * per_channel(scale, x) + per_channel(bias, x)


def _by_group(x: Array, groups: int, epsilon: float, stash_type: int = 1) -> Array:
    rows = cast(x, _stash(x, stash_type)).reshape(x.shape[0], groups, -1)
    mean = jnp.mean(rows, axis=-1, keepdims=True)
    variance = jnp.var(rows, axis=-1, keepdims=True)
    return cast(standardised(rows, mean, variance, epsilon).reshape(x.shape), x.dtype)


@operator("GroupNormalization", 18)
def group_normalization_by_group(
    node: Node, x: Array, scale: Array, bias: Array, *, num_groups: int, epsilon: float = 1e-5
) -> Array:
    """Normalise groups of channels; scale and bias are one number for each group."""
    repeats = x.shape[1] // num_groups
    y = _by_group(x, num_groups, epsilon)
    scale, bias = jnp.repeat(scale, repeats), jnp.repeat(bias, repeats)
    return y * per_channel(scale, x) + per_channel(bias, x)


@operator("GroupNormalization", 21)
def group_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Array:
    """Normalise groups of channels; scale and bias are one number for each channel."""
    y = _by_group(x, num_groups, epsilon, stash_type)
    return y * per_channel(scale, x) + per_channel(bias, x)


def _stash(x: Array, stash_type: int) -> Any:
    """Return the type to compute in, never a smaller one than the input's."""
    return jnp.promote_types(x.dtype, dtype_of(stash_type))


@operator("LayerNormalization", 17)
def layer_normalization(
    node: Node,
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Array, Array, Array]:
    """Normalise over the last axes; also the mean and the inverse standard deviation."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    wide = cast(x, _stash(x, stash_type))
    mean = jnp.mean(wide, axis=axes, keepdims=True)
    centred = wide - mean
    variance = jnp.mean(centred * centred, axis=axes, keepdims=True)
    inverse = lax.rsqrt(variance + np.asarray(epsilon, variance.dtype))
    y = cast(centred * inverse, x.dtype) * scale
    return (y if bias is None else y + bias), mean, inverse


@operator("RMSNormalization", 23)
def rms_normalization(
    node: Node,
    x: Array,
    scale: Array,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Array:
    """Divide by the root of the mean square over the last axes."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    wide = cast(x, _stash(x, stash_type))
    square = jnp.mean(wide * wide, axis=axes, keepdims=True)
    y = wide * lax.rsqrt(square + np.asarray(epsilon, square.dtype))
    return cast(y, x.dtype) * scale


@operator("LRN")
def lrn(
    node: Node, x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Array:
    """Normalise by the squares of neighbouring channels."""
    before = (size - 1) // 2
    pads = [(0, 0)] * x.ndim
    pads[1] = (before, size - 1 - before)
    window = [1] * x.ndim
    window[1] = size
    sums = lax.reduce_window(
        x * x, np.zeros((), x.dtype), lax.add, tuple(window), (1,) * x.ndim, tuple(pads)
    )
    return x / (bias + alpha / size * sums) ** beta


@operator("LpNormalization")
def lp_normalization(node: Node, x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Divide by the p-norm along an axis; where that is zero, the result is zero."""
    if p == 1:
        norm = jnp.sum(jnp.abs(x), axis=axis, keepdims=True)
    else:
        norm = jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=True))
    zero = norm == 0
    return jnp.where(zero, jnp.zeros_like(x), x / jnp.where(zero, jnp.ones_like(norm), norm))


@operator("MeanVarianceNormalization", 9)
def mean_variance_normalization(
    node: Node, x: Array, *, axes: tuple[int, ...] = (0, 2, 3)
) -> Array:
    """(x - mean) / (standard deviation + 1e-9)."""
    mean = jnp.mean(x, axis=axes, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(x * x, axis=axes, keepdims=True) - mean * mean)
    return (x - mean) / (deviation + 1e-9)
