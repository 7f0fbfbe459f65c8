"""The result rendered: one module for each format, and one way to write a file.

A format is a module with a function ``render(result) -> bytes``. Adding one is adding that module
and one line in `cleanai_onnx.formats`. Modules are imported when their format is first asked for.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from cleanai_onnx.errors import UsageError
from cleanai_onnx.formats import FORMATS
from cleanai_onnx.report.destination import all_or_nothing, check_destination, replace_file
from cleanai_onnx.result import Result

__all__ = [
    "FORMATS",
    "all_or_nothing",
    "check_destination",
    "read",
    "render",
    "require",
    "write",
]

LOG = logging.getLogger(__name__)


def render(result: Result, format: str) -> bytes:
    """Return `result` in `format` as the bytes of a file.

    Raises
    ------
    UsageError
        If there is no such format; the sentence lists those there are. If it needs a package that
        is not installed.
    """
    return cast(bytes, _module(format).render(result))


def require(format: str) -> None:
    """Fail now if nothing could be rendered in `format` later; as `render` does."""
    check = getattr(_module(format), "require", None)
    if check is not None:
        check()


def _module(format: str) -> ModuleType:
    known = FORMATS.get(format)
    if known is None:
        raise UsageError(
            f"there is no report format {format!r}: choose one of {', '.join(sorted(FORMATS))}"
        )
    return import_module(known.module)


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
    LOG.info("write %s", path)
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
