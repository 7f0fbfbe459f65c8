"""Who makes and who reads each tensor of a graph, and which small tensors are constant."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.names import node_title, shown
from cleanai_onnx.graph.tensors import SMALL, small_array

__all__ = ["Topology", "all_graphs", "attribute", "read_names", "sorted_nodes", "subgraphs"]

Array = npt.NDArray[np.generic]

# Operators whose output tells the shape of their input and nothing of its values.
_SHAPE_READERS = frozenset({"Shape", "Size"})


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs in the attributes of a node (the branches of If, the body of Loop)."""
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and every graph nested in it."""
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        yield current
        for node in current.node:
            waiting.extend(subgraphs(node))


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    """Return the attribute of a node that has this name, if there is one."""
    return next((item for item in node.attribute if item.name == name), None)


def read_names(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that a node reads, those its subgraphs take from outside included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        names |= _captured(graph)
    return names


def _captured(graph: onnx.GraphProto) -> set[str]:
    own = {value.name for value in graph.input}
    own |= {tensor.name for tensor in graph.initializer}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    own |= {name for node in graph.node for name in node.output}
    read = {value.name for value in graph.output}
    for node in graph.node:
        read |= read_names(node)
    return read - own


def sorted_nodes(graph: onnx.GraphProto, outer: Iterable[str] = ()) -> list[int]:
    """Return the indices of the nodes in an order in which each comes after what it reads.

    The order is the given one wherever that is possible.

    Raises
    ------
    ModelError
        If the graph has a cycle, or a node reads a tensor that nothing makes.
    """
    known = {value.name for value in graph.input} | set(outer)
    known |= {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    readers: dict[int, list[int]] = {}
    missing = [0] * len(graph.node)
    for index, node in enumerate(graph.node):
        for name in read_names(node):
            if name in producer:
                readers.setdefault(producer[name], []).append(index)
                missing[index] += 1
            elif name not in known:
                raise ModelError(
                    f"the {node_title(node)} reads {shown(name)}, which nothing in the model "
                    "makes: export the model again."
                )
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        stuck = next(i for i, count in enumerate(missing) if count)
        raise ModelError(
            f"the graph has a cycle through the {node_title(graph.node[stuck])}: a model must "
            "not need its own output, export it again."
        )
    return order


@dataclass(frozen=True)
class Topology:
    """The main graph of a model, indexed.

    `producer` maps a tensor to the index of the node that makes it, `readers` a tensor to the
    indices of the nodes that read it (a node whose subgraph reads it included), `outputs` are the
    names of the graph's outputs.
    """

    graph: onnx.GraphProto
    producer: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]
    outputs: frozenset[str]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> Topology:
        """Index a graph whose nodes are in topological order."""
        producer: dict[str, int] = {}
        readers: dict[str, list[int]] = {}
        for index, node in enumerate(graph.node):
            for name in node.output:
                if name:
                    producer[name] = index
            for name in read_names(node):
                readers.setdefault(name, []).append(index)
        return cls(
            graph=graph,
            producer=producer,
            readers={name: tuple(indices) for name, indices in readers.items()},
            outputs=frozenset(value.name for value in graph.output),
        )

    @cached_property
    def initializers(self) -> Mapping[str, onnx.TensorProto]:
        """The stored tensors of the graph, by name."""
        return {tensor.name: tensor for tensor in self.graph.initializer}

    @cached_property
    def _constants(self) -> dict[str, Array | None]:
        return {}

    def node_of(self, tensor: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor, or None for inputs and stored tensors."""
        index = self.producer.get(tensor)
        return None if index is None else self.graph.node[index]

    def constant(self, tensor: str) -> Array | None:
        """Return the value of a small constant tensor, or None.

        Constants are initializers (listed as graph inputs or not) and Constant nodes, also seen
        through Identity, Cast and CastLike (whose type is then that of the stored tensor).
        """
        if tensor not in self._constants:
            self._constants[tensor] = self._constant(tensor)
        return self._constants[tensor]

    def _constant(self, tensor: str) -> Array | None:
        for _ in range(8):
            stored = self.initializers.get(tensor)
            if stored is not None:
                return small_array(stored)
            node = self.node_of(tensor)
            if node is None:
                return None
            if node.op_type == "Constant":
                return _constant_value(node)
            if node.op_type not in ("Identity", "Cast", "CastLike") or not node.input:
                return None
            tensor = node.input[0]
        return None

    def scalar(self, tensor: str) -> float | None:
        """Return the value of a constant that is one real number (of any rank), or None."""
        array = self.constant(tensor)
        if array is None or array.size != 1 or array.dtype.kind not in "fiub":
            return None
        return float(array.reshape(()).astype(np.float64))

    def depends_on(self, tensor: str) -> frozenset[str]:
        """Return every tensor whose values follow from the values of `tensor`, itself included.

        What is computed from its shape alone does not follow from its values.
        """
        reached = {tensor}
        for node in self.graph.node:
            if node.op_type not in _SHAPE_READERS and not reached.isdisjoint(read_names(node)):
                reached.update(name for name in node.output if name)
        return frozenset(reached)


def _constant_value(node: onnx.NodeProto) -> Array | None:
    for item in node.attribute:
        if item.name == "value":
            return small_array(item.t)
        if item.name == "value_float":
            return np.asarray(item.f, dtype=np.float32)
        if item.name == "value_int":
            return np.asarray(item.i, dtype=np.int64)
        if item.name == "value_floats" and len(item.floats) <= SMALL:
            return np.asarray(item.floats, dtype=np.float32)
        if item.name == "value_ints" and len(item.ints) <= SMALL:
            return np.asarray(item.ints, dtype=np.int64)
    return None
