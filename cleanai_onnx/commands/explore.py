"""The command ``explore``: from seed images to inputs that the suite lacks."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cleanai_onnx import config
from cleanai_onnx.commands.parsing import (
    Parser,
    add_general,
    add_groups,
    add_options,
    image_options,
    settings_of,
    worker_options,
)
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar, say, show
from cleanai_onnx.errors import UsageError

__all__ = ["parser", "run"]

FOLDER = "found"
GROUPS = frozenset({"model", "images", "preprocessing", "run"})
TAKEN = frozenset({
    "quiet", "verbose", "no-progress", "threshold", "profile", "sections", "margin", "important",
    "clusters", "compat",
}) | config.WORKERS  # fmt: skip
"""Further options of the analysis: those that an objective depends on. The output is our own."""
INTERRUPTED = 128 + signal.SIGINT


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx explore",
        usage="cleanai-onnx explore [OPTION ...] MODEL [MODEL ...] SEEDS [SEEDS ...]",
        description="Search from seed images for inputs on which models disagree (several models), "
        "or which cover what the seeds do not (one model).",
        epilog="exit codes: 0 done, 2 usage, 3 model or images unusable, 4 internal error",
    )
    made.add_argument(
        "inputs",
        nargs="+",
        metavar="MODEL ... SEEDS",
        help="one or more ONNX files, and then the seeds: images as every command takes them",
    )
    made.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder for what is found; an exploration that was ended there goes on (default: "
        f"{FOLDER})",
    )
    add_general(made)
    ours = made.add_argument_group("exploration")
    add_options(ours, config.EXPLORATION)
    add_options(ours, _input_range())
    add_groups(made, lambda one: one.group in GROUPS or one.name in TAKEN)
    return made


def _input_range() -> tuple[config.Option, ...]:
    """Return the option that ``explain`` has too, with the words that fit here."""
    from dataclasses import replace

    help_ = "smallest and largest valid value of arrays that are ready"
    return tuple(
        replace(one, help=help_) for one in config.EXPLANATION if one.name == "input-range"
    )


def run(arguments: argparse.Namespace) -> int:
    """Explore, write what was found and show the summary."""
    settings = settings_of(arguments, config.OPTIONS, config.EXPLORATION, _input_range())
    models = [one for one in arguments.inputs if Path(one).suffix.lower() == ".onnx"]
    images = arguments.inputs[len(models) :]
    if arguments.inputs[: len(models)] != models or not models or not images:
        raise UsageError(
            "explore takes one or more .onnx files and then the seeds: cleanai-onnx explore a.onnx "
            "b.onnx seeds/."
        )

    from cleanai_onnx.coverage import ProfileParameters
    from cleanai_onnx.jobs.exploration_options import ExplorationOptions
    from cleanai_onnx.jobs.exploring import explore
    from cleanai_onnx.report.exploration import show as summary

    folder = Path(FOLDER if settings.origin("output") == "default" else settings["output"])
    paths = [folder / f"Exploration.{suffix}" for suffix in ("pdf", "json", "csv")]
    check_model_and_output(models[0], paths)
    options = ExplorationOptions(
        objective=settings["objective"],
        constraint=settings["constraint"],
        step=settings["step"],
        iterations=settings["iterations"],
        apart_weight=settings["apart-weight"],
        coverage_weight=settings["coverage-weight"],
        neurons_per_model=settings["neurons-per-model"],
        target_model=settings["target-model"],
        radius=settings["radius"],
        patch_size=settings["patch-size"],
        patch_at=settings["patch-at"],
        threshold=settings["threshold"],
        input_range=settings["input-range"],
        compat=settings["compat"],
        perturb=settings["perturb"],
        strength=settings["strength"],
        share=settings["share"],
    )
    with _ending_gently() as stop, progress_bar(settings, "Seeds") as progress:
        found = explore(
            models,
            images,
            folder,
            options,
            taps=settings["taps"],
            profile=settings["profile"],
            profile_parameters=ProfileParameters(
                sections=settings["sections"],
                margin=settings["margin"],
                important=settings["important"],
                clusters=settings["clusters"],
            ),
            **image_options(settings),
            **worker_options(settings),
            progress=progress,
            stop=stop,
        )
    if not settings["quiet"]:
        show(
            lambda console: summary(found, console),
            [*paths, *([folder / "images"] if found.found else [])],
        )
    return INTERRUPTED if found.interrupted else 0


@contextmanager
def _ending_gently() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the search with what was found; the second ends at once."""
    asked = threading.Event()
    before: Any = signal.getsignal(signal.SIGINT)
    # Inside another program (the API, a test) its own handling stays.
    ours = threading.current_thread() is threading.main_thread() and callable(before)
    if not ours or before is signal.default_int_handler:
        yield asked.is_set
        return

    def ask(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        say("\ncleanai-onnx: ending with what was found so far; Ctrl-C again ends at once.")

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
