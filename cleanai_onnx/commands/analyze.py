"""The command ``analyze``, the main job: a model and images in, the reports out."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cleanai_onnx import commands, config
from cleanai_onnx._version import __version__
from cleanai_onnx.commands.gating import Gates, concluded
from cleanai_onnx.commands.parsing import (
    Parser,
    add_groups,
    add_model_and_images,
    add_options,
    checkpoint_options,
    image_options,
    metric_parameters,
    settings_of,
    worker_options,
)
from cleanai_onnx.commands.profile import LEARNING, learning, require_train
from cleanai_onnx.commands.reporting import places_of, refuse_same
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar
from cleanai_onnx.errors import UsageError, harmless

__all__ = ["analysis_options", "parser", "run"]

USAGE = """\
cleanai-onnx [OPTION ...] MODEL IMAGES [IMAGES ...]
       cleanai-onnx COMMAND ..."""
DESCRIPTION = "How much of a neural network do your test images exercise?"
EPILOG = """\
examples:
  cleanai-onnx model.onnx images/
  cleanai-onnx model.onnx images/ --preset torchvision --output reports/
  cleanai-onnx report Analysis_model.json --output elsewhere/
  cleanai-onnx convert model.keras --analyze images/
  cleanai-onnx explain model.onnx images/
  cleanai-onnx explore a.onnx b.onnx seeds/ -o found/
  cleanai-onnx profile model.onnx train/ -o model.profile
  cleanai-onnx model.onnx test/ --profile model.profile
  cleanai-onnx model.onnx test/ --train train/
  cleanai-onnx combine a.profile b.profile -o all.profile
  cleanai-onnx model.onnx part1/ --state 1.state
  cleanai-onnx combine 1.state 2.state -o reports/
  cleanai-onnx model.onnx images/ --checkpoint kept
  cleanai-onnx model.onnx test/ --subset keep.txt
  cleanai-onnx model.onnx test/ --report html --report junit:results.xml
  cleanai-onnx model.onnx test/ --fail-under nc=30%,dead-channels=0

exit codes: 0 done, 1 a gate failed, 2 usage, 3 model or images unusable, 4 internal error
docs/messages.md explains each warning and error by the word in brackets behind it
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser, whose help is that of the program."""
    made = Parser(
        prog="cleanai-onnx",
        usage=USAGE,
        description=f"{DESCRIPTION}\n\n{_list_of_commands()}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"cleanai-onnx {__version__}")
    add_model_and_images(made)
    add_groups(made, lambda _: True)
    add_options(made.add_argument_group(LEARNING), config.LEARNING)
    return made


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the reports and show the summary."""
    settings = settings_of(arguments, config.OPTIONS, config.LEARNING)
    require_train(settings)
    if settings["mlflow"]:
        from cleanai_onnx.tracking import require_mlflow

        require_mlflow()
    gates = Gates.of(settings)

    # Heavy imports come after the arguments were understood.
    from pathlib import Path

    from cleanai_onnx import report
    from cleanai_onnx.jobs.analysis import analyze
    from cleanai_onnx.report.names import file_stem

    folder = Path(settings["output"])
    stem = f"Analysis_{file_stem(Path(arguments.model).stem)}"
    reports = places_of(settings["report"], settings["attest"], folder, stem)
    paths = {"csv": folder / f"{stem}.csv"}
    if settings["per-image"]:
        paths["layers"] = folder / f"{stem}_layers.csv"
    if settings["subset"] is not None:
        paths["subset"] = Path(settings["subset"])
    elif settings["subset-metrics"]:
        raise UsageError(
            "--subset-metrics needs --subset, which names the file to write.", slug="subset"
        )
    if settings["state"] is not None:
        paths["state"] = Path(settings["state"])
    keeping = checkpoint_options(settings)
    written = [*(path for _, path in reports), *paths.values()]
    refuse_same(written, [arguments.model])
    for name, _ in reports:
        report.require(name)
    # The list of the subset is checked with the images, as another flag names it.
    checked = [path for path in written if path != paths.get("subset")]
    check_model_and_output(arguments.model, checked)
    trains = settings["train"] is not None
    titles = ("Training images", "Images") if trains else ("Images",)
    with report.all_or_nothing(), progress_bar(settings, *titles) as progress:
        result = analyze(
            arguments.model,
            arguments.images,
            **analysis_options(settings),
            per_image=paths["csv"],
            per_layer=paths.get("layers"),
            subset_file=paths.get("subset"),
            state=paths.get("state"),
            **keeping,
            **worker_options(settings),
            progress=progress,
        )
        result = gates.judged(result)
        for name, path in reports:
            report.write(result, name, path)
    if not settings["mlflow"]:
        return concluded(result, written, quiet=settings["quiet"])

    from cleanai_onnx.tracking import log_to_mlflow

    logged = log_to_mlflow(result, written)
    code = concluded(result, written, quiet=settings["quiet"])
    if not settings["quiet"] and sys.stdout is not None:
        print(f"Logged:  run {logged.run_id} of MLflow, {harmless(logged.store)}")
    return code


def analysis_options(settings: config.Settings) -> dict[str, Any]:
    """Return what `cleanai_onnx.analyze` takes of the settings, but for the files to write."""
    from cleanai_onnx.coverage import ProfileParameters

    return {
        "parameters": metric_parameters(settings),
        "taps": settings["taps"],
        "pair": settings["pair"],
        "adjacency": settings["adjacency"],
        **image_options(settings),
        "relevance": not settings["no-relevance"],
        "profile": settings["profile"],
        "train": settings["train"],
        "learning": None if settings["train"] is None else learning(settings),
        "profile_parameters": ProfileParameters(
            sections=settings["sections"],
            margin=settings["margin"],
            important=settings["important"],
            clusters=settings["clusters"],
            compat=settings["compat"],
            surprise_buckets=settings["surprise-buckets"],
            surprise_bounds=settings["surprise-bounds"],
        ),
        "subset": settings["subset-metrics"],
    }


def _list_of_commands() -> str:
    width = max(map(len, commands.NAMES))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in commands.SUMMARIES.items()]
    return "\n".join(["commands (each has a --help of its own):", *lines])
