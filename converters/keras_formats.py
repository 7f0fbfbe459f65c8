"""Which of Keras's file formats a file is, by its content and not by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.inputs.naming import shown

__all__ = ["FORMATS", "Format", "format_of", "read_json", "weights_beside"]

Format = Literal["keras", "hdf5", "saved-model", "json"]

FORMATS: dict[Format, str] = {
    "keras": "Keras file",
    "hdf5": "Keras HDF5 file",
    "saved-model": "TensorFlow SavedModel",
    "json": "Keras JSON with weights",
}

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_JSON_BYTES = 1 << 26
"""The architecture of the largest models is a few megabytes."""


def format_of(path: Path) -> Format:
    """Return the format of a file or folder.

    Raises
    ------
    UsageError
        If it does not exist.
    ModelError
        If it is none of Keras's formats.
    """
    name = shown(path.name, 80)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved-model"
        raise ModelError(
            f"'{name}' is a folder without a saved_model.pb, so it is no SavedModel: give the "
            ".keras or .h5 file, or the folder that holds saved_model.pb."
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else "is not readable"
        raise UsageError(f"'{name}' cannot be converted: it {why}.") from None
    if head.startswith(b"PK\x03\x04"):
        return "keras"
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b'"')):
        return "json"
    if not head:
        raise ModelError(f"'{name}' is empty.")
    raise ModelError(
        f"'{name}' is no Keras model: it is neither a .keras file (zip), nor HDF5, nor JSON, nor "
        "a SavedModel folder."
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the architecture in a JSON file, as ``model.to_json()`` of any Keras wrote it.

    Raises
    ------
    ModelError
        If it is not one.
    """
    name = shown(path.name, 80)
    with path.open("rb") as stream:
        content = stream.read(MOST_JSON_BYTES + 1)
    if len(content) > MOST_JSON_BYTES:
        raise ModelError(f"'{name}' is larger than 64 MiB: it is no Keras architecture.")
    return parse_architecture(content, f"'{name}'")


def parse_architecture(content: bytes | str, where: str) -> dict[str, Any]:
    """Return the architecture that JSON text holds.

    Raises
    ------
    ModelError
        If it is not one.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        tree = json.loads(text)
        # json.dump(model.to_json(), file) is a common mistake: JSON inside a JSON string.
        tree = json.loads(tree) if isinstance(tree, str) else tree
    except (ValueError, RecursionError):
        raise ModelError(f"{where} holds an architecture that is not valid JSON.") from None
    if not isinstance(tree, dict) or "class_name" not in tree or "config" not in tree:
        raise ModelError(
            f"{where} is not the architecture of a Keras model (no class_name and config): write "
            "it with model.to_json()."
        )
    return tree


def weights_beside(path: Path) -> Path:
    """Return the one file of weights that belongs to ``model.json`` by its name.

    Raises
    ------
    UsageError
        If there is none, or more than one; then ``--weights`` must say which.
    """
    found = [candidate for candidate in _candidates(path) if candidate.is_file()]
    if len(found) == 1:
        return found[0]
    name = shown(path.name, 80)
    if not found:
        raise UsageError(
            f"'{name}' holds an architecture without weights: say which file holds them with "
            "--weights FILE."
        )
    names = ", ".join(shown(candidate.name, 60) for candidate in found)
    raise UsageError(f"Several files could hold the weights of '{name}' ({names}): give --weights.")


def _candidates(path: Path) -> Iterator[Path]:
    stem = path.with_suffix("").name
    for ending in (".weights.h5", ".h5", ".hdf5", "_weights.h5", "_weights.hdf5", "-weights.h5"):
        yield path.with_name(stem + ending)
