"""Activation functions.

Gradients at kinks are those of torch: 0 for ReLU at 0, 1 for Clip at its bounds.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cleanai_onnx.lowering.arrays import Array, is_floating, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []


@operator("Relu")
def relu(node: Node, x: Array, *, consumed_inputs: Any = None) -> Array:
    """max(x, 0)."""
    xp = namespace(x)
    if xp is np or not is_floating(x):
        return xp.maximum(x, np.zeros((), x.dtype))
    return jax.nn.relu(x)


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Array, *, alpha: float = 0.01, consumed_inputs: Any = None) -> Array:
    """X where x >= 0, else alpha x."""
    return jnp.where(x >= 0, x, x * alpha)


@operator("PRelu", 1)
def prelu_by_channel(node: Node, x: Array, slope: Array, *, consumed_inputs: Any = None) -> Array:
    """Like LeakyRelu, with one slope for each channel."""
    if slope.ndim == 1 and slope.shape[0] > 1:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return jnp.where(x < 0, x * slope, x)


@operator("PRelu", 7)
def prelu(node: Node, x: Array, slope: Array) -> Array:
    """Like LeakyRelu, with slopes that are broadcast."""
    return jnp.where(x < 0, x * slope, x)


def _inside(x: Array, where: Array) -> Array:
    """Keep values that must not overflow in the branch of a `where` that is not taken."""
    return jnp.where(where, x, jnp.zeros_like(x))


@operator("Elu")
def elu(node: Node, x: Array, *, alpha: float = 1.0, consumed_inputs: Any = None) -> Array:
    """X where x > 0, else alpha (exp(x) - 1)."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(_inside(x, x <= 0)))


@operator("Selu", 1)
def old_selu(
    node: Node,
    x: Array,
    *,
    alpha: float = 1.6732,
    gamma: float = 1.0507,
    consumed_inputs: Any = None,
) -> Array:
    """Scaled ELU, with the rounded constants of the first version."""
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(_inside(x, x <= 0)))


@operator("Selu", 6)
def selu(
    node: Node, x: Array, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805
) -> Array:
    """Scaled ELU."""
    return gamma * jnp.where(x > 0, x, alpha * jnp.expm1(_inside(x, x <= 0)))


@operator("Celu", 12)
def celu(node: Node, x: Array, *, alpha: float = 1.0) -> Array:
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1))."""
    return jnp.where(x > 0, x, alpha * jnp.expm1(_inside(x, x <= 0) / alpha))


@operator("ThresholdedRelu", 10)
def thresholded_relu(node: Node, x: Array, *, alpha: float = 1.0) -> Array:
    """X where x > alpha, else 0."""
    return jnp.where(x > alpha, x, jnp.zeros_like(x))


@operator("Shrink", 9)
def shrink(node: Node, x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Move values towards zero by `bias`, and those within `lambd` of it to zero."""
    y = jnp.where(x < -lambd, x + bias, jnp.where(x > lambd, x - bias, 0))
    return y.astype(x.dtype)


@operator("Sigmoid")
def sigmoid(node: Node, x: Array, *, consumed_inputs: Any = None) -> Array:
    """1 / (1 + exp(-x))."""
    return jax.nn.sigmoid(jnp.asarray(x))


@operator("HardSigmoid")
def hard_sigmoid(
    node: Node, x: Array, *, alpha: float = 0.2, beta: float = 0.5, consumed_inputs: Any = None
) -> Array:
    """Clip alpha x + beta to [0, 1]."""
    return jnp.clip(alpha * x + beta, 0, 1)


@operator("HardSwish", 14)
def hard_swish(node: Node, x: Array) -> Array:
    """X clip(x / 6 + 1/2, 0, 1)."""
    return x * jnp.clip(x / 6 + 0.5, 0, 1)


@operator("Softplus")
def softplus(node: Node, x: Array) -> Array:
    """log(1 + exp(x))."""
    return jax.nn.softplus(jnp.asarray(x))


@operator("Softsign")
def softsign(node: Node, x: Array) -> Array:
    """X / (1 + abs(x))."""
    return x / (1 + jnp.abs(x))


def gelu(node: Node, x: Array, *, approximate: str = "none") -> Array:
    """X Phi(x), Phi the normal distribution or its approximation by tanh."""
    if approximate not in ("none", "tanh"):
        raise node.refuse("its attribute approximate is neither none nor tanh")
    return jax.nn.gelu(jnp.asarray(x), approximate=approximate == "tanh")


operator("Gelu", 20)(gelu)
operator("Gelu", 1, domain="com.microsoft")(gelu)


@operator("QuickGelu", 1, domain="com.microsoft")
def quick_gelu(node: Node, x: Array, *, alpha: float = 1.702) -> Array:
    """X sigmoid(alpha x)."""
    return x * jax.nn.sigmoid(alpha * jnp.asarray(x))


@operator("Swish", 24)
def swish(node: Node, x: Array, *, alpha: float = 1.0) -> Array:
    """X sigmoid(alpha x)."""
    return x * jax.nn.sigmoid(alpha * jnp.asarray(x))


@operator("Mish", 18)
def mish(node: Node, x: Array) -> Array:
    """X tanh(softplus(x))."""
    return x * jnp.tanh(jax.nn.softplus(jnp.asarray(x)))


def clipped(x: Array, low: Array | None, high: Array | None) -> Array:
    """Raise to `low`, then cut at `high`; what is not a number stays so."""
    xp = namespace(x, low, high)
    if low is not None:
        x = xp.where(x < low, low, x)
    return x if high is None else xp.where(x > high, high, x)


@operator("Clip", 1)
def clip_between(
    node: Node,
    x: Array,
    *,
    min: float | None = None,
    max: float | None = None,
    consumed_inputs: Any = None,
) -> Array:
    """Clip to bounds that are attributes."""
    bounds = [None if bound is None else np.asarray(bound, x.dtype) for bound in (min, max)]
    return clipped(x, *bounds)


@operator("Clip", 11)
def clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Clip to bounds that are inputs."""
    return clipped(x, low, high)


def _rows(x: Array, axis: int) -> Array:
    """Flatten to two axes, as operators on one axis did before opset 13."""
    axis %= max(x.ndim, 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _rounded(x: Array) -> Array:
    """Keep what computes `x` apart from what reads it.

    XLA contracts a product and the difference from the maximum of all products into one operation
    that rounds once, while the maximum is rounded: for large logits the difference is then far
    from zero, and the softmax not a number. Nothing is contracted across a choice.
    """
    x = jnp.asarray(x)
    return jnp.where(x == x, x, np.asarray(np.nan, x.dtype))


@operator("Softmax", 1)
def softmax_of_rows(node: Node, x: Array, *, axis: int = 1) -> Array:
    """Softmax over all axes from `axis` on."""
    return jax.nn.softmax(_rows(_rounded(x), axis), axis=-1).reshape(x.shape)


@operator("Softmax", 13)
def softmax(node: Node, x: Array, *, axis: int = -1) -> Array:
    """Softmax over one axis."""
    return jax.nn.softmax(_rounded(x), axis=axis)


@operator("LogSoftmax", 1)
def log_softmax_of_rows(node: Node, x: Array, *, axis: int = 1) -> Array:
    """Logarithm of the softmax over all axes from `axis` on."""
    return jax.nn.log_softmax(_rows(_rounded(x), axis), axis=-1).reshape(x.shape)


@operator("LogSoftmax", 13)
def log_softmax(node: Node, x: Array, *, axis: int = -1) -> Array:
    """Logarithm of the softmax over one axis."""
    return jax.nn.log_softmax(_rounded(x), axis=axis)


def _hardmax(x: Array, axis: int) -> Array:
    return jax.nn.one_hot(jnp.argmax(x, axis=axis), x.shape[axis], dtype=x.dtype, axis=axis)


@operator("Hardmax", 1)
def hardmax_of_rows(node: Node, x: Array, *, axis: int = 1) -> Array:
    """1 for the first maximum over all axes from `axis` on, else 0."""
    return _hardmax(_rows(x, axis), -1).reshape(x.shape)


@operator("Hardmax", 13)
def hardmax(node: Node, x: Array, *, axis: int = -1) -> Array:
    """1 for the first maximum along one axis, else 0."""
    return _hardmax(x, axis)
