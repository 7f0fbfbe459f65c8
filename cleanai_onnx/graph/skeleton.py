"""A model without its weights: what the checker and shape inference of onnx are given.

Both take a serialised model. Weights would be copied twice for nothing (and a model of more than
2 GB cannot be serialised at all), so large and external tensors are left out.
"""

from __future__ import annotations

import math
from typing import Any

import onnx
from onnx import TensorProto

from cleanai_onnx.graph.tensors import attribute_tensors, is_external
from cleanai_onnx.graph.topology import all_graphs

__all__ = ["is_repeated", "skeleton"]

_KEPT_BYTES = 1 << 15
"""Tensors up to this size stay: shapes, axes and other small constants steer shape inference."""
_MOST_PER_BYTE = 4
"""Elements of the smallest type, of two bits."""


def is_repeated(field: Any) -> bool:
    """Say whether a protobuf field holds several values; releases before 6 spell it differently."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)


def skeleton(proto: onnx.ModelProto, *, keep_dims: bool) -> onnx.ModelProto:
    """Return a copy of a model in which large tensors have no data.

    Parameters
    ----------
    proto
        The model; it is not changed.
    keep_dims
        Whether tensors without data keep their sizes (shape inference needs them) or become empty
        (the checker wants as much data as the dims promise).
    """
    copy = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name == "graph":
            continue
        if is_repeated(field):
            getattr(copy, field.name).extend(value)
        else:
            setattr(copy, field.name, value)
    for field, value in proto.graph.ListFields():
        if field.name == "initializer":
            for tensor in value:
                kept = copy.graph.initializer.add()
                if _is_large(tensor, checked=keep_dims):
                    kept.name = tensor.name
                    kept.data_type = tensor.data_type
                    kept.dims.extend(tensor.dims)
                    _hollow(kept, keep_dims=keep_dims)
                else:
                    kept.CopyFrom(tensor)
        elif is_repeated(field):
            getattr(copy.graph, field.name).extend(value)
        else:
            setattr(copy.graph, field.name, value)
    for graph in all_graphs(copy.graph):
        for tensor in graph.initializer:
            _hollow_if_large(tensor, keep_dims=keep_dims)
        for node in graph.node:
            for tensor in attribute_tensors(node):
                _hollow_if_large(tensor, keep_dims=keep_dims)
    return copy


def _is_large(tensor: TensorProto, *, checked: bool) -> bool:
    """Say whether a tensor is left out; a `checked` one has as much data as its dims promise.

    The number of its elements is known at once, while measuring it reads all of it.
    """
    most = _KEPT_BYTES * _MOST_PER_BYTE
    return (
        is_external(tensor)
        or (checked and math.prod(tensor.dims) > most)
        or tensor.ByteSize() > _KEPT_BYTES
    )


def _hollow_if_large(tensor: TensorProto, *, keep_dims: bool) -> None:
    if _is_large(tensor, checked=keep_dims):
        _hollow(tensor, keep_dims=keep_dims)


def _hollow(tensor: TensorProto, *, keep_dims: bool) -> None:
    for field in (
        "raw_data",
        "float_data",
        "double_data",
        "int32_data",
        "int64_data",
        "uint64_data",
        "string_data",
        "external_data",
        "data_location",
    ):
        tensor.ClearField(field)
    if not keep_dims:
        del tensor.dims[:]
        tensor.dims.append(0)
