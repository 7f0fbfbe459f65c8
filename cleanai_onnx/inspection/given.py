"""What a user may give as a hypothesis: a table, a name, a function, masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cleanai_onnx import inputs
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inspection.concepts import read_masks, read_table
from cleanai_onnx.inspection.features import FUNCTIONS
from cleanai_onnx.inspection.hypotheses import Function, Hypothesis, folder_classes

__all__ = ["FOLDERS", "hypotheses_from"]

FOLDERS = "folders"
"""Names the folders that images lie in, among the built-in functions."""


def hypotheses_from(
    given: Any, masks: str | Path | None, suite: inputs.Suite | None
) -> tuple[Hypothesis, ...]:
    """Return what the user gave as hypotheses."""
    names = () if suite is None else suite.names
    found: list[Hypothesis] = []
    for one in given if isinstance(given, list | tuple) else (given,):
        if isinstance(one, str) and one == FOLDERS:
            if suite is None:
                raise UsageError("folders are a hypothesis for images of a folder.")
            found.append(folder_classes(names))
        elif isinstance(one, str) and one in FUNCTIONS:
            found.append(FUNCTIONS[one])
        elif isinstance(one, str | Path):
            found += _table(one, names)
        elif hasattr(one, "values") and hasattr(one, "kind"):
            found.append(one)
        elif callable(one):
            found.append(Function(str(getattr(one, "__name__", "function")), one))
        else:
            raise UsageError(
                f"a hypothesis is a table, a name, a function or a Hypothesis, not "
                f"{type(one).__name__}."
            )
    if masks is not None:
        if suite is None:
            raise UsageError("masks are for images of a folder.")
        found += read_masks(masks, names)
    return tuple(found)


def _table(path: str | Path, names: Sequence[str]) -> Sequence[Hypothesis]:
    if isinstance(path, str) and not Path(path).suffix:
        known = ", ".join((FOLDERS, *FUNCTIONS))
        raise UsageError(
            f"{shown(path, 60)} is neither a table (.csv, .parquet) nor a built-in function "
            f"({known})."
        )
    found = read_table(path)
    if names and not any(name in one.known for one in found for name in names):
        raise UsageError(
            f"--hypotheses {shown(str(path))}: no row names one of the images; they are called "
            f"like '{names[0]}'."
        )
    return found
