"""The command ``profile``: training images in, what they taught out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx import config
from cleanai_onnx.commands.parsing import (
    Parser,
    add_groups,
    add_model_and_images,
    add_options,
    checkpoint_options,
    image_options,
    settings_of,
    taken_but,
    worker_options,
)
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar, show
from cleanai_onnx.config import Settings
from cleanai_onnx.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from cleanai_onnx.profiles import Profile

__all__ = ["LEARNING", "announce_profile", "learning", "parser", "require_train", "run"]

LEARNING = "learning (with --train; as in the command profile)"
"""The heading of these options in the help of other commands."""
NOT_TAKEN = frozenset(
    {"attest", "no-relevance", "output", "per-image", "report", "state", "subset"}
)
"""Options of the analysis that this command has no use for."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx profile",
        description="Learn from training images what the neurons of a model do, for the metrics "
        "that measure a suite against it.",
        epilog="exit codes: 0 done, 2 usage, 3 model or images unusable, 4 internal error",
    )
    add_model_and_images(made)
    made.add_argument(
        "-o", "--out", metavar="FILE", help="the profile to write (default: MODEL.profile)"
    )
    add_options(made.add_argument_group("learning"), config.LEARNING)
    add_groups(made, taken_but(NOT_TAKEN))
    return made


def run(arguments: argparse.Namespace) -> int:
    """Learn a profile, write it and show what it holds."""
    settings = settings_of(arguments, config.OPTIONS, config.LEARNING)

    from cleanai_onnx import profiles, report
    from cleanai_onnx.jobs.profiling import learn
    from cleanai_onnx.report.names import file_stem

    path = Path(arguments.out or f"{file_stem(Path(arguments.model).stem)}.profile")
    check_model_and_output(arguments.model, [path], "--out")
    keeping = checkpoint_options(settings)
    with report.all_or_nothing(), progress_bar(settings) as progress:
        learnt = learn(
            arguments.model,
            arguments.images,
            taps=settings["taps"],
            **learning(settings),
            **image_options(settings),
            **keeping,
            **worker_options(settings),
            progress=progress,
        )
        written = profiles.save(learnt, path)
    return announce_profile(written, learnt, quiet=settings["quiet"])


def announce_profile(path: Path, profile: Profile, *, quiet: bool) -> int:
    """Say what a profile that was written holds, and return the exit code."""
    if not quiet:
        show(lambda console: _describe(profile, console), [path])
    return 0


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


def _describe(learnt: Profile, console: Console) -> None:
    from cleanai_onnx.report.profile import describe

    for name, value in describe(learnt.facts):
        console.print(f"{name + ':':<13}{value}", markup=False, soft_wrap=True)
