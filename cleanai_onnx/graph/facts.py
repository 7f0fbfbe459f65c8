"""What the report says of a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import onnx

from cleanai_onnx.converters import conversion
from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.taps import Taps
from cleanai_onnx.graph.tensors import QUANTISED_TYPES, REAL_TYPES
from cleanai_onnx.graph.topology import all_graphs
from cleanai_onnx.result import ModelFacts

__all__ = ["count_parameters", "model_facts"]

# Inputs by position that hold no weights, though they may be stored tensors.
_NOT_WEIGHTS: dict[str, frozenset[int]] = {
    "BatchNormalization": frozenset({3, 4}),
    "Clip": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "Pad": frozenset({1, 2, 3}),
    "QLinearAdd": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QGemm": frozenset({1, 2, 4, 5, 7, 8}),
    "QuantizeLinear": frozenset({1, 2}),
    "Range": frozenset({0, 1, 2}),
    "Resize": frozenset({1, 2, 3}),
    "Upsample": frozenset({1}),
}
_QUANTISED_READERS = {
    "ConvInteger": (0, 1),
    "DequantizeLinear": (0,),
    "MatMulInteger": (0, 1),
    "QGemm": (0, 3, 6),
    "QLinearAdd": (0, 3),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
}
"""Readers whose integer inputs (by position) are weights."""

_LAYERS = frozenset(
    {"Add", "BatchNormalization", "Conv", "ConvTranspose", "FusedConv", "FusedGemm", "Gemm",
     "GroupNormalization", "InstanceNormalization", "LayerNormalization", "MatMul", "PRelu"}
)  # fmt: skip
"""Operators whose inputs with a single number are weights (a bias of one); elsewhere that is a
constant of a formula."""


def count_parameters(proto: onnx.ModelProto) -> int:
    """Return the number of weights of a model.

    Counted are the elements of stored tensors (initializers and Constant nodes, once each) that a
    node reads as numbers to compute with: floating-point tensors, and integer ones where quantised
    weights or biases are read. Not counted are scalars and other constants of formulas, running
    means and variances of batch normalisation (they are not trained), quantisation scales and zero
    points, bounds, shapes and axes. Batch normalisation that an exporter folded is gone and no
    longer counted.
    """
    return sum(_parameters(graph) for graph in all_graphs(proto.graph))


def _parameters(graph: onnx.GraphProto) -> int:
    readers: dict[str, list[tuple[str, int]]] = {}
    for nested in all_graphs(graph):
        for node in nested.node:
            for position, name in enumerate(node.input):
                readers.setdefault(name, []).append((node.op_type, position))
    return sum(
        math.prod(tensor.dims)
        for name, tensor in _stored(graph)
        if any(_is_weight(tensor, op, position) for op, position in readers.get(name, ()))
    )


def _stored(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            for item in node.attribute:
                if item.HasField("t"):
                    yield node.output[0], item.t


def _is_weight(tensor: onnx.TensorProto, op: str, position: int) -> bool:
    if tensor.data_type in REAL_TYPES:
        if position in _NOT_WEIGHTS.get(op, ()):
            return False
        return len(tensor.dims) > 0 and (math.prod(tensor.dims) > 1 or op in _LAYERS)
    return tensor.data_type in QUANTISED_TYPES and position in _QUANTISED_READERS.get(op, ())


def model_facts(model: Model, taps: Taps) -> ModelFacts:
    """Return name, producer, versions, hash, parameters, operators, inputs and outputs.

    `operators` counts the nodes of each operator, those of subgraphs included.
    """
    proto = model.proto
    operators = Counter(node.op_type for graph in all_graphs(proto.graph) for node in graph.node)
    claim, remark = conversion.claim(model.metadata)
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    return ModelFacts(
        name=model.name,
        file=model.file,
        sha256=model.sha256,
        size_bytes=model.size_bytes,
        producer=producer,
        ir_version=proto.ir_version,
        opsets={entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
        parameters=count_parameters(proto),
        operators=dict(sorted(operators.items())),
        inputs=model.inputs,
        outputs=model.outputs,
        untapped=taps.untapped,
        conversion=claim,
        conversion_remark=remark,
        data_files=model.data_files,
    )
