"""Elementwise arithmetic with numpy's broadcasting, bitwise operators, running sums."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cleanai_onnx.lowering.arrays import Array, Static, cast, is_floating, is_static, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

UNARY = {
    "Abs": "abs",
    "Acos": "arccos",
    "Acosh": "arccosh",
    "Asin": "arcsin",
    "Asinh": "arcsinh",
    "Atan": "arctan",
    "Atanh": "arctanh",
    "BitwiseNot": "bitwise_not",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Exp": "exp",
    "Floor": "floor",
    "Log": "log",
    "Neg": "negative",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
"""Operators that numpy has under another name."""


def _unary(name: str) -> Callable[..., Array]:
    def function(node: Node, x: Array, *, consumed_inputs: Any = None) -> Array:
        return getattr(namespace(x), name)(x)

    return function


for _op, _name in UNARY.items():
    operator(_op)(_unary(_name))


def aligned(a: Array, b: Array, axis: int | None) -> Array:
    """Return `b` with axes appended so that its first one stands under `axis` of `a`.

    That is how operators broadcast before opset 7.
    """
    if axis is None:
        return b
    return b.reshape(b.shape + (1,) * (a.ndim - axis % max(a.ndim, 1) - b.ndim))


def quotient(a: Array, b: Array) -> Array:
    """Divide; integers as C does, towards zero."""
    xp = namespace(a, b)
    if is_floating(a):
        return xp.divide(a, b)
    if xp is np and not np.all(b):
        raise ZeroDivisionError("division by zero")
    magnitude = xp.abs(a) // xp.abs(b)
    return (magnitude * (xp.sign(a) * xp.sign(b))).astype(a.dtype)


def power(base: Array, exponent: Array) -> Array:
    """Raise to a power, in the type of the base."""
    if is_static(exponent) and not is_static(base) and exponent.size == 1:
        number = float(exponent.reshape(()))
        if number == int(number) and 0 <= number <= 8 and base.ndim >= exponent.ndim:
            return lax.integer_pow(base, int(number))
        if number == 0.5 and is_floating(base) and base.ndim >= exponent.ndim:
            return jnp.sqrt(base)
    xp = namespace(base, exponent)
    if xp is np and not is_floating(base) and not is_floating(exponent):
        # numpy refuses negative powers of integers.
        return np.power(base.astype(np.float64), exponent).astype(base.dtype)
    return cast(xp.power(base, exponent), base.dtype)


BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": lambda a, b: namespace(a, b).add(a, b),
    "Sub": lambda a, b: namespace(a, b).subtract(a, b),
    "Mul": lambda a, b: namespace(a, b).multiply(a, b),
    "Div": quotient,
    "Pow": power,
}


def _binary(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def broadcasting(node: Node, a: Array, b: Array) -> Array:
        return function(a, b)

    return broadcasting


def _legacy(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def by_axis(
        node: Node,
        a: Array,
        b: Array,
        *,
        axis: int | None = None,
        broadcast: int = 0,
        consumed_inputs: Any = None,
    ) -> Array:
        if not broadcast and a.shape != b.shape:
            raise ValueError(f"shapes {a.shape} and {b.shape} differ without broadcast")
        return function(a, aligned(a, b, axis))

    return by_axis


for _op, _function in BINARY.items():
    operator(_op, 1)(_legacy(_function))
    operator(_op, 7)(_binary(_function))


@operator("Mod", 10)
def mod(node: Node, a: Array, b: Array, *, fmod: int = 0) -> Array:
    """Remainder; of the divisor's sign, or of the dividend's with `fmod`."""
    xp = namespace(a, b)
    if xp is np and not is_floating(a) and not np.all(b):
        raise ZeroDivisionError("division by zero")
    return xp.fmod(a, b) if fmod else xp.mod(a, b)


def _fold(function: str) -> Callable[..., Array]:
    def folded(node: Node, *arrays: Array, consumed_inputs: Any = None) -> Array:
        return functools.reduce(getattr(namespace(*arrays), function), arrays)

    return folded


operator("Sum")(_fold("add"))
operator("Max")(_fold("maximum"))
operator("Min")(_fold("minimum"))


@operator("Mean")
def mean(node: Node, *arrays: Array, consumed_inputs: Any = None) -> Array:
    """Elementwise mean of the inputs."""
    total = functools.reduce(namespace(*arrays).add, arrays)
    return total / np.asarray(len(arrays), total.dtype)


@operator("Erf", 9)
def erf(node: Node, x: Array) -> Array:
    """Error function."""
    return jax.scipy.special.erf(jnp.asarray(x))


operator("BitwiseAnd", 18)(_binary(lambda a, b: namespace(a, b).bitwise_and(a, b)))
operator("BitwiseOr", 18)(_binary(lambda a, b: namespace(a, b).bitwise_or(a, b)))
operator("BitwiseXor", 18)(_binary(lambda a, b: namespace(a, b).bitwise_xor(a, b)))


@operator("BitShift", 11)
def bit_shift(node: Node, a: Array, b: Array, *, direction: str) -> Array:
    """Shift the bits of unsigned integers."""
    xp = namespace(a, b)
    return xp.left_shift(a, b) if direction == "LEFT" else xp.right_shift(a, b)


def _running(x: Array, axis: Static, exclusive: int, reverse: int, product: bool) -> Array:
    xp = namespace(x)
    along = int(axis.reshape(()))
    if reverse:
        x = xp.flip(x, along)
    y = (xp.cumprod if product else xp.cumsum)(x, axis=along, dtype=x.dtype)
    if exclusive:
        first = xp.full_like(xp.take(y, xp.asarray([0]), axis=along), 1 if product else 0)
        rest = xp.take(y, xp.arange(y.shape[along] - 1), axis=along)
        y = xp.concatenate([first, rest], axis=along)
    return xp.flip(y, along) if reverse else y


@operator("CumSum", 11, static=("axis",))
def cumsum(node: Node, x: Array, axis: Static, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Sum of all elements up to each one."""
    return _running(x, axis, exclusive, reverse, product=False)


@operator("CumProd", 26, static=("axis",))
def cumprod(node: Node, x: Array, axis: Static, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Product of all elements up to each one."""
    return _running(x, axis, exclusive, reverse, product=True)
