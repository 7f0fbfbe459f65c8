"""Nodes and graphs as the lowering sees them: immutable, with attributes as Python values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper

from cleanai_onnx.errors import NotSupportedError
from cleanai_onnx.graph.names import shown
from cleanai_onnx.lowering.arrays import Static

__all__ = ["Graph", "Node", "graph_from", "node_from", "node_proto"]


@dataclass(frozen=True, eq=False)
class Node:
    """One node.

    Attributes
    ----------
    op, domain
        The operator; the domain of ONNX's own operators is empty.
    name
        The node's name, which may be empty.
    inputs, outputs
        Names of tensors; an optional one that is left out is empty.
    attributes
        Integers, floats, strings, tuples of these, numpy arrays (tensors), `Graph` (subgraphs).
    opset
        The version of its domain that the model uses.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    opset: int = 1
    name: str = ""
    domain: str = ""

    @property
    def title(self) -> str:
        """How a message speaks of the node: its operator and its name, or its first output."""
        name = self.name or next((output for output in self.outputs if output), "")
        domain = f"{self.domain}." if self.domain else ""
        return f"{shown(domain + self.op)[1:-1]} node {shown(name)}"

    def refuse(self, what: str) -> NotSupportedError:
        """Return the error to raise where a form of the operator is not implemented."""
        return NotSupportedError(
            f"the {self.title} cannot be lowered to JAX: {what}; export the model in another way "
            "(docs/operators.md lists what is supported)."
        )


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order, as the body of a subgraph or of a function has them.

    `constants` are the stored tensors of the graph. Names that nothing here makes are those of the
    graph around it.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Static]


def graph_from(
    proto: onnx.GraphProto, opsets: Mapping[str, int], directory: Path | None = None
) -> Graph:
    """Read a graph; external data is looked for in `directory`."""
    constants = {tensor.name: array_from(tensor, directory) for tensor in proto.initializer}
    for sparse in proto.sparse_initializer:
        constants[sparse.values.name] = _dense(sparse, directory)
    return Graph(
        nodes=tuple(node_from(node, opsets, directory) for node in proto.node),
        inputs=tuple(value.name for value in proto.input),
        outputs=tuple(value.name for value in proto.output),
        constants=constants,
    )


def node_from(
    proto: onnx.NodeProto,
    opsets: Mapping[str, int],
    directory: Path | None = None,
    caller: Mapping[str, Any] | None = None,
) -> Node:
    """Read a node.

    Parameters
    ----------
    proto
        The node.
    opsets
        The version of each domain.
    directory
        Where external data lies.
    caller
        In the body of a function: the attributes of the node that calls it, to which attributes of
        the body may refer.
    """
    domain = _domain(proto.domain)
    attributes: dict[str, Any] = {}
    for item in proto.attribute:
        if item.ref_attr_name:
            if caller is not None and item.ref_attr_name in caller:
                attributes[item.name] = caller[item.ref_attr_name]
            continue
        attributes[item.name] = attribute_value(proto, item, opsets, directory)
    return Node(
        op=proto.op_type,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=MappingProxyType(attributes),
        opset=opsets.get(domain, 1),
        name=proto.name,
        domain=domain,
    )


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def attribute_value(
    node: onnx.NodeProto,
    item: AttributeProto,
    opsets: Mapping[str, int],
    directory: Path | None = None,
) -> Any:
    """Return an attribute as a Python value.

    Raises
    ------
    NotSupportedError
        If it is of a kind that no operator here takes.
    """
    if item.type == AttributeProto.FLOAT:
        return float(item.f)
    if item.type == AttributeProto.INT:
        return int(item.i)
    if item.type == AttributeProto.STRING:
        return item.s.decode("utf-8", "replace")
    if item.type == AttributeProto.TENSOR:
        return array_from(item.t, directory)
    if item.type == AttributeProto.GRAPH:
        return graph_from(item.g, opsets, directory)
    if item.type == AttributeProto.FLOATS:
        return tuple(float(value) for value in item.floats)
    if item.type == AttributeProto.INTS:
        return tuple(int(value) for value in item.ints)
    if item.type == AttributeProto.STRINGS:
        return tuple(value.decode("utf-8", "replace") for value in item.strings)
    if item.type == AttributeProto.SPARSE_TENSOR:
        return _dense(item.sparse_tensor, directory)
    kind = AttributeProto.AttributeType.Name(item.type).lower()
    raise NotSupportedError(
        f"the {shown(node.op_type)[1:-1]} node {shown(node.name)} cannot be lowered to JAX: its "
        f"attribute {shown(item.name)} is of the kind {kind}."
    )


def array_from(tensor: onnx.TensorProto, directory: Path | None) -> Static:
    """Return a stored tensor as an array; strings become an array of objects."""
    return np.asarray(numpy_helper.to_array(tensor, "" if directory is None else str(directory)))


def _dense(sparse: onnx.SparseTensorProto, directory: Path | None) -> Static:
    values = array_from(sparse.values, directory)
    indices = array_from(sparse.indices, directory)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense


def node_proto(node: Node, attributes: Sequence[str] | None = None) -> onnx.NodeProto:
    """Return a node as ONNX writes it (subgraphs left out), for questions to ONNX's schemas."""
    proto = onnx.helper.make_node(
        node.op, list(node.inputs), list(node.outputs), name=node.name, domain=node.domain
    )
    for name, value in node.attributes.items():
        if isinstance(value, Graph) or (attributes is not None and name not in attributes):
            continue
        if isinstance(value, np.ndarray):
            value = numpy_helper.from_array(value)
        elif isinstance(value, tuple):
            value = list(value)
            if not value:
                continue
        proto.attribute.append(onnx.helper.make_attribute(name, value))
    return proto
