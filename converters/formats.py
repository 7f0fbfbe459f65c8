"""What a model file is, by its content; nothing in it is executed.

PyTorch writes four kinds of files under the same suffixes, so the suffix says little.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from cleanai_onnx.converters.isolation import one_line
from cleanai_onnx.errors import ModelError

__all__ = ["TORCH_FORMATS", "TorchFormat", "framework_of", "torch_format"]

TorchFormat = Literal["exported", "torchscript", "checkpoint", "safetensors"]

TORCH_FORMATS: dict[TorchFormat, str] = {
    "exported": "PyTorch exported program",
    "torchscript": "TorchScript program",
    "checkpoint": "PyTorch checkpoint",
    "safetensors": "safetensors state dict",
}
"""The formats of PyTorch in words."""

_KERAS_SUFFIXES = frozenset({".keras", ".h5", ".hdf5", ".json"})
_TORCH_SUFFIXES = frozenset({".pt", ".pth", ".pt2", ".ckpt", ".bin", ".safetensors", ".ts", ".pkl"})
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"


def framework_of(path: Path) -> Literal["pytorch", "keras"]:
    """Say which converter a source is for.

    Raises
    ------
    ModelError
        If it is missing or neither.
    """
    name = one_line(path.name, 100)
    if path.is_dir():
        if (path / "saved_model.pb").is_file() or (path / "config.json").is_file():
            return "keras"
        raise ModelError(f"{name} is a folder, but not a SavedModel of TensorFlow or Keras.")
    start = _start(path)
    if start.startswith(_HDF5):
        return "keras"
    if start.startswith(_ZIP):
        names = _members(path)
        if "config.json" in names and "metadata.json" in names:
            return "keras"
        return "pytorch"
    if start.startswith(_PICKLE) or _is_safetensors(start):
        return "pytorch"
    suffix = path.suffix.lower()
    if suffix in _KERAS_SUFFIXES:
        return "keras"
    if suffix in _TORCH_SUFFIXES:
        return "pytorch"
    if suffix == ".onnx":
        raise ModelError(f"{name} is an ONNX model already: give it to cleanai-onnx directly.")
    raise ModelError(
        f"{name} is no model that can be converted: give a file of PyTorch (.pt, .pth, .pt2, "
        ".safetensors) or Keras (.keras, .h5, .json, a SavedModel folder)."
    )


def torch_format(path: Path) -> TorchFormat:
    """Return which kind of PyTorch file this is.

    Raises
    ------
    ModelError
        If it is none, or truncated.
    """
    start = _start(path)
    name = one_line(path.name, 100)
    if not start:
        raise ModelError(f"{name} is empty: save or copy the model again.")
    if start.startswith(_ZIP):
        inner = {member.partition("/")[2] for member in _members(path)} | set(_members(path))
        if "archive_format" in inner or "serialized_exported_program.json" in inner:
            return "exported"
        if "constants.pkl" in inner and any(member.startswith("code/") for member in inner):
            return "torchscript"
        if "data.pkl" in inner:
            return "checkpoint"
        raise ModelError(f"{name} is a ZIP archive, but not one that PyTorch wrote.")
    if start.startswith(_PICKLE):
        return "checkpoint"  # of PyTorch before 1.6
    if _is_safetensors(start):
        return "safetensors"
    raise ModelError(f"{name} is not a file of PyTorch, or it is damaged: save or copy it again.")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except FileNotFoundError:
        raise ModelError(f"there is no file {one_line(str(path), 200)}: check the path.") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{one_line(str(path), 200)} cannot be read: {error}.") from error


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ModelError(
            f"{one_line(path.name, 100)} is truncated or damaged: save or copy it again."
        ) from error


def _is_safetensors(start: bytes) -> bool:
    return len(start) > 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32
