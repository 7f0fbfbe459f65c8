r"""Activations that an exporter wrote as several nodes, recognised by what they compute.

Exporters write one function in many ways: GELU as :math:`\tfrac{x}{2}(1+\mathrm{erf}(x/\sqrt2))`
with the factor one half at the front, at the end, or on the parenthesis; hard-swish with Clip,
with HardSigmoid, or with Relu and Min. Comparing nodes with patterns would need one for each.

Instead, wherever a graph has a node that such functions are made of, the elementwise nodes around
it that depend on one tensor x (and on constants that are single numbers) are evaluated on a fixed
grid of values of x, here in numpy, and the result is compared with the functions of `FUNCTIONS`.
The largest match counts: its last tensor is the activation, its inner nodes are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from cleanai_onnx.graph.topology import Topology, attribute

__all__ = ["FUNCTIONS", "Composite", "find_composites"]

Array = npt.NDArray[np.float64]

_GRID: Array = np.concatenate([np.linspace(-9.7, 9.7, 98), [-0.31, -0.05, 0.0, 0.05, 0.31]])
_TOLERANCE: Array = 1.5e-3 * np.maximum(1.0, np.abs(_GRID))
"""Half-precision constants (0.1666 for a sixth) and the tanh form of GELU stay within it."""

_MOST_MEMBERS = 16
_erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "SiLU": lambda x: x * _sigmoid(x),
    "QuickGelu": lambda x: x * _sigmoid(1.702 * x),
    "Gelu": lambda x: x * 0.5 * (1.0 + _erf(x / math.sqrt(2.0))),
    "HardSwish": lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "HardSigmoid": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Softsign": lambda x: x / (1.0 + np.abs(x)),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0.0),
    "Relu6": lambda x: np.clip(x, 0.0, 6.0),
    "Selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
}
"""Functions that are recognised when several nodes compute them, by the report's names."""

_EXPECTED = {name: function(_GRID) for name, function in FUNCTIONS.items()}

# A composite is looked for around these; every function above needs one of them.
_KEYS = frozenset(
    {"Abs", "Clip", "Elu", "Erf", "Exp", "HardSigmoid", "Max", "Min", "Relu", "Sigmoid", "Softplus",
     "Tanh", "Where"}
)  # fmt: skip

_WHOLE = frozenset({"Elu", "HardSigmoid", "Relu", "Sigmoid", "Softplus", "Tanh"})
"""Each of these is an activation by itself."""

_UNARY: dict[str, Callable[[Array], Array]] = {
    "Abs": np.abs,
    "Cast": lambda x: x,
    "Erf": _erf,
    "Exp": np.exp,
    "Identity": lambda x: x,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": lambda x: 1.0 / x,
    "Relu": lambda x: np.maximum(x, 0.0),
    "Sigmoid": _sigmoid,
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Div": np.divide,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
}
_OTHER = frozenset({"Clip", "Elu", "HardSigmoid", "Where"})
_ELEMENTWISE = frozenset(_UNARY) | frozenset(_BINARY) | _OTHER


@dataclass(frozen=True)
class Composite:
    """Several nodes that compute one activation: its name, its last node, all its nodes."""

    op: str
    node: int
    members: frozenset[int]


def find_composites(topology: Topology, dependent: frozenset[str]) -> list[Composite]:
    """Return the composites of a graph, in graph order; no two share a node that ends one.

    Parameters
    ----------
    topology
        The graph, its nodes in topological order.
    dependent
        The tensors that may be part of a composite.
    """
    found: dict[int, Composite] = {}
    tried: set[str] = set()
    for index, node in enumerate(topology.graph.node):
        if node.op_type not in _KEYS or node.domain not in ("", "ai.onnx"):
            continue
        for source in _sources(topology, index, dependent):
            if source not in tried:
                tried.add(source)
                for composite in _matches(topology, source, dependent):
                    known = found.get(composite.node)
                    if known is None or len(known.members) < len(composite.members):
                        found[composite.node] = composite
    inner = {
        member for composite in found.values() for member in composite.members - {composite.node}
    }
    return [found[node] for node in sorted(found) if node not in inner]


def _sources(topology: Topology, index: int, dependent: frozenset[str]) -> Iterator[str]:
    """Yield the tensors that could be the x of a composite around a node, nearest first."""
    waiting = [(name, 0) for name in topology.graph.node[index].input if name in dependent]
    seen: set[str] = set()
    while waiting:
        tensor, distance = waiting.pop(0)
        if tensor in seen:
            continue
        seen.add(tensor)
        yield tensor
        node = topology.node_of(tensor)
        if node is not None and node.op_type in _ELEMENTWISE and distance < 6:
            waiting.extend((name, distance + 1) for name in node.input if name in dependent)


def _matches(topology: Topology, source: str, dependent: frozenset[str]) -> Iterator[Composite]:
    values: dict[str, Array] = {source: _GRID}
    parts: dict[str, frozenset[int]] = {source: frozenset()}
    waiting = sorted(topology.readers.get(source, ()))
    visited: set[int] = set()
    while waiting and len(visited) < 4 * _MOST_MEMBERS:
        index = waiting.pop(0)
        if index in visited:
            continue
        visited.add(index)
        node = topology.graph.node[index]
        if node.op_type not in _ELEMENTWISE or node.domain not in ("", "ai.onnx"):
            continue
        result = _evaluate(node, values, topology, dependent)
        if result is None:
            continue
        members = frozenset({index}).union(*(parts.get(name, ()) for name in node.input))
        if len(members) > _MOST_MEMBERS:
            continue
        output = node.output[0]
        values[output], parts[output] = result, members
        if _worth(members, topology):
            name = _name_of(result)
            if name is not None:
                yield Composite(name, index, members)
        waiting = sorted({*waiting, *topology.readers.get(output, ())} - visited)


def _worth(members: frozenset[int], topology: Topology) -> bool:
    """Say whether nodes are more than one activation with casts or copies around it.

    A lone Max may be a ReLU and a lone Where cannot be: it needs its comparison. Activations that
    follow one another, such as two ReLUs, are as many as there are.
    """
    operators = [topology.graph.node[index].op_type for index in members]
    computing = [op for op in operators if op not in ("Cast", "Identity")]
    if _WHOLE.issuperset(computing):
        return False
    return len(computing) > 1 or computing == ["Max"]


def _name_of(result: Array) -> str | None:
    if not np.all(np.isfinite(result)):
        return None
    for name, expected in _EXPECTED.items():
        if np.all(np.abs(result - expected) <= _TOLERANCE):
            return name
    return _leaky(result)


def _leaky(result: Array) -> str | None:
    """Recognise x above zero with a slope, or an exponential, of any factor below it."""
    below, above = _GRID < 0, _GRID >= 0
    if np.any(np.abs(result - _GRID)[above] > _TOLERANCE[above]):
        return None
    for name, unit in (("LeakyRelu", _GRID[below]), ("Elu", np.expm1(_GRID[below]))):
        factor = result[below][0] / unit[0]
        fits = np.all(np.abs(result[below] - factor * unit) <= _TOLERANCE[below])
        if fits and (name == "Elu" or abs(factor) < 0.99):
            return name
    return None


def _evaluate(
    node: onnx.NodeProto, values: dict[str, Array], topology: Topology, dependent: frozenset[str]
) -> Array | None:
    """Return the node's output on the grid, or None if it is no function of x alone."""
    operands: list[Array] = []
    for name in node.input:
        if name in values:
            operands.append(values[name])
            continue
        number = topology.scalar(name) if name and name not in dependent else None
        if number is None:
            return None
        operands.append(np.asarray(number))
    with np.errstate(all="ignore"):
        result = _apply(node, operands)
    return None if result is None else np.broadcast_to(np.asarray(result, float), _GRID.shape)


def _apply(node: onnx.NodeProto, operands: list[Array]) -> Array | None:
    op, count = node.op_type, len(operands)
    if op in _UNARY and count == 1:
        return _UNARY[op](operands[0])
    if op in _BINARY and count == 2:
        return _BINARY[op](operands[0], operands[1])
    if op == "Where" and count == 3:
        return np.where(operands[0] != 0, operands[1], operands[2])
    if op == "HardSigmoid" and count == 1:
        alpha, beta = _real(node, "alpha", 0.2), _real(node, "beta", 0.5)
        return np.clip(alpha * operands[0] + beta, 0.0, 1.0)
    if op == "Elu" and count == 1:
        x = operands[0]
        return np.where(x > 0, x, _real(node, "alpha", 1.0) * np.expm1(x))
    if op == "Clip" and count == 3:
        return np.minimum(np.maximum(operands[0], operands[1]), operands[2])
    if op == "Clip" and count == 1:
        low, high = _real(node, "min", -math.inf), _real(node, "max", math.inf)
        return np.minimum(np.maximum(operands[0], low), high)
    return None


def _real(node: onnx.NodeProto, name: str, default: float) -> float:
    found = attribute(node, name)
    return default if found is None else float(found.f)
