"""What counts as an activation: one table of single operators, and where they stand in a graph.

Composites of several nodes (SiLU, GELU, hard-swish, Mish, ...) are in
`cleanai_onnx.graph.composites`, quantised ones in `cleanai_onnx.graph.quantised`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from cleanai_onnx.graph.composites import Composite, find_composites
from cleanai_onnx.graph.quantised import Dequantize, quantised_relus, seen_quantised
from cleanai_onnx.graph.topology import Topology, attribute, subgraphs

__all__ = ["ACTIVATIONS", "Activation", "activation_name", "find_activations", "nested_activations"]

ACTIVATIONS = {
    ("", "Celu"): "Celu",
    ("", "Elu"): "Elu",
    ("", "Gelu"): "Gelu",
    ("", "HardSigmoid"): "HardSigmoid",
    ("", "HardSwish"): "HardSwish",
    ("", "LeakyRelu"): "LeakyRelu",
    ("", "Mish"): "Mish",
    ("", "PRelu"): "PRelu",
    ("", "Relu"): "Relu",
    ("", "Selu"): "Selu",
    ("", "Sigmoid"): "Sigmoid",
    ("", "Softplus"): "Softplus",
    ("", "Softsign"): "Softsign",
    ("", "Swish"): "Swish",
    ("", "Tanh"): "Tanh",
    ("", "ThresholdedRelu"): "ThresholdedRelu",
    ("com.microsoft", "BiasGelu"): "Gelu",
    ("com.microsoft", "FastGelu"): "Gelu",
    ("com.microsoft", "Gelu"): "Gelu",
    ("com.microsoft", "QuickGelu"): "QuickGelu",
}
"""Single-node activations: (domain, operator) to the name that the report gives it.

`Clip` counts as well, when both bounds are constants. So do onnxruntime's fused operators
(`FusedConv` and the like), whose `activation` attribute names one of these.
"""

_FUSED = frozenset({"FusedConv", "FusedGemm", "NhwcFusedConv"})


@dataclass(frozen=True)
class Activation:
    """An activation of the main graph.

    Attributes
    ----------
    tensor
        Its output, the post-activation tensor.
    op
        What it is, in the words of the table; for example ``"Relu"``, ``"SiLU"`` or
        ``"Relu (quantised)"``.
    node
        Index of the node that makes `tensor`.
    members
        Indices of all nodes that it consists of.
    dequantize
        How to make the value that the next layer sees, where that is a quantised one.
    """

    tensor: str
    op: str
    node: int
    members: frozenset[int]
    dequantize: Dequantize | None = None


def activation_name(node: onnx.NodeProto, topology: Topology) -> str | None:
    """Return what the report calls a node if it is an activation by itself, else None."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain == "" and node.op_type == "Clip":
        return "Clip" if _has_constant_bounds(node, topology) else None
    if domain == "com.microsoft" and node.op_type in _FUSED:
        inner = attribute(node, "activation")
        name = inner.s.decode("utf-8", "replace") if inner is not None else ""
        return ACTIVATIONS.get(("", name), "Clip" if name == "Clip" else None)
    return ACTIVATIONS.get((domain, node.op_type))


def _has_constant_bounds(node: onnx.NodeProto, topology: Topology) -> bool:
    if len(node.input) > 1:
        return (
            len(node.input) == 3
            and all(node.input[1:])
            and all(topology.constant(name) is not None for name in node.input[1:])
        )
    return attribute(node, "min") is not None and attribute(node, "max") is not None


def find_activations(topology: Topology, dependent: frozenset[str]) -> list[Activation]:
    """Return the activations of the main graph, in graph order.

    Parameters
    ----------
    topology
        The graph, its nodes in topological order.
    dependent
        The tensors whose values follow from the images; others are not activations.
    """
    graph = topology.graph
    single = {
        index: name
        for index, node in enumerate(graph.node)
        if node.output
        and node.output[0] in dependent
        and (name := activation_name(node, topology)) is not None
    }
    composites = find_composites(topology, dependent)
    swallowed = _swallowed(composites, topology)
    found = [Activation(graph.node[c.node].output[0], c.op, c.node, c.members) for c in composites]
    ends = {composite.node for composite in composites}
    found += [
        Activation(graph.node[index].output[0], name, index, frozenset({index}))
        for index, name in single.items()
        if index not in swallowed and index not in ends
    ]
    found = [
        Activation(a.tensor, a.op, a.node, a.members, seen_quantised(topology, a.tensor))
        for a in found
    ]
    taken = {activation.tensor for activation in found}
    found += [
        Activation(relu.tensor, relu.op, relu.node, frozenset({relu.node}), relu.dequantize)
        for relu in quantised_relus(topology)
        if relu.tensor in dependent and relu.source not in taken and relu.tensor not in taken
    ]
    return sorted(found, key=lambda activation: activation.node)


def _swallowed(composites: list[Composite], topology: Topology) -> set[int]:
    """Return the nodes that are part of a composite and serve nothing else.

    An inner Sigmoid that something outside the composite reads too is an activation of its own.
    """
    swallowed: set[int] = set()
    for composite in composites:
        for index in composite.members - {composite.node}:
            outputs = topology.graph.node[index].output
            readers = {r for name in outputs for r in topology.readers.get(name, ())}
            if readers <= composite.members and topology.outputs.isdisjoint(outputs):
                swallowed.add(index)
    return swallowed


def nested_activations(topology: Topology) -> Iterator[tuple[str, str, str]]:
    """Yield (tensor, operator, outer operator) of each activation inside If, Loop and Scan."""
    waiting = [(graph, node.op_type) for node in topology.graph.node for graph in subgraphs(node)]
    while waiting:
        graph, outer = waiting.pop(0)
        inner = Topology.of(graph)
        for node in graph.node:
            name = activation_name(node, inner)
            if name is not None and node.output:
                yield node.output[0], name, outer
            waiting.extend((nested, node.op_type) for nested in subgraphs(node))
