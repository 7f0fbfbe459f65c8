"""The way back through a model: which nodes relevance passes, and by which rule each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from cleanai_onnx.errors import ModelError, NotSupportedError, UsageError
from cleanai_onnx.graph.canonical import DOMAIN
from cleanai_onnx.graph.names import shown
from cleanai_onnx.lowering import Node
from cleanai_onnx.relevance import attention  # noqa: F401  (registers its redistributions)
from cleanai_onnx.relevance.composites import Composite, LinearLayer
from cleanai_onnx.relevance.convolution import Convolution
from cleanai_onnx.relevance.geometry import geometry
from cleanai_onnx.relevance.linear_maps import Dense, LinearMap
from cleanai_onnx.relevance.network import Network
from cleanai_onnx.relevance.redistribution import (
    REDISTRIBUTIONS,
    gradient_times_input,
    through,
)
from cleanai_onnx.relevance.rules import Rule
from cleanai_onnx.relevance.signs import nonnegative_tensors
from cleanai_onnx.relevance.visit import Redistribution

__all__ = ["Fallback", "LinearStep", "OtherStep", "Plan", "Step", "find_start", "make_plan"]

Array: TypeAlias = Any

Fallback = Literal["refuse", "gradient"]

_GATES = frozenset({"HardSigmoid", "Sigmoid", "Softmax"})
_BEHIND_A_GATE = frozenset(
    {"Cast", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
_SHAPE_READERS = frozenset({"Shape", "Size"})


@dataclass(frozen=True, eq=False)
class LinearStep:
    """A linear layer on the way back.

    Attributes
    ----------
    node
        The node.
    source
        The position of the input that is computed.
    map, weight, bias
        The layer's linear function, its weight and its bias (numpy, as stored).
    rule
        By the composite.
    input_is_nonnegative
        Whether the graph says so.
    """

    node: Node
    source: int
    map: LinearMap
    weight: Array
    bias: Array | None
    rule: Rule
    input_is_nonnegative: bool

    def prepared(self) -> tuple[tuple[tuple[Array, ...], Array | None] | None, ...]:
        """Return weight and bias of each term of the rule, None for a term that vanishes."""
        return tuple(
            None
            if term.vanishes(self.input_is_nonnegative)
            else (
                self.map.prepare(term.weight(self.weight)),
                None if self.bias is None else self.map.bias(term.bias(self.bias)),
            )
            for term in self.rule.terms
        )


@dataclass(frozen=True, eq=False)
class OtherStep:
    """A node on the way back that is no linear layer, and what redistributes its relevance."""

    node: Node
    data: tuple[int, ...]
    gates: tuple[int, ...]
    redistribute: Redistribution


Step: TypeAlias = LinearStep | OtherStep


@dataclass(frozen=True, eq=False)
class Plan:
    """The way back.

    Attributes
    ----------
    start
        The tensor that relevance starts from.
    class_axis
        The axis of `start` that counts classes, None where its elements are the output themselves.
    steps
        In the order of the graph: the way back is reversed.
    without_rule
        The nodes that are passed by gradient x input.
    """

    start: str
    class_axis: int | None
    steps: tuple[Step, ...]
    without_rule: tuple[str, ...]


def make_plan(
    network: Network, composite: Composite, *, output: str | None, fallback: Fallback
) -> Plan:
    """Find the way back from the start to the image input.

    Raises
    ------
    NotSupportedError
        If a node on the way has no rule and `fallback` is "refuse".
    ModelError
        If the output does not depend on the images.
    UsageError
        If there is no such output.
    """
    producers = {name: node for node in network.nodes for name in node.outputs if name}
    dependent = _dependent(network)
    start, class_axis = find_start(network, producers, _output(network, output))
    if start not in dependent:
        raise ModelError(
            f"the output {shown(start)} does not depend on the images: choose another output."
        )
    wanted = {start}
    passed: list[tuple[Node, tuple[int, ...]]] = []
    for node in reversed(network.nodes):
        if wanted.isdisjoint(node.outputs):
            continue
        data = tuple(
            position
            for position, name in enumerate(node.inputs)
            if name in dependent and _carries(network, node, name)
        )
        # Without data, relevance ends here: at integers or truth values that depend on images.
        passed.append((node, data))
        wanted.update(node.inputs[position] for position in data)
    passed.reverse()
    nonnegative = nonnegative_tensors(network.nodes, network.constant)
    behind: set[str] = set()
    steps: list[Step] = []
    without: list[str] = []
    for node, data in passed:
        step, ruled = _step(network, composite, node, data, producers, nonnegative, behind)
        if not ruled:
            without.append(node.title)
            if fallback == "refuse":
                raise NotSupportedError(
                    f"no relevance rule is known for the {node.title}: allow gradient x input "
                    "there with --fallback gradient (fallback='gradient'), or explain a model "
                    "without it."
                )
        steps.append(step)
        if isinstance(step, LinearStep) or any(node.inputs[i] in behind for i in data):
            behind.update(node.outputs)
    return Plan(start, class_axis, tuple(steps), tuple(without))


def _step(
    network: Network,
    composite: Composite,
    node: Node,
    data: tuple[int, ...],
    producers: Mapping[str, Node],
    nonnegative: frozenset[str],
    behind: set[str],
) -> tuple[Step, bool]:
    """Return the step of a node, and whether it has a rule of its own."""
    if not data:
        return OtherStep(node, data, (), gradient_times_input), False
    linear = _linear(network, node, data)
    if linear is not None:
        source, map_, weight, bias = linear
        first = node.inputs[source] not in behind
        layer = LinearLayer(node.name, node.op, node.outputs[0], first)
        rule = composite.rule_for(layer)
        if rule is not None:
            sign = node.inputs[source] in nonnegative
            return LinearStep(node, source, map_, weight, bias, rule, sign), True
        return OtherStep(node, data, (), gradient_times_input), False
    if node.domain == DOMAIN:
        return OtherStep(node, data, (), through), True
    found = REDISTRIBUTIONS.get((node.domain, node.op))
    if node.op in ("Conv", "ConvTranspose", "Gemm"):
        found = None  # its weight is computed from the images
    gates = tuple(i for i in data if _is_gate(node.inputs[i], producers))
    if found is None:
        return OtherStep(node, data, gates, gradient_times_input), False
    return OtherStep(node, data, gates, found), True


def _linear(
    network: Network, node: Node, data: tuple[int, ...]
) -> tuple[int, LinearMap, Array, Array | None] | None:
    """Return the computed input of a linear layer, its function, weight and bias; or None."""
    if node.domain or len(data) != 1 or node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    source = data[0]
    if source > 1 or (source == 1 and node.op != "MatMul"):
        return None
    weight = network.constant(node.inputs[1 - source])
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = network.constant(node.inputs[2])
        if bias is None:
            return None
    if weight is None:
        return None
    x, z = network.shape(node.inputs[source]), network.shape(node.outputs[0])
    get = node.attributes.get
    if node.op == "Gemm":
        map_: LinearMap = Dense(
            transposed_weight=bool(get("transB", 0)),
            transposed_input=bool(get("transA", 0)),
            scale=float(get("alpha", 1.0)),
            bias_scale=float(get("beta", 1.0)),
        )
        return source, map_, weight, bias
    if node.op == "MatMul":
        if weight.ndim != 2 or len(x) < 2:
            return None
        return source, Dense(left=source == 1), weight, None
    backward = node.op == "ConvTranspose"
    large, small = (z, x) if backward else (x, z)
    groups = int(get("group", 1))
    shape = geometry(node, weight.shape[2:], large[2:], small[2:], groups)
    depthwise = groups > 1 and weight.shape[1] == 1
    return source, Convolution(shape, backward, depthwise), weight, bias


def _is_gate(name: str, producers: Mapping[str, Node]) -> bool:
    for _ in range(8):
        node = producers.get(name)
        if node is None:
            return False
        recognised = node.domain == DOMAIN and node.op.rpartition("_")[0] in _GATES
        if recognised or (not node.domain and node.op in _GATES):
            return True
        if node.op not in _BEHIND_A_GATE:
            return False
        name = node.inputs[0]
    return False


def _carries(network: Network, node: Node, name: str) -> bool:
    """Say whether a tensor is made of real numbers, so that it can have relevance."""
    if node.op in ("Cast", "CastLike"):
        return name == node.inputs[0]
    return network.is_real(name)


def _dependent(network: Network) -> frozenset[str]:
    """Return the tensors whose values follow from the images."""
    reached = {network.image_input}
    for node in network.nodes:
        if node.op not in _SHAPE_READERS and not reached.isdisjoint(node.inputs):
            reached.update(name for name in node.outputs if name)
    return frozenset(reached)


def _output(network: Network, output: str | None) -> str:
    if output is None:
        return network.outputs[0]
    if output not in network.outputs:
        names = ", ".join(shown(name) for name in network.outputs[:8])
        raise UsageError(f"the model has no output {shown(output)}: its outputs are {names}.")
    return output


_MOVES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SQUASHES = frozenset({"LogSoftmax", "Sigmoid", "Softmax"})


def find_start(
    network: Network, producers: Mapping[str, Node], output: str
) -> tuple[str, int | None]:
    """Return the tensor before the final softmax or sigmoid, and its axis of classes."""
    name = output
    for _ in range(8):
        node = producers.get(name)
        if node is None or node.domain or not node.inputs:
            break
        if node.op in _SQUASHES:
            start = node.inputs[0]
            rank = len(network.shape(start))
            default = -1 if node.opset >= 13 else 1
            axis = int(node.attributes.get("axis", default)) % rank
            if node.op == "Sigmoid":
                axis = _class_axis(rank)
            return start, None if network.shape(start)[axis] == 1 else axis
        if node.op not in _MOVES:
            break
        name = node.inputs[0]
    shape = network.shape(output)
    if len(shape) < 2:
        return output, None
    axis = _class_axis(len(shape))
    return output, None if shape[axis] == 1 else axis


def _class_axis(rank: int) -> int:
    """Return the axis of classes: the last of tokens ``(B, T, C)``, otherwise the second."""
    return rank - 1 if rank == 3 else 1
