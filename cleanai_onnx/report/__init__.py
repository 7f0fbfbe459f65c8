"""The result rendered: one module for each format, and one way to write a file.

A format is a module with a function ``render(result) -> bytes``. Adding one is adding that module
and one line in `FORMATS`. Modules are imported when their format is first asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.destination import all_or_nothing, check_destination, replace_file
from cleanai_onnx.result import Result

__all__ = [
    "FORMATS",
    "Format",
    "all_or_nothing",
    "check_destination",
    "nearest_format",
    "read",
    "render",
    "write",
]


@dataclass(frozen=True)
class Format:
    """The module that renders a format, and how the name of its file ends."""

    module: str
    ending: str


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "attestation": Format("cleanai_onnx.report.attestation", ".intoto.json"),
        "html": Format("cleanai_onnx.report.html", ".html"),
        "json": Format("cleanai_onnx.report.json", ".json"),
        "pdf": Format("cleanai_onnx.report.pdf", ".pdf"),
    }
)
"""The formats by name."""


def nearest_format(name: str) -> str | None:
    """Return the format that `name` may have meant: one that is written alike, or its file type."""
    alike = {**{known: known for known in FORMATS}, "md": "markdown", "xml": "junit"}
    near = difflib.get_close_matches(name[:40].lower(), alike, n=1)
    return alike[near[0]] if near else None


def render(result: Result, format: str) -> bytes:
    """Return `result` in `format` as the bytes of a file.

    Raises
    ------
    UsageError
        If there is no such format; the sentence lists those there are.
    """
    known = FORMATS.get(format)
    if known is None:
        raise UsageError(
            f"there is no report format {format!r}: choose one of {', '.join(sorted(FORMATS))}"
        )
    return cast(bytes, import_module(known.module).render(result))


def write(result: Result, format: str, path: str | Path) -> Path:
    """Write `result` to `path` in `format` and return the path.

    The parent folder is made if need be. An existing file is replaced atomically, and only once
    the whole report has been written; whatever goes wrong, no half-written file is left.

    Raises
    ------
    UsageError
        If there is no such format.
    OutputError
        If the file cannot be written there.
    """
    return replace_file(path, render(result, format))


def read(path: str | Path) -> Result:
    """Read a result that `write` stored as JSON.

    Raises
    ------
    UsageError
        If the file is missing, broken, or of a newer format version than this program knows.
    """
    from cleanai_onnx.report import json

    return json.read(path)
