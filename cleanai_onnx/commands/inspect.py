"""The command ``inspect``: which hypotheses the neurons of a model encode."""

from __future__ import annotations

import argparse
from dataclasses import replace
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
    worker_options,
)
from cleanai_onnx.commands.showing import check_model_and_output, progress_bar, show

__all__ = ["parser", "run"]

NOT_TAKEN = frozenset(
    {"attest", "no-relevance", "output", "per-image", "report", "subset"}
    | (config.SCALING - config.WORKERS)
)
"""Options of the analysis that this command has no use for."""
SHARED = {
    "layers": "layers whose neurons are scored: all (default), last-hidden, names or patterns",
    "view": "what counts as a neuron: channel or unit (default: channel)",
}
"""Options of learning that mean the same here, and what they say."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx inspect",
        description="Score how well each neuron encodes each hypothesis: the columns of a table, "
        "the classes of folders, masks, or properties of the images.",
        epilog="exit codes: 0 done, 2 usage, 3 model or images unusable, 4 internal error",
    )
    add_model_and_images(made)
    made.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="the table of scores to write, .csv or .parquet (default: Affinity_MODEL.csv); the "
        "report is written beside it as .pdf",
    )
    group = made.add_argument_group("inspection")
    add_options(group, config.INSPECTION)
    shared = (option for option in config.LEARNING if option.name in SHARED)
    add_options(group, (replace(option, help=SHARED[option.name]) for option in shared))
    add_groups(made, taken_but(NOT_TAKEN))
    return made


def run(arguments: argparse.Namespace) -> int:
    """Inspect, write the table, the report and the database, and show the best neurons."""
    settings = settings_of(arguments, config.OPTIONS, config.INSPECTION, config.LEARNING)

    from cleanai_onnx import report
    from cleanai_onnx.inspection import measures_called
    from cleanai_onnx.inspection.measure import LayerMeasure
    from cleanai_onnx.jobs.inspecting import inspect_models
    from cleanai_onnx.report import affinities, database, pdf_inspection
    from cleanai_onnx.report.destination import replace_file
    from cleanai_onnx.report.names import file_stem

    table = Path(arguments.out or f"Affinity_{file_stem(Path(arguments.model).stem)}.csv")
    affinities.check_table(table)
    pdf = table.with_suffix(".pdf")
    check_model_and_output(arguments.model, [table, pdf], "--out")
    kept = settings["database"]
    if kept is not None:
        database.check_database(kept)
    layers = ("all",) if settings.origin("layers") == "default" else settings["layers"]
    models = (arguments.model, *settings["also"])
    names = [Path(model).name for model in models]
    if any(isinstance(one, LayerMeasure) for one in measures_called(settings["measures"])):
        names = [title for name in names for title in (name, f"{name}: fits")]
    with progress_bar(settings, *names) as progress:
        found = inspect_models(
            models,
            arguments.images,
            (*map(Path, settings["hypotheses"]), *settings["functions"]),
            settings["measures"],
            masks=settings["masks"],
            layers=layers,
            units=settings["view"],
            error=settings["error"],
            min_inputs=settings["min-inputs"],
            keep=settings["keep"],
            quantile=settings["quantile"],
            taps=settings["taps"],
            **image_options(settings),
            **worker_options(settings),
            pictures=True,
            progress=progress,
        )
    frame = found.frame()
    with report.all_or_nothing():
        written = [
            affinities.write_table(frame, table),
            replace_file(pdf, pdf_inspection.render(found), "--out"),
        ]
        if kept is not None:
            # Within the group: where the database refuses the run, there are no files either.
            written.append(database.add_run(found, frame, kept))
    if not settings["quiet"]:
        show(lambda console: affinities.show(found, console), written)
    return 0
