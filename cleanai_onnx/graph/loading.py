"""From a file (or bytes) to a `Model` that is checked and safe to give to a runtime."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError, Message  # type: ignore[import-untyped]

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.external import external_files
from cleanai_onnx.graph.names import shown
from cleanai_onnx.graph.skeleton import is_repeated
from cleanai_onnx.graph.tensors import dtype_name
from cleanai_onnx.graph.validity import (
    check_structure,
    check_with_onnx,
    inline_functions,
    sort,
)
from cleanai_onnx.result import TensorFacts

__all__ = ["Model", "load_model", "tensor_facts"]

_MOST_BYTES = (1 << 31) - 1
"""Protobuf's limit; larger models keep their weights in external data."""

_CHUNK = 1 << 20

_OTHER_FORMATS = (
    (b"PK\x03\x04", "a ZIP archive (PyTorch .pt or Keras .keras?)"),
    (b"\x89HDF", "an HDF5 file (Keras .h5?)"),
    (b"\x80", "a Python pickle (PyTorch .pth?)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"ORTM", "an .ort file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer (run 'git lfs pull')"),
)


@dataclass(frozen=True)
class Model:
    """A checked model.

    Attributes
    ----------
    proto
        The model, with its own functions unfolded and its nodes in topological order. External
        data is not loaded into it. Not to be changed.
    directory
        The folder of the model file, where a runtime finds external data; None if the model was
        given as bytes or a proto.
    name
        The file's name without its suffix, else the graph's name.
    file
        The path as it was given, or ``"in memory"``.
    sha256
        Of the bytes of the model file, in hexadecimal. If the model has external data: of these
        bytes followed, for each data file in the order of their names, by the resolved file's name
        in UTF-8, a zero byte, its size as 8 little-endian bytes, and its bytes.
    size_bytes
        Size of the model file and its external data.
    inputs, outputs
        What the graph takes and gives; weights that are listed as inputs (IR version 3) are not
        among the inputs.
    data_files
        Names of the files with its external data.
    data
        The bytes that `proto` was read from; None where it differs from them, or nobody asked for
        them to be kept.
    """

    proto: onnx.ModelProto
    directory: Path | None
    name: str
    file: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    data_files: tuple[str, ...] = ()
    data: bytes | None = field(default=None, repr=False)

    @property
    def metadata(self) -> dict[str, str]:
        """The model's own metadata (``metadata_props``)."""
        return {entry.key: entry.value for entry in self.proto.metadata_props}


def load_model(source: str | Path | bytes | onnx.ModelProto, *, keep_data: bool = False) -> Model:
    """Load and check a model; nothing in the file is executed, external data stays in its files.

    Parameters
    ----------
    source
        The path of an ONNX file, the bytes of one, or a model in memory (it is copied).
    keep_data
        Whether `Model.data` is kept, so that the model need not be serialised to be run.

    Raises
    ------
    ModelError
        If there is no such file, or it is not a valid ONNX model that can be run: see
        `cleanai_onnx.graph.validity` and `cleanai_onnx.graph.external`.
    """
    directory: Path | None = None
    if isinstance(source, onnx.ModelProto):
        file, data = "in memory", _serialised(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        file, data = "in memory", bytes(source)
    else:
        path = Path(source)
        file, data = str(source), _read(path)
        directory = path.parent
    try:
        model = _checked(data, file, directory)
    except ModelError as error:
        sentence = f"{shown_file(file)}: {error}"
        raise ModelError(sentence, slug=error.slug) from error.__cause__
    return model if keep_data else replace(model, data=None)


def shown_file(file: str) -> str:
    """Return a model's file as messages speak of it."""
    return "the model in memory" if file == "in memory" else shown(file)


def _checked(data: bytes, file: str, directory: Path | None) -> Model:
    proto = _parsed(data)
    check_structure(proto)
    as_read = not proto.functions
    proto = inline_functions(proto)
    check_structure(proto)
    as_read &= not sort(proto.graph)
    files = external_files(proto, directory)
    check_with_onnx(proto)
    digest, size = _digest(data, files)
    stored = {tensor.name for tensor in proto.graph.initializer}
    stored |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    name = proto.graph.name if directory is None else Path(file).stem
    return Model(
        proto=proto,
        directory=directory,
        name=name or "model",
        file=file,
        sha256=digest,
        size_bytes=size,
        inputs=tuple(tensor_facts(v) for v in proto.graph.input if v.name not in stored),
        outputs=tuple(tensor_facts(value) for value in proto.graph.output),
        data_files=tuple(path.name for path in files),
        data=data if as_read else None,
    )


def tensor_facts(value: onnx.ValueInfoProto) -> TensorFacts:
    """Return name, element type and shape of a graph's input or output.

    Sizes that are symbolic, missing, 0 or negative (such as -1) are strings: the symbol or ``"?"``.
    A tensor without a shape has the shape ``("…",)``.
    """
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return TensorFacts(value.name, (kind or "unknown").removesuffix("_type"), ("…",))
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return TensorFacts(value.name, dtype_name(tensor.elem_type), ("…",))
    shape = tuple(
        size.dim_value if size.dim_value > 0 else size.dim_param or "?" for size in tensor.shape.dim
    )
    return TensorFacts(value.name, dtype_name(tensor.elem_type), shape)


def _read(path: Path) -> bytes:
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            raise ModelError(f"{shown(str(path))} is a folder: give the path of an .onnx file.")
        if not stat.S_ISREG(facts.st_mode):
            raise ModelError(f"{shown(str(path))} is not a file: give the path of an .onnx file.")
        if facts.st_size > _MOST_BYTES:
            raise ModelError(
                f"{shown(str(path))} is larger than 2 GB, which an ONNX file cannot be: save the "
                "model with its weights as external data."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"there is no model file {shown(str(path))}: check the path.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"the model file {shown(str(path))} cannot be read: {reason}.") from error


def _serialised(proto: onnx.ModelProto) -> bytes:
    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise ModelError(
            "the model in memory is larger than 2 GB: save it with its weights as external data "
            "and give the path of the file."
        ) from error


def _parsed(data: bytes) -> onnx.ModelProto:
    if not data:
        raise ModelError("the file is empty: export or copy the model again.")
    for magic, what in _OTHER_FORMATS:
        if data.startswith(magic):
            raise ModelError(
                f"this is not an ONNX file but {what}: export the model to ONNX first."
            )
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        # A model begins with field 1 (ir_version), or one of the few others that come first.
        if data[0] in b"\x08\x12\x1a\x42":
            raise ModelError(
                "the file is truncated or damaged: export or copy the model again."
            ) from error
        raise ModelError("this is not an ONNX file: give a model exported to ONNX.") from error
    _check_text(proto)
    if not proto.HasField("graph"):
        if proto.ir_version or proto.producer_name or proto.opset_import:
            raise ModelError("the file has no graph, it is empty or truncated: export it again.")
        raise ModelError("this is not an ONNX file: give a model exported to ONNX.")
    return proto


def _check_text(message: Message) -> None:
    """Refuse strings that are not UTF-8, which protobuf hands out as bytes."""
    waiting = [message]
    while waiting:
        for kind, value in waiting.pop().ListFields():
            if kind.type not in (kind.TYPE_STRING, kind.TYPE_MESSAGE):
                continue
            values = value if is_repeated(kind) else (value,)
            if kind.type == kind.TYPE_MESSAGE:
                waiting.extend(values)
            elif not all(isinstance(text, str) for text in values):
                raise ModelError(
                    f"a text in the file (a {kind.name} of a {kind.containing_type.name}) is not "
                    "UTF-8, the file is damaged: export or copy the model again."
                )


def _digest(data: bytes, files: tuple[Path, ...]) -> tuple[str, int]:
    digest, size = hashlib.sha256(data), len(data)
    for path in files:
        length = path.stat().st_size
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(length.to_bytes(8, "little"))
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        size += length
    return digest.hexdigest(), size
