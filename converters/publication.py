"""Put a proved model in its place: its record inside, its settings beside it, all or nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import convert_model_to_external_data, load_external_data_for_model

from cleanai_onnx import inputs
from cleanai_onnx._version import __version__
from cleanai_onnx.converters import conversion
from cleanai_onnx.converters.conversion import Conversion
from cleanai_onnx.graph import load_model
from cleanai_onnx.inputs.settings import NO_CROP
from cleanai_onnx.inputs.sidecars import sidecar_path
from cleanai_onnx.report.destination import all_or_nothing, replace_file

__all__ = ["digest_of", "publish", "writable_settings"]

_MOST_BYTES = (1 << 31) - (1 << 20)
"""A larger model does not fit into one protobuf message, whose limit is 2 GiB."""

_LEAST_EXTERNAL = 1024
"""Smaller tensors stay in the model file."""

_CHUNK = 1 << 20


def publish(
    draft: Path, output: Path, record: Conversion, preprocessing: Mapping[str, Any]
) -> Conversion:
    """Write the model with its record, and the settings file if there are settings.

    Parameters
    ----------
    draft
        The proved ONNX file in the working folder, external data beside it.
    output
        Where the model goes. One of 2 GiB or more keeps its weights in ``<output>.data``.
    record
        The conversion so far.
    preprocessing
        Settings as `read_settings` returns them; empty for none.

    Returns
    -------
    Conversion
        The record with the paths and the hash of the file.

    Raises
    ------
    OutputError
        If a file cannot be written; then none is.
    """
    model = onnx.load(str(draft), load_external_data=False)
    load_external_data_for_model(model, str(draft.parent))
    settings = writable_settings(preprocessing)
    beside = sidecar_path(output)
    if not settings and beside.is_file():
        remark = f"An older file {beside.name} lies beside the model, and analyses will follow it."
        record = replace(record, remarks=(*record.remarks, remark))
    properties = {conversion.METADATA_KEY: conversion.dumps(record, embedded=True)}
    if settings:
        properties[inputs.METADATA_KEY] = json.dumps(settings)
    onnx.helper.set_model_props(model, properties)
    source = record.source_sha256 or "a live model"
    model.doc_string = f"Converted by cleanai-onnx {__version__} from {record.format} ({source})."
    with all_or_nothing():
        _write(model, draft.parent, output)
        if settings:
            replace_file(beside, (json.dumps(settings, indent=2) + "\n").encode())
    return replace(
        record,
        model=str(output),
        model_sha256=load_model(output).sha256,
        sidecar=str(beside) if settings else "",
    )


def _write(model: onnx.ModelProto, folder: Path, output: Path) -> None:
    if _size(model) < _MOST_BYTES:
        replace_file(output, model.SerializeToString(deterministic=True))
        return
    data = output.name + ".data"
    convert_model_to_external_data(
        model, all_tensors_to_one_file=True, location=data, size_threshold=_LEAST_EXTERNAL
    )
    (folder / "parts").mkdir()
    onnx.save(model, str(folder / "parts" / output.name))
    # The model is the last to appear: whoever finds it finds its data.
    replace_file(output.with_name(data), (folder / "parts" / data).read_bytes())
    replace_file(output, (folder / "parts" / output.name).read_bytes())


def _size(model: onnx.ModelProto) -> int:
    """Return about how many bytes the weights take; asking protobuf fails beyond its limit."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def writable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return preprocessing settings as JSON can hold them and `read_settings` reads them."""
    written: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "crop" and tuple(value) == NO_CROP:
            written[name] = "none"
        else:
            written[name] = list(value) if isinstance(value, tuple) else value
    return written


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Of a folder: for each file below it in the order of their names, its path relative to the folder
    in UTF-8, a zero byte, its size as 8 little-endian bytes, and its bytes.
    """
    digest = hashlib.sha256()
    if not path.is_dir():
        _feed(digest, path)
        return digest.hexdigest()
    files = sorted((p.relative_to(path).as_posix(), p) for p in path.rglob("*") if p.is_file())
    for name, file in files:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        digest.update(file.stat().st_size.to_bytes(8, "little"))
        _feed(digest, file)
    return digest.hexdigest()


def _feed(digest: Any, path: Path) -> None:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
