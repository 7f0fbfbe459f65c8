"""The commands, one module each: its parser, and what it runs. No logic of the jobs themselves.

A module has ``parser() -> argparse.ArgumentParser`` and ``run(arguments) -> int``, the exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType

__all__ = ["NAMES", "SUMMARIES", "find"]

SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "analyze": "measure the coverage of a model over images (what runs if none is named)",
        "report": "render a stored result again, without running anything",
        "convert": "turn a PyTorch or Keras model into ONNX, and prove that it is the same",
        "explain": "show which pixels speak for and against each decision",
        "explore": "search for inputs that the suite lacks, or on which models disagree",
        "profile": "learn from training images what the neurons do",
        "combine": "merge profiles of one model",
        "inspect": "score which hypotheses the neurons encode",
        "compare": "run two models over the same images, and show where they differ",
        "diff": "put two stored results side by side",
        "config": "print every option's value, and where it came from",
        "completion": "print what makes a shell complete commands, options and files",
    }
)
"""A line on each command, as the help lists them."""

NAMES = tuple(SUMMARIES)
"""``analyze`` is what runs where no command is named."""


def find(name: str) -> ModuleType:
    """Return the module of a command; it is imported only now."""
    return import_module(f"cleanai_onnx.commands.{name}")
