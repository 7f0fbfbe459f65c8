"""What a node reads, and from which tensors shapes are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cleanai_onnx.lowering.node import Graph, Node
from cleanai_onnx.lowering.registry import find_operator

__all__ = ["makes_shapes", "reads"]

_SHAPE_READERS = frozenset({"Shape", "Size"})


def reads(node: Node) -> set[str]:
    """Return the names that a node reads, those that its subgraphs take from outside included."""
    names = {name for name in node.inputs if name}
    for value in node.attributes.values():
        if isinstance(value, Graph):
            own = {*value.inputs, *value.constants}
            own.update(name for inner in value.nodes for name in inner.outputs)
            inside = {name for inner in value.nodes for name in reads(inner)}
            names |= (inside | set(value.outputs)) - own
    return names


def _all_nodes(nodes: Iterable[Node]) -> Iterator[Node]:
    waiting = [iter(nodes)]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        yield node
        waiting.extend(iter(v.nodes) for v in node.attributes.values() if isinstance(v, Graph))


def makes_shapes(nodes: Sequence[Node], inputs: Iterable[str]) -> set[str]:
    """Return the tensors from which something is computed that must be known while tracing.

    What depends on the values of an input cannot be known and does not count.
    """
    dependent = set(inputs)
    for node in nodes:
        if node.op not in _SHAPE_READERS and not dependent.isdisjoint(reads(node)):
            dependent.update(node.outputs)
    seeds: set[str] = set()
    producers: dict[str, Node] = {}
    for node in _all_nodes(nodes):
        producers.update((name, node) for name in node.outputs if name)
        known = find_operator(node.op, node.opset, node.domain)
        if known is not None:
            seeds.update(node.inputs[i] for i in known.static if i < len(node.inputs))
    waiting = list(seeds - dependent - {""})
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        producer = producers.get(name)
        if producer is not None and producer.op not in _SHAPE_READERS:
            waiting.extend(reads(producer))
    return found
