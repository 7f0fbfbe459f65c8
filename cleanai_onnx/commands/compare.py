"""The command ``compare``: two models over the same images."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanai_onnx import config
from cleanai_onnx.commands.gating import ended, gates_of_settings
from cleanai_onnx.commands.parsing import (
    Parser,
    add_general,
    add_groups,
    add_images,
    image_options,
    metric_parameters,
    settings_of,
)
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar

__all__ = ["parser", "run"]

GROUPS = frozenset({"model", "images", "preprocessing", "run"})
TAKEN = frozenset({
    "output", "quiet", "verbose", "no-progress", "fail-under", "threshold", "value-threshold",
    "top-k", "intervals", "bounds-from", "adjacency", "cleanai-compat",
})  # fmt: skip
"""Further options of the analysis; a profile belongs to one model."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx compare",
        description="Run two models over the same images: how far their outputs are from each "
        "other, the images on which they disagree most, and every metric and layer side by side.",
        epilog="gates judge the new model, the old one is the baseline; agreement=99%, "
        "difference=0.1 and relative-difference=0.05 are of the outputs. exit codes: 0 done, 1 a "
        "gate failed, 2 usage, 3 a model or images unusable, 4 internal error",
    )
    made.add_argument("old", help="the ONNX file that the other is compared with")
    made.add_argument("new", help="the ONNX file of the quantised, deployed or next model")
    add_images(made)
    add_general(made)
    add_groups(made, lambda one: one.group in GROUPS or one.name in TAKEN)
    return made


def run(arguments: argparse.Namespace) -> int:
    """Compare, write what was found and show the summary."""
    settings = settings_of(arguments, config.OPTIONS)
    gates = gates_of_settings(settings)

    from cleanai_onnx import report
    from cleanai_onnx.jobs.comparing import compare
    from cleanai_onnx.report import pdf_comparison
    from cleanai_onnx.report.comparison import ComparisonLines
    from cleanai_onnx.report.destination import replace_file
    from cleanai_onnx.report.difference import as_json
    from cleanai_onnx.report.names import file_stem

    folder = Path(settings["output"])
    names = (file_stem(Path(model).stem) for model in (arguments.old, arguments.new))
    stem = f"Compare_{'_'.join(names)}"
    paths = {suffix: folder / f"{stem}.{suffix}" for suffix in ("pdf", "json", "csv")}
    for model in (arguments.old, arguments.new):
        check_model_and_output(model, paths.values())
    with report.all_or_nothing(), progress_bar(settings) as progress:
        found = compare(
            arguments.old,
            arguments.new,
            arguments.images,
            parameters=metric_parameters(settings),
            taps=settings["taps"],
            adjacency=settings["adjacency"],
            **image_options(settings),
            per_image=paths["csv"],
            gates=gates,
            progress=progress,
        )
        replace_file(paths["json"], as_json(found))
        replace_file(paths["pdf"], pdf_comparison.render(found))
    return ended(
        found.gates,
        lambda console: ComparisonLines(found, console).everything(),
        paths.values(),
        quiet=settings["quiet"],
    )
