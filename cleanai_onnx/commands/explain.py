"""The command ``explain``: heat maps of relevance over images."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx import config
from cleanai_onnx.commands.parsing import (
    Parser,
    add_groups,
    add_model_and_images,
    add_options,
    image_options,
    settings_of,
    taken_but,
)
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar, show

__all__ = ["parser", "run"]

NOT_TAKEN = frozenset(
    {"attest", "no-relevance", "per-image", "report", "subset", "taps", *config.SCALING}
)
"""Options of the analysis that this command has no use for."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx explain",
        description="Show which pixels speak for and against a model's decision on each image, by "
        "layer-wise relevance propagation.",
        epilog="exit codes: 0 done, 2 usage, 3 model or images unusable, 4 internal error",
    )
    add_model_and_images(made)
    add_options(made.add_argument_group("explanation"), config.EXPLANATION)
    add_groups(made, taken_but(NOT_TAKEN))
    return made


def run(arguments: argparse.Namespace) -> int:
    """Explain, write what was found and show the summary."""
    settings = settings_of(arguments, config.OPTIONS, config.EXPLANATION)

    from cleanai_onnx import report
    from cleanai_onnx.jobs.explaining import explain
    from cleanai_onnx.report.names import file_stem

    stem = Path(settings["output"]) / f"Relevance_{file_stem(Path(arguments.model).stem)}"
    path = stem.with_name(f"{stem.name}.json")
    check_model_and_output(arguments.model, [path])
    with report.all_or_nothing(), progress_bar(settings) as progress:
        summary = explain(
            arguments.model,
            arguments.images,
            settings,
            path,
            folder=stem,
            progress=progress,
            **image_options(settings),
        )
    if not settings["quiet"]:
        show(summary.show, [path, stem])
    return 0
