"""The file that lists the images of a subset, so that it can be given as images again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from cleanai_onnx import inputs
from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.destination import check_destination, replace_file

__all__ = ["check_subset_file", "list_subset", "listed_path", "path_of"]


def check_subset_file(path: str | Path) -> None:
    """Refuse what cannot be written, or could not be given as images again.

    Raises
    ------
    UsageError
        With one sentence that says why.
    """
    if Path(path).suffix.lower() != ".txt":
        raise UsageError(f"--subset must name a .txt file, not {str(path)[-100:]!a}.")
    check_destination(path, "--subset")


def path_of(suite: inputs.Suite, index: int) -> str:
    """Return the path of an image, or its name where it is in something that has no paths."""
    if suite.kind != "files":
        return suite.name(index)
    if suite.store is not None:
        return suite.path(index)
    return listed_path(suite.path(index))


def listed_path(path: str) -> str:
    """Return the path of a file, from the current folder where it lies there."""
    return os.path.abspath(path).removeprefix(os.path.join(os.getcwd(), ""))


def list_subset(path: str | Path, lines: Iterable[str]) -> None:
    """Write the file, a path on each line.

    Raises
    ------
    OutputError
        If it cannot be written there.
    """
    content = b"".join(os.fsencode(line) + b"\n" for line in lines)
    replace_file(path, content, "--subset")
