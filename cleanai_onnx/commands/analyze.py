"""The command ``analyze``, the main job: a model and images in, the reports out."""

from __future__ import annotations

import argparse

from cleanai_onnx import config
from cleanai_onnx._version import __version__
from cleanai_onnx.commands.gating import Gates, concluded
from cleanai_onnx.commands.parsing import (
    Parser,
    add_groups,
    add_model_and_images,
    add_options,
    image_options,
    settings_of,
)
from cleanai_onnx.commands.profile import learning, require_train
from cleanai_onnx.commands.reporting import places_of, refuse_same
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar
from cleanai_onnx.errors import UsageError

__all__ = ["parser", "run"]

DESCRIPTION = "How much of a neural network do your test images exercise?"
EPILOG = """\
examples:
  cleanai-onnx model.onnx images/
  cleanai-onnx model.onnx images/ --preset torchvision --output reports/
  cleanai-onnx report Analysis_model.json --output elsewhere/
  cleanai-onnx convert model.keras --analyze images/
  cleanai-onnx explain model.onnx images/
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
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser, whose help is that of the program."""
    made = Parser(
        prog="cleanai-onnx",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"cleanai-onnx {__version__}")
    add_model_and_images(made)
    add_groups(made, lambda _: True)
    add_options(
        made.add_argument_group("learning (with --train; as in the command profile)"),
        config.LEARNING,
    )
    return made


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the reports and show the summary."""
    settings = settings_of(arguments, config.OPTIONS, config.LEARNING)
    require_train(settings)
    gates = Gates.of(settings)

    # Heavy imports come after the arguments were understood.
    from pathlib import Path

    from cleanai_onnx import report
    from cleanai_onnx.analysis import analyze
    from cleanai_onnx.coverage import Parameters, ProfileParameters
    from cleanai_onnx.report.names import file_stem
    from cleanai_onnx.states.checkpoint import Every

    folder = Path(settings["output"])
    stem = f"Analysis_{file_stem(Path(arguments.model).stem)}"
    reports = places_of(settings["report"], settings["attest"], folder, stem)
    paths = {"csv": folder / f"{stem}.csv"}
    if settings["per-image"]:
        paths["layers"] = folder / f"{stem}_layers.csv"
    if settings["subset"] is not None:
        paths["subset"] = Path(settings["subset"])
    elif settings["subset-metrics"]:
        raise UsageError("--subset-metrics needs --subset, which names the file to write.")
    if settings["state"] is not None:
        paths["state"] = Path(settings["state"])
    every = None
    if settings["checkpoint-every"] is not None:
        if settings["checkpoint"] is None:
            raise UsageError("--checkpoint-every needs --checkpoint, which names the folder.")
        every = Every(*settings["checkpoint-every"])
    written = [*(path for _, path in reports), *paths.values()]
    refuse_same(written, [arguments.model])
    check_model_and_output(arguments.model, written)
    trains = settings["train"] is not None
    titles = ("Training images", "Images") if trains else ("Images",)
    with report.all_or_nothing(), progress_bar(settings, *titles) as progress:
        result = analyze(
            arguments.model,
            arguments.images,
            parameters=Parameters(
                threshold=settings["threshold"],
                value_threshold=settings["value-threshold"],
                top_k=settings["top-k"],
                intervals=settings["intervals"],
                bounds_from=settings["bounds-from"],
                cleanai_compat=settings["cleanai-compat"],
            ),
            taps=settings["taps"],
            pair=settings["pair"],
            adjacency=settings["adjacency"],
            **image_options(settings),
            relevance=not settings["no-relevance"],
            per_image=paths["csv"],
            per_layer=paths.get("layers"),
            profile=settings["profile"],
            train=settings["train"],
            learning=learning(settings) if trains else None,
            profile_parameters=ProfileParameters(
                sections=settings["sections"],
                margin=settings["margin"],
                important=settings["important"],
                clusters=settings["clusters"],
                compat=settings["compat"],
                surprise_buckets=settings["surprise-buckets"],
                surprise_bounds=settings["surprise-bounds"],
            ),
            subset=settings["subset-metrics"],
            subset_file=paths.get("subset"),
            state=paths.get("state"),
            checkpoint=settings["checkpoint"],
            checkpoint_every=every,
            workers=settings["workers"],
            allow_partial=settings["allow-partial"],
            progress=progress,
        )
        result = gates.judged(result)
        for name, path in reports:
            report.write(result, name, path)
    return concluded(result, written, quiet=settings["quiet"])
