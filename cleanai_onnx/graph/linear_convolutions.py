"""A model whose convolutions have no ReLU: what the authors of DeepImportance propagate through."""

from __future__ import annotations

from dataclasses import replace

import onnx

from cleanai_onnx.graph.loading import Model

__all__ = ["without_convolution_relus"]


def without_convolution_relus(model: Model) -> Model:
    """Return the model without the ReLUs that directly follow a convolution.

    A convolution's output takes the name of the ReLU's, so that layers are called as before. Where
    it is an output of the graph itself, it keeps its name, and an Identity is in the ReLU's place.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    graph = proto.graph
    convolutions = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    gone = []
    for node in graph.node:
        if node.op_type != "Relu" or node.input[0] not in convolutions:
            continue
        if node.input[0] in outputs or node.input[0] in renamed:
            node.op_type = "Identity"
        else:
            renamed[node.input[0]] = node.output[0]
            gone.append(node)
    for node in gone:
        graph.node.remove(node)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    return replace(model, proto=proto, data=None)
