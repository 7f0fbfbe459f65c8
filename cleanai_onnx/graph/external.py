"""External data: weights in files beside the model, and nowhere else."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.names import shown
from cleanai_onnx.graph.tensors import attribute_tensors, is_external, stored_bytes
from cleanai_onnx.graph.topology import all_graphs

__all__ = ["external_files", "stored_tensors"]


@dataclass(frozen=True)
class _Extent:
    location: str
    offset: int
    length: int | None


def stored_tensors(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    """Yield every tensor that a model stores, and what a message calls it."""
    for graph in all_graphs(proto.graph):
        for tensor in graph.initializer:
            yield tensor, "the weight"
        for sparse in graph.sparse_initializer:
            yield sparse.values, "the sparse weight"
            yield sparse.indices, "the sparse weight"
        for node in graph.node:
            for tensor in attribute_tensors(node):
                yield tensor, f"a constant of the node {shown(node.name)}"


def external_files(proto: onnx.ModelProto, directory: Path | None) -> tuple[Path, ...]:
    """Return the files that hold external data, sorted by their names in the model.

    Raises
    ------
    ModelError
        If a file is missing, is too short, or does not lie inside the model's folder (an absolute
        path, ``..``, a link that leads out), or if there is no folder because the model was given
        as bytes.
    """
    files: dict[str, tuple[Path, int]] = {}
    for tensor, where in stored_tensors(proto):
        if not is_external(tensor):
            continue
        title = f"{where} {shown(tensor.name)}"
        extent = _extent(tensor, title)
        if directory is None:
            raise ModelError(
                f"{title} lives in the file {shown(extent.location)} beside the model, but the "
                "model was given as bytes: give the path of the model file."
            )
        if extent.location not in files:
            files[extent.location] = _inside(directory, extent.location, title)
        size = files[extent.location][1]
        promised = stored_bytes(tensor)
        length = promised if extent.length is None else extent.length
        if length != promised:
            raise ModelError(
                f"{title} promises {promised:,} bytes but its entry in {shown(extent.location)} "
                f"has {length:,}: the model is damaged, export it again."
            )
        if extent.offset + length > size:
            raise ModelError(
                f"{title} ends behind the end of {shown(extent.location)} ({size:,} bytes): "
                "copy the file again, it is truncated or belongs to another model."
            )
    return tuple(files[name][0] for name in sorted(files))


def _extent(tensor: onnx.TensorProto, title: str) -> _Extent:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    numbers: dict[str, int] = {}
    for key in ("offset", "length"):
        text = entries.get(key, "")
        if text and not re.fullmatch(r"[0-9]{1,18}", text):
            raise ModelError(f"{title} has an {key} of external data that is not a whole number.")
        if text:
            numbers[key] = int(text)
    location = entries.get("location", "")
    if not location:
        raise ModelError(f"{title} says that its data is external but not where.")
    return _Extent(location, numbers.get("offset", 0), numbers.get("length"))


def _inside(directory: Path, location: str, title: str) -> tuple[Path, int]:
    parts = re.split(r"[/\\]", location)
    outside = location[:1] in "/\\" or ".." in parts or re.match(r"[A-Za-z]:", location)
    refusal = ModelError(
        f"{title} wants its data from {shown(location)}, which is outside the folder of the "
        "model: this is refused, put the data file beside the model."
    )
    if outside or "\0" in location:
        raise refusal
    try:
        root = directory.resolve(strict=True)
        path = (directory / location).resolve(strict=True)
        facts = path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"{title} has its data in {shown(location)}, which is not in the folder of the model: "
            "copy the data file there."
        ) from error
    if not path.is_relative_to(root):
        raise refusal
    if not stat.S_ISREG(facts.st_mode):
        raise ModelError(f"{title} has its data in {shown(location)}, which is not a file.")
    return path, facts.st_size
