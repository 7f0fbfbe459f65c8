"""The commands ``profile`` and ``combine``: training images or profiles in, a profile out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx import config
from cleanai_onnx.config import Settings
from cleanai_onnx.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from cleanai_onnx.profiles import Profile

__all__ = [
    "NOT_TAKEN",
    "add_arguments",
    "add_combine_arguments",
    "combine",
    "learning",
    "profile",
    "require_train",
    "show",
    "target",
]

NOT_TAKEN = frozenset({"output", "per-image", "subset"})
"""Options of the analysis that ``profile`` has no use for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``profile`` alone takes on the command line, its options aside."""
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="the profile to write (default: MODEL.profile)"
    )


def add_combine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all that ``combine`` takes."""
    parser.add_argument("profiles", nargs="+", metavar="PROFILE", help="profiles to merge")
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="the profile to write")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def target(arguments: argparse.Namespace) -> Path:
    """Return where ``profile`` writes to."""
    from cleanai_onnx.report.names import file_stem

    return Path(arguments.out or f"{file_stem(Path(arguments.model).stem)}.profile")


def learning(settings: Settings) -> dict[str, Any]:
    """Return the options of learning as `cleanai_onnx.learn` takes them."""
    return {
        "labels": settings["labels"],
        "view": settings["view"],
        "layers": settings["layers"],
        "traces": settings["traces"],
        "composite": settings["relevance-rules"],
    }


def require_train(settings: Settings) -> None:
    """Refuse options of learning on the command line of an analysis that learns nothing.

    Raises
    ------
    UsageError
        With one sentence that names the flag.
    """
    for option in config.LEARNING:
        if settings["train"] is None and settings.origin(option.name).startswith("--"):
            raise UsageError(f"--{option.name} needs --train, the images to learn from.")


def profile(
    arguments: argparse.Namespace,
    settings: Settings,
    images: Mapping[str, Any],
    progress: Callable[[int], Callable[[int], None]] | None,
) -> tuple[Path, Profile]:
    """Learn a profile and write it; `images` says how images become inputs."""
    from cleanai_onnx import profiles
    from cleanai_onnx.profiling import learn

    learnt = learn(
        arguments.model,
        arguments.images,
        taps=settings["taps"],
        **learning(settings),
        **images,
        progress=progress,
    )
    return profiles.save(learnt, target(arguments)), learnt


def combine(arguments: argparse.Namespace) -> tuple[Path, Profile]:
    """Merge profiles and write the result."""
    from cleanai_onnx import profiles

    merged = profiles.merge([profiles.load(path) for path in arguments.profiles])
    return profiles.save(merged, Path(arguments.out)), merged


def show(learnt: Profile, console: Console) -> None:
    """Print what a profile holds."""
    from cleanai_onnx.report.profile import describe

    for name, value in describe(learnt.facts):
        console.print(f"{name + ':':<13}{value}", markup=False, soft_wrap=True)
