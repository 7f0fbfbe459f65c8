"""Validation: gates that a result must keep, and two results or two models side by side.

The names are imported when first used: pytest loads the plugin in this room whenever it starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cleanai_onnx.validation.gate import Gate, gates_of, gates_of_table, gates_of_text
    from cleanai_onnx.validation.judging import judge
    from cleanai_onnx.validation.side_by_side import diff

__all__ = ["Gate", "diff", "gates_of", "gates_of_table", "gates_of_text", "judge"]

_HOMES = {
    **dict.fromkeys(("Gate", "gates_of", "gates_of_table", "gates_of_text"), "gate"),
    "judge": "judging",
    "diff": "side_by_side",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
