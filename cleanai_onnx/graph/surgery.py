"""The tapped model: the same model with its taps as further outputs."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.taps import TapPoint, Taps

__all__ = ["tapped_bytes", "tapped_proto", "with_addition"]


def tapped_proto(model: Model, taps: Taps) -> onnx.ModelProto:
    """Return a copy of the model whose outputs are the original ones followed by the taps.

    Every tap is a float32 output with the name that `Taps.tensors` gives it; one that is an output
    already is not declared twice. Values that are not float32 pass a Cast, quantised ones a
    DequantizeLinear of their own, both at the end of the graph. An output whose rank is not known
    is declared without a shape: runtimes accept that, onnx's checker does after
    `Taps.with_shapes`. External data stays in its files.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    proto.MergeFrom(_addition(model, taps))
    return proto


def tapped_bytes(model: Model, taps: Taps) -> bytes:
    """Return the serialised `tapped_proto`."""
    return with_addition(model, _addition(model, taps))


def with_addition(model: Model, addition: onnx.ModelProto) -> bytes:
    """Return a model, serialised, with what is merged into it.

    Bytes put after one another are messages merged, in every implementation of protobuf: what is
    new goes behind the model's own bytes. Where those are kept (`Model.data`), the weights are not
    serialised again.
    """
    data = model.data
    return b"".join(
        (model.proto.SerializeToString() if data is None else data, addition.SerializeToString())
    )


def _addition(model: Model, taps: Taps) -> onnx.ModelProto:
    """Return what is merged into a model to tap it: further nodes and outputs."""
    addition = onnx.ModelProto()
    graph = addition.graph
    declared = {value.name for value in model.proto.graph.output}
    for point in taps.points:
        graph.node.extend(_nodes(point))
        if point.output not in declared:
            graph.output.append(_declaration(point))
            declared.add(point.output)
    return addition


def _nodes(point: TapPoint) -> list[onnx.NodeProto]:
    nodes = []
    if point.dequantize is not None:
        step = point.dequantize
        value = point.output if point.cast is None else point.cast
        inputs = [step.quantised, step.scale, *([step.zero_point] if step.zero_point else [])]
        node = helper.make_node("DequantizeLinear", inputs, [value], name=value, domain=step.domain)
        node.attribute.extend(onnx.AttributeProto.FromString(item) for item in step.attributes)
        nodes.append(node)
    if point.cast is not None:
        nodes.append(
            helper.make_node(
                "Cast", [point.cast], [point.output], name=point.output, to=TensorProto.FLOAT
            )
        )
    return nodes


def _declaration(point: TapPoint) -> onnx.ValueInfoProto:
    shape = None if point.rank is None else [None] * point.rank
    return helper.make_tensor_value_info(point.output, TensorProto.FLOAT, shape)
