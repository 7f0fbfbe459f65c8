"""The model with tensors of one's choice as further outputs, images with their channels last.

A runtime that keeps convolutions in a layout of its own turns its tensors into the layout that is
asked for, so that channels last cost it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto, helper

from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.names import fresh_name
from cleanai_onnx.graph.surgery import with_addition

__all__ = ["computes_in_double", "exposed_bytes"]


def computes_in_double(model: Model) -> bool:
    """Say whether a model has weights in float64, so that its tensors are no float32 outputs."""
    return any(t.data_type == TensorProto.DOUBLE and t.dims for t in model.proto.graph.initializer)


def exposed_bytes(model: Model, ranks: Mapping[str, int]) -> tuple[bytes, tuple[str, ...]]:
    """Return the model with tensors of float32 among its outputs, serialised.

    Parameters
    ----------
    model
        The model. External data stays in its files.
    ranks
        Tensors of the main graph with their numbers of axes. Those with four or five axes become
        outputs with the second axis moved to the end.

    Returns
    -------
    data : bytes
    outputs : tuple of str
        The name of each tensor's output.
    """
    graph = model.proto.graph
    addition = onnx.ModelProto()
    taken = {value.name for value in (*graph.input, *graph.output)}
    taken |= {name for node in graph.node for name in node.output}
    declared = {value.name for value in graph.output}
    outputs = []
    for tensor, rank in ranks.items():
        name = tensor
        if rank in (4, 5):
            name = fresh_name(f"{tensor}_channels_last", taken)
            order = [0, *range(2, rank), 1]
            addition.graph.node.append(
                helper.make_node("Transpose", [tensor], [name], name=name, perm=order)
            )
            taken.add(name)
        if name not in declared:
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
            addition.graph.output.append(value)
            declared.add(name)
        outputs.append(name)
    return with_addition(model, addition), tuple(outputs)
