"""The command ``convert``: which converter, with what, and the verdict in words."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx import config
from cleanai_onnx.commands import analyze
from cleanai_onnx.commands.parsing import (
    Parser,
    add_general,
    add_groups,
    add_options,
    settings_of,
)
from cleanai_onnx.commands.profile import LEARNING, require_train
from cleanai_onnx.commands.showing import announce, make_console, say, told
from cleanai_onnx.config import Settings
from cleanai_onnx.errors import UsageError, harmless

if TYPE_CHECKING:
    from cleanai_onnx.converters.conversion import Attempt, Conversion

__all__ = ["failure", "parser", "run", "verdict"]

_WIDTH = 80
_MOST_LINES = 5


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx convert",
        description="Convert a PyTorch or Keras model to ONNX, and prove that it is the same one.",
        epilog="exit codes: 0 converted and proved, 1 with --analyze a gate failed, 2 usage, "
        "3 source unusable or not proved",
    )
    _add_arguments(made)
    add_options(made, config.CONVERSION)
    made.add_argument("--reports", dest="output", metavar="DIR", help="with --analyze: folder")
    add_general(made)
    add_options(made.add_argument_group(LEARNING), config.LEARNING)
    add_groups(made, lambda one: one.name != "output")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Convert and say so; go on to the analysis if that was asked for."""
    settings = settings_of(arguments, config.OPTIONS, config.CONVERSION, config.LEARNING)
    require_train(settings)
    if arguments.analyze is None and settings.origin("train").startswith("--"):
        raise UsageError("--train needs --analyze, the images to measure.")

    from cleanai_onnx.converters.conversion import ConversionError

    if not settings["quiet"] and sys.stderr is not None and sys.stderr.isatty():
        say("Converting and comparing; this takes from seconds to minutes ...")
    try:
        with told(settings):
            path, record = _convert(arguments, settings)
    except ConversionError as error:
        say("\n".join(failure(error.attempts)))
        name = harmless(os.path.basename(os.path.normpath(arguments.source)))
        said = f"{name} was not converted, see above; no file was written."
        say(f"cleanai-onnx: error: {said} [{error.slug}]")
        return error.exit_code
    if not settings["quiet"] and sys.stdout is not None:
        for line in verdict(record):
            print(line)
        announce(make_console(), [path])
    if arguments.analyze is None:
        return 0
    arguments.model, arguments.images = str(path), [arguments.analyze]
    return analyze.run(arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is said on the command line only.

    A configuration file comes with a folder; that it could name code to run, or switch the
    protection off, would make opening a stranger's folder dangerous.
    """
    parser.add_argument("source", help="a PyTorch or Keras model (a file, or a SavedModel folder)")
    parser.add_argument(
        "--output",
        dest="onnx",
        metavar="FILE",
        help="the ONNX file to write (default: beside the source)",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="the network of a PyTorch state dict, or a layer of your own in a Keras model (repeat "
        "it for each); the current folder is searched too",
    )
    parser.add_argument(
        "--class-args", metavar="JSON", help="its arguments: [10] or '{\"classes\": 10}'"
    )
    parser.add_argument("--weights", metavar="FILE", help="the weights of a Keras JSON model")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load what may run code: pickled modules, Lambda layers; only from people you trust",
    )
    parser.add_argument(
        "--images", metavar="PATH", help="images to compare source and result on, besides"
    )
    parser.add_argument(
        "--analyze", metavar="IMAGES", help="go on to the analysis, with these images"
    )


def _convert(arguments: argparse.Namespace, settings: Settings) -> tuple[Path, Conversion]:
    """Convert what the arguments name.

    Raises
    ------
    CleanAIError
        As the converters do.
    """
    from cleanai_onnx.converters.formats import framework_of

    if not arguments.source:
        raise UsageError(
            "the name of the source is empty: give the path of a model.", slug="conversion-source"
        )
    source = Path(arguments.source)
    shared: dict[str, Any] = {
        "output": arguments.onnx,
        "trust": arguments.trust,
        "opset": settings["opset"],
        "rtol": settings["rtol"],
        "atol": settings["atol"],
        "seed": settings["seed"],
        "images": () if arguments.images is None else (arguments.images,),
        "preprocessing": _preprocessing(settings),
        "timeout": settings["timeout"],
        "input_shape": settings["input-shape"],
    }
    if framework_of(source) == "keras":
        _refuse(arguments, "a Keras model", class_args="--class-args")
        from cleanai_onnx.converters import keras

        return keras.to_onnx(source, weights=arguments.weights, classes=arguments.classes, **shared)
    _refuse(arguments, "a PyTorch model", weights="--weights")
    if len(arguments.classes) > 1:
        raise UsageError("a PyTorch model is of one class: give --class once.")
    from cleanai_onnx.converters import pytorch

    return pytorch.to_onnx(
        source,
        class_name=next(iter(arguments.classes), None),
        class_args=_class_arguments(arguments.class_args),
        **shared,
    )


def _preprocessing(settings: Settings) -> dict[str, Any]:
    """Return the preprocessing settings that were given, those of a file below the others."""
    found: dict[str, Any] = {}
    for files in (True, False):
        given = settings.given("preprocessing", files=files)
        file = given.pop("preprocessing", None)
        if file is not None:
            from cleanai_onnx.inputs.sidecars import preprocessing_file

            found |= preprocessing_file(Path(file)).settings
        found |= given
    return found


def _refuse(arguments: argparse.Namespace, what: str, **flags: str) -> None:
    for name, flag in flags.items():
        if getattr(arguments, name) is not None:
            raise UsageError(f"{flag} does not apply to {what}: leave it out.")


def _class_arguments(text: str | None) -> Any:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list | dict):
        raise UsageError(
            "--class-args must be a JSON list of positional arguments, [10], or a JSON object of "
            'named ones, {"classes": 10}.'
        )
    return found


def verdict(record: Conversion) -> list[str]:
    """Return the verdict as lines of at most 80 characters."""
    from cleanai_onnx.report.conversion import described

    rows = [*described(record)]
    if record.sidecar:
        rows.append(("Settings", f"preprocessing in {Path(record.sidecar).name}"))
    heading = _folded("", f"{Path(record.model).name}: the same network as {record.source}")
    return [*(line.strip() for line in heading), *_rows(rows)]


def failure(attempts: Iterable[Attempt]) -> list[str]:
    """Return what was tried, and why nothing worked, as lines of at most 80 characters."""
    return _rows([
        ("Tried", f"{attempt.route}: {attempt.outcome}; {attempt.reason}") for attempt in attempts
    ])  # fmt: skip


def _rows(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for label, text in rows for line in _folded(label, text)]


def _folded(label: str, text: str) -> list[str]:
    from cleanai_onnx.report.names import printable, shorten

    lead = f"  {label:<11} "
    room = _WIDTH - len(lead)
    return textwrap.wrap(
        shorten(printable(text, 2000), room * _MOST_LINES),
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
    ) or [lead.rstrip()]
