"""Stored tensors: how many bytes they promise, how many they have, small ones as arrays.

Nothing here reads external data: weights that live in files beside the model stay there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.names import shown

__all__ = [
    "DTYPE_NAMES",
    "QUANTISED_TYPES",
    "REAL_TYPES",
    "attribute_tensors",
    "check_tensor",
    "dtype_name",
    "is_external",
    "small_array",
    "stored_bytes",
    "tensor_bytes",
]

SMALL = 4096
"""Constants of at most this many elements are looked into."""

REAL_TYPES: frozenset[int] = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
)
"""Element types that an activation can have and that a Cast turns into float32."""

_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.COMPLEX64: 64,
    TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16,
    TensorProto.STRING: 128,
}
# Types that newer releases of onnx added; older ones do not know their names.
for _name, _bits in (
    ("FLOAT8E4M3FN", 8),
    ("FLOAT8E4M3FNUZ", 8),
    ("FLOAT8E5M2", 8),
    ("FLOAT8E5M2FNUZ", 8),
    ("FLOAT8E8M0", 8),
    ("UINT4", 4),
    ("INT4", 4),
    ("FLOAT4E2M1", 4),
    ("UINT2", 2),
    ("INT2", 2),
):
    if hasattr(TensorProto, _name):
        _BITS[getattr(TensorProto, _name)] = _bits

DTYPE_NAMES: dict[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.UINT16: "uint16",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
}
"""Element types that numpy has, by the name that numpy gives them."""

QUANTISED_TYPES: frozenset[int] = frozenset(
    number
    for number in _BITS
    if TensorProto.DataType.Name(number).startswith(("INT", "UINT", "FLOAT8", "FLOAT4"))
    and number not in (TensorProto.INT64, TensorProto.UINT64, TensorProto.UINT32)
)
"""Element types that quantised weights and biases are stored in."""

# Where the numbers stand when they are not in raw_data, and how many 32- or 64-bit entries
# one element takes there.
_TYPED_FIELDS: dict[int, tuple[str, float]] = {
    TensorProto.FLOAT: ("float_data", 1.0),
    TensorProto.COMPLEX64: ("float_data", 2.0),
    TensorProto.DOUBLE: ("double_data", 1.0),
    TensorProto.COMPLEX128: ("double_data", 2.0),
    TensorProto.INT64: ("int64_data", 1.0),
    TensorProto.UINT64: ("uint64_data", 1.0),
    TensorProto.UINT32: ("uint64_data", 1.0),
    TensorProto.STRING: ("string_data", 1.0),
}


def dtype_name(element_type: int) -> str:
    """Return the name of an element type, numpy's where numpy has it."""
    if element_type in DTYPE_NAMES:
        return DTYPE_NAMES[element_type]
    try:
        return str(TensorProto.DataType.Name(element_type)).lower()
    except ValueError:
        return f"type {element_type}"


def tensor_bytes(element_type: int, dims: tuple[int, ...] | list[int]) -> int:
    """Return how many bytes a tensor of this type and shape takes; types unknown count 8 bytes."""
    return -(-math.prod(dims) * _BITS.get(element_type, 64) // 8)


def is_external(tensor: TensorProto) -> bool:
    """Say whether the numbers of a tensor live in a file beside the model."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def stored_bytes(tensor: TensorProto) -> int:
    """Return how many bytes the dims of a stored tensor promise."""
    return tensor_bytes(tensor.data_type, list(tensor.dims))


def check_tensor(tensor: TensorProto, where: str) -> None:
    """Refuse a stored tensor whose type, dims and data do not fit together.

    Raises
    ------
    ModelError
        If the type is unknown, a size is negative, or the dims promise another number of bytes
        than the file has: a short file must not make anyone allocate what it does not hold.
    """
    title = f"{where} {shown(tensor.name)}"
    if tensor.data_type not in _BITS:
        raise ModelError(
            f"{title} has an element type ({dtype_name(tensor.data_type)}) that is not known: "
            "update onnx, or export the model again."
        )
    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"{title} has a negative size: export the model again.")
    if is_external(tensor):
        return
    elements = math.prod(tensor.dims)
    promised = stored_bytes(tensor)
    if tensor.raw_data:
        held, wanted, unit = len(tensor.raw_data), promised, "bytes"
    else:
        field, entries = _TYPED_FIELDS.get(tensor.data_type, ("int32_data", 1.0))
        if field == "int32_data" and _BITS[tensor.data_type] < 8:
            entries = _BITS[tensor.data_type] / 8
        held, wanted, unit = len(getattr(tensor, field)), math.ceil(elements * entries), "entries"
    if held != wanted:
        raise ModelError(
            f"{title} promises {wanted:,} {unit} of data but the file holds {held:,}: "
            "the file is damaged or was made to mislead, export the model again."
        )


def small_array(tensor: TensorProto) -> npt.NDArray[np.generic] | None:
    """Return a stored tensor of at most `SMALL` elements as an array, else None."""
    if is_external(tensor) or math.prod(tensor.dims) > SMALL:
        return None
    if tensor.data_type == TensorProto.STRING:
        return None
    array: npt.NDArray[np.generic] = onnx.numpy_helper.to_array(tensor)
    return array


def attribute_tensors(node: onnx.NodeProto) -> Iterator[TensorProto]:
    """Yield every tensor that stands in the attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for tensor in (*sparse, *attribute.sparse_tensors):
            yield tensor.values
            yield tensor.indices
