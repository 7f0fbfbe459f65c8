"""Real numbers of few bits as real numbers of more: weights, constants, casts and declared types.

Relevance divides by sums that may be small, which float16 does not bear: a model of float16 is
explained as the same model in float32. In double precision, weights are widened before other passes
fold them, so that those round to double precision too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.canonical.editing import is_standard
from cleanai_onnx.graph.canonical.passes import CanonicalPass
from cleanai_onnx.graph.canonical.weights import with_weights
from cleanai_onnx.graph.loading import Model, tensor_facts
from cleanai_onnx.graph.tensors import attribute_tensors
from cleanai_onnx.graph.topology import all_graphs

__all__ = ["WIDEN_FLOATS", "WIDEN_HALVES", "without_halves"]

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_TYPE_ATTRIBUTES = frozenset({"dtype", "output_dtype", "stash_type", "to"})
_MOST_BYTES = (1 << 31) - 1


def without_halves(model: Model) -> Model:
    """Return a model with float16 and bfloat16 widened to float32; the same if it has none.

    Raises
    ------
    ModelError
        If the weights beside the model cannot be read, or are too large in float32.
    """
    if not _has_type(model.proto, HALVES):
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(with_weights(model))
    WIDEN_HALVES.apply(proto)
    if proto.ByteSize() > _MOST_BYTES:
        raise ModelError(
            "the model computes in float16 and takes more than 2 GB in float32, in which relevance "
            "is computed: explain a model that is exported in float32."
        )
    stored = {tensor.name for tensor in proto.graph.initializer}
    return replace(
        model,
        proto=proto,
        inputs=tuple(tensor_facts(v) for v in proto.graph.input if v.name not in stored),
        outputs=tuple(tensor_facts(value) for value in proto.graph.output),
        data=None,
    )


def _widen(proto: onnx.ModelProto, narrow: frozenset[int], wide: int) -> bool:
    """Change every element type in `narrow` to `wide`."""
    if not _has_type(proto, narrow):
        return False
    dtype = helper.tensor_dtype_to_np_dtype(wide)
    for graph in all_graphs(proto.graph):
        for tensor in _tensors(graph):
            if tensor.data_type in narrow:
                array = np.asarray(numpy_helper.to_array(tensor)).astype(dtype)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for value in _values(graph):
            if value.type.tensor_type.elem_type in narrow:
                value.type.tensor_type.elem_type = wide
        for item in _type_attributes(graph):
            if item.i in narrow:
                item.i = wide
        if TensorProto.FLOAT in narrow:
            for item in _float_constants(graph):
                array = np.asarray(helper.get_attribute_value(item), dtype)
                item.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(array)))
    return True


def _has_type(proto: onnx.ModelProto, types: frozenset[int]) -> bool:
    """Say whether a model stores, declares or casts to a tensor of one of these element types."""
    return any(
        any(tensor.data_type in types for tensor in _tensors(graph))
        or any(value.type.tensor_type.elem_type in types for value in _values(graph))
        or any(item.i in types for item in _type_attributes(graph))
        or (TensorProto.FLOAT in types and any(True for _ in _float_constants(graph)))
        for graph in all_graphs(proto.graph)
    )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        yield from attribute_tensors(node)


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.HasField("tensor_type"):
            yield value


def _type_attributes(graph: onnx.GraphProto) -> Iterator[AttributeProto]:
    for node in graph.node:
        for item in node.attribute:
            if item.name in _TYPE_ATTRIBUTES and item.type == AttributeProto.INT:
                yield item


def _float_constants(graph: onnx.GraphProto) -> Iterator[AttributeProto]:
    """Yield what Constant nodes hold that is float32 without saying so."""
    for node in graph.node:
        if is_standard(node, "Constant"):
            yield from (item for item in node.attribute if item.name.startswith("value_float"))


WIDEN_HALVES = CanonicalPass(
    name="widen half precision to float32",
    requires="stored tensors are loaded",
    ensures="no tensor is stored in, declared as or cast to float16 or bfloat16",
    apply=partial(_widen, narrow=HALVES, wide=TensorProto.FLOAT),
)

WIDEN_FLOATS = CanonicalPass(
    name="widen float32 to float64",
    requires="stored tensors are loaded; nobody runs the model who wants float32 at some operand, "
    "as onnxruntime does",
    ensures="no tensor is stored in, declared as or cast to float32",
    apply=partial(_widen, narrow=frozenset({TensorProto.FLOAT}), wide=TensorProto.DOUBLE),
)
