"""The graph that a canonical pass edits: constants, neighbours, replacements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from cleanai_onnx.graph.names import fresh_name
from cleanai_onnx.graph.tensors import is_external
from cleanai_onnx.graph.topology import Topology, attribute

__all__ = ["LINEAR_WEIGHT", "Array", "Edited", "ints", "is_standard", "real"]

Array = npt.NDArray[Any]

LINEAR_WEIGHT = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
"""Linear operators, by the position of their weight among the inputs."""


def is_standard(node: onnx.NodeProto, *operators: str) -> bool:
    """Say whether a node is one of these operators of ONNX itself."""
    return node.domain in ("", "ai.onnx") and node.op_type in operators


def ints(node: onnx.NodeProto, name: str, default: Sequence[int] = ()) -> list[int]:
    """Return an attribute that is a list of integers."""
    found = attribute(node, name)
    return list(default) if found is None else [int(value) for value in found.ints]


def real(node: onnx.NodeProto, name: str, default: float) -> float:
    """Return an attribute that is a real number."""
    found = attribute(node, name)
    return default if found is None else float(found.f)


class Edited:
    """A model under edit, in place.

    Nodes are changed in place or marked for removal; `finish` drops them, and the stored tensors
    that nobody reads any more. What a pass sees of neighbours is the graph as it was at the start:
    a pass marks the nodes that it has used and leaves patterns that touch them to its next run.

    Parameters
    ----------
    proto
        The model, its nodes in topological order.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self.graph = proto.graph
        self.topology = Topology.of(self.graph)
        self.used: set[int] = set()
        self.changed = False
        self._removed: set[int] = set()
        self._inserted: dict[int, list[onnx.NodeProto]] = {}
        self._arrays: dict[str, Array] = {}

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        versions = [o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")]
        return versions[0] if versions else 1

    @cached_property
    def _names(self) -> set[str]:
        names = {value.name for value in (*self.graph.input, *self.graph.output)}
        names.update(self.topology.producer)
        names.update(self.topology.initializers)
        return names

    def nodes(self, *operators: str) -> Iterable[tuple[int, onnx.NodeProto]]:
        """Yield the nodes of these operators that no edit has used, with their indices."""
        for index, node in enumerate(self.graph.node):
            if index not in self.used and is_standard(node, *operators):
                yield index, node

    def array(self, tensor: str) -> Array | None:
        """Return a stored tensor of any size, or None if the tensor is not constant."""
        if not tensor:
            return None
        if tensor not in self._arrays:
            stored = self.topology.initializers.get(tensor)
            if stored is None:
                return self.topology.constant(tensor)
            if is_external(stored) or stored.data_type == onnx.TensorProto.STRING:
                return None
            self._arrays[tensor] = numpy_helper.to_array(stored)
        return self._arrays[tensor]

    def producer(self, tensor: str) -> int | None:
        """Return the node that makes a tensor, unless an edit has used it."""
        index = self.topology.producer.get(tensor)
        return None if index is None or index in self.used else index

    def sole_reader(self, tensor: str) -> int | None:
        """Return the one node that reads a tensor, if there is just one and it is no output."""
        readers = self.topology.readers.get(tensor, ())
        if len(readers) != 1 or tensor in self.topology.outputs or readers[0] in self.used:
            return None
        reader = self.graph.node[readers[0]]
        # Twice an operand of one node, or read from within a subgraph: leave it.
        return readers[0] if list(reader.input).count(tensor) == 1 else None

    def store(self, wanted: str, array: Array) -> str:
        """Add a stored tensor and return its name."""
        name = fresh_name(wanted, self._names)
        self._names.add(name)
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        self._arrays[name] = array
        return name

    def fresh(self, wanted: str) -> str:
        """Return a tensor name that is not taken."""
        name = fresh_name(wanted, self._names)
        self._names.add(name)
        return name

    def set_input(self, node: onnx.NodeProto, position: int, tensor: str) -> None:
        """Make a node read a tensor at a position, filling omitted inputs before it."""
        while len(node.input) <= position:
            node.input.append("")
        node.input[position] = tensor
        self.changed = True

    def rename_reads(self, old: str, new: str) -> None:
        """Make every node that reads `old` read `new`."""
        for index in self.topology.readers.get(old, ()):
            node = self.graph.node[index]
            for position, name in enumerate(node.input):
                if name == old:
                    node.input[position] = new
        self.changed = True

    def remove(self, *indices: int) -> None:
        """Remove nodes."""
        self._removed.update(indices)
        self.used.update(indices)
        self.changed = True

    def insert(self, index: int, node: onnx.NodeProto) -> None:
        """Put a node where the node `index` stands (before it if that one stays)."""
        self._inserted.setdefault(index, []).append(node)
        self.changed = True

    def attribute(self, node: onnx.NodeProto, name: str, value: Any) -> None:
        """Set an attribute."""
        kept = [item for item in node.attribute if item.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
        self.changed = True

    def finish(self) -> bool:
        """Drop what was removed, and say whether anything was changed."""
        if not self.changed:
            return False
        nodes: list[onnx.NodeProto] = []
        for index, node in enumerate(self.graph.node):
            nodes += self._inserted.get(index, [])
            if index not in self._removed:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                nodes.append(copy)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self._drop_unread()
        return True

    def _drop_unread(self) -> None:
        topology = Topology.of(self.graph)
        declared = {value.name for value in self.graph.input} | topology.outputs
        unread = [
            position
            for position, tensor in enumerate(self.graph.initializer)
            if tensor.name not in topology.readers and tensor.name not in declared
        ]
        for position in reversed(unread):
            del self.graph.initializer[position]
        made = {name for node in self.graph.node for name in node.output} | declared
        stale = [i for i, value in enumerate(self.graph.value_info) if value.name not in made]
        for position in reversed(stale):
            del self.graph.value_info[position]
