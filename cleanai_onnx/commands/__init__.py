"""The commands, one module each: its parser, and what it runs. No logic of the jobs themselves.

A module has ``parser() -> argparse.ArgumentParser`` and ``run(arguments) -> int``, the exit code.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["NAMES", "find"]

NAMES = ("analyze", "report", "convert", "explain", "profile", "combine", "compare", "diff")
"""``analyze`` is what runs where no command is named."""


def find(name: str) -> ModuleType:
    """Return the module of a command; it is imported only now."""
    return import_module(f"cleanai_onnx.commands.{name}")
