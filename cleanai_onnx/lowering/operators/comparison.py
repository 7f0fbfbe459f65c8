"""Comparisons and logic, elementwise with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

from cleanai_onnx.lowering.arrays import Array, namespace
from cleanai_onnx.lowering.node import Node
from cleanai_onnx.lowering.operators.arithmetic import aligned
from cleanai_onnx.lowering.registry import operator

__all__: list[str] = []

COMPARISONS = {
    "And": "logical_and",
    "Equal": "equal",
    "Greater": "greater",
    "Less": "less",
    "Or": "logical_or",
    "Xor": "logical_xor",
}


def _legacy(name: str) -> Callable[..., Array]:
    def by_axis(
        node: Node, a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0
    ) -> Array:
        return getattr(namespace(a, b), name)(a, aligned(a, b, axis))

    return by_axis


def _comparison(name: str) -> Callable[..., Array]:
    def broadcasting(node: Node, a: Array, b: Array) -> Array:
        return getattr(namespace(a, b), name)(a, b)

    return broadcasting


for _op, _name in COMPARISONS.items():
    operator(_op, 1)(_legacy(_name))
    operator(_op, 7)(_comparison(_name))
operator("GreaterOrEqual", 12)(_comparison("greater_equal"))
operator("LessOrEqual", 12)(_comparison("less_equal"))


@operator("Not")
def logical_not(node: Node, x: Array) -> Array:
    """Logical negation."""
    return namespace(x).logical_not(x)


@operator("Where", 9)
def where(node: Node, condition: Array, a: Array, b: Array) -> Array:
    """Take from `a` where the condition holds, else from `b`."""
    return namespace(condition, a, b).where(condition, a, b)


@operator("IsNaN", 9)
def is_nan(node: Node, x: Array) -> Array:
    """Say of each element whether it is not a number."""
    return namespace(x).isnan(x)


@operator("IsInf", 10)
def is_inf(node: Node, x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Say of each element whether it is infinite."""
    xp = namespace(x)
    found = xp.isinf(x)
    if not detect_negative:
        found = found & (x > 0)
    if not detect_positive:
        found = found & (x < 0)
    return found
