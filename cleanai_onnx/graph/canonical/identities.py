"""Remove nodes that hand on their input: Identity, Dropout in inference, Cast to the same type."""

from __future__ import annotations

import onnx

from cleanai_onnx.graph.canonical.editing import Edited, is_standard
from cleanai_onnx.graph.canonical.passes import CanonicalPass
from cleanai_onnx.graph.topology import attribute

__all__ = ["REMOVE_IDENTITIES", "remove_identities"]

# Operators that give the type of their first input.
_KEEPS_TYPE = frozenset(
    {"Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "Div",
     "Dropout", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "MatMul", "MaxPool",
     "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Split",
     "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"}
)  # fmt: skip


def remove_identities(proto: onnx.ModelProto) -> bool:
    """Let the readers of a copy read the original; outputs of the graph keep their node."""
    edited = Edited(proto)
    types = _types(edited)
    for index, node in edited.nodes("Identity", "Dropout", "Cast"):
        if not node.input or not _hands_on(node, types, edited):
            continue
        source, copy = node.input[0], node.output[0]
        if copy in edited.topology.outputs or any(
            name in edited.topology.readers or name in edited.topology.outputs
            for name in node.output[1:]
        ):
            continue
        readers = [edited.graph.node[i] for i in edited.topology.readers.get(copy, ())]
        if any(copy not in reader.input for reader in readers):
            continue  # a subgraph reads it by name
        edited.rename_reads(copy, source)
        edited.remove(index)
    return edited.finish()


def _hands_on(node: onnx.NodeProto, types: dict[str, int], edited: Edited) -> bool:
    if is_standard(node, "Identity"):
        return True
    if is_standard(node, "Cast"):
        to = attribute(node, "to")
        return to is not None and types.get(node.input[0]) == to.i
    if len(node.input) < 3 or not node.input[2]:
        return True
    training = edited.array(node.input[2])
    return training is not None and not bool(training.reshape(()))


def _types(edited: Edited) -> dict[str, int]:
    """Return the element types that follow from inputs, stored tensors and casts."""
    graph = edited.graph
    types = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info)
    }
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        to = attribute(node, "to")
        if is_standard(node, "Cast") and to is not None:
            types[node.output[0]] = to.i
        elif is_standard(node, *_KEEPS_TYPE) and node.input and node.input[0] in types:
            for name in node.output[:1] if not is_standard(node, "Split") else node.output:
                types[name] = types[node.input[0]]
    return types


REMOVE_IDENTITIES = CanonicalPass(
    name="remove identities",
    requires="nothing",
    ensures="no Identity, no Dropout in inference and no Cast to the type at hand, except before "
    "an output of the graph or a subgraph",
    apply=remove_identities,
)
