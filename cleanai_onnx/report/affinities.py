"""The scores of an inspection: as CSV or Parquet, and in a few lines on the terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inspection.result import Inspection, ModelInspection
from cleanai_onnx.report import figures
from cleanai_onnx.report.destination import replace_file
from cleanai_onnx.report.digest import layer_title
from cleanai_onnx.report.lines import Lines
from cleanai_onnx.report.names import named, printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["SUFFIXES", "chance", "check_table", "neuron_title", "rounded", "show", "write_table"]

SUFFIXES = (".csv", ".parquet")
_ROWS = 12


def check_table(path: Path) -> None:
    """Fail now if a table could not be written to `path` because of its kind.

    Raises
    ------
    UsageError
        If the ending says neither CSV nor Parquet, or Parquet cannot be written here.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {printable(str(path), 200)}: give a name with .csv or .parquet.")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "--out: writing Parquet needs pyarrow; install 'cleanai-onnx[inspect]', or give a "
                "name with .csv.",
                slug="package-missing",
            ) from error


def write_table(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write scores as CSV (RFC 4180, UTF-8) or Parquet, by the ending of `path`.

    Raises
    ------
    UsageError, OutputError
        If that cannot be done; nothing is left half-written.
    """
    path = Path(path)
    check_table(path)
    stream = io.BytesIO()
    if path.suffix.lower() == ".parquet":
        frame.to_parquet(stream, index=False)
    else:
        names = ("model", "layer", "hypothesis")
        # What would act on a terminal or in a line is written as code points.
        shown = frame.assign(
            **{
                name: frame[name].cat.rename_categories(
                    {one: printable(str(one)) for one in frame[name].cat.categories}
                )
                for name in names
            }
        )
        shown.to_csv(stream, index=False, lineterminator="\r\n", encoding="utf-8")
    return replace_file(path, stream.getvalue(), "--out")


def show(inspection: Inspection, console: Console) -> None:
    """Print the best neuron of each claim."""
    lines = Lines(console)
    measures = ", ".join(table.measure for table in inspection.models[0].tables)
    for one, name in zip(inspection.models, inspection.names, strict=True):
        neurons = sum(layer.size(one.view) for layer in one.layers)
        lines.line(f"{named(name)}: which {one.view}s encode which hypothesis", "bold")
        lines.line(
            f"{one.inputs:,} of {inspection.found:,} images from {named(inspection.source)}, "
            f"{neurons:,} {one.view}s of {len(one.layers):,} layers, "
            f"{figures.duration(sum(one.run.seconds.values()))}",
            "dim",
        )
        lines.line(f"measures: {measures}", "dim")
        lines.blank()
        rows = list(_best(one))
        heading = ["Hypothesis", "best", "measure", "score", "95 % interval", "q"]
        lines.columns(heading, rows[:_ROWS], flexible=0, strong=(3,))
        if len(rows) > _ROWS:
            lines.line(f"and {len(rows) - _ROWS:,} more, in the table")
        lines.blank()
    if inspection.skipped:
        lines.line(f"Skipped images: {len(inspection.skipped):,}", "yellow")
        for image in inspection.skipped[:3]:
            lines.wrapped(f"{named(image.path)}: {image.reason}", indent=2, most=2)
    for note in inspection.notes:
        lines.wrapped(f"Note: {note.text}", most=4)


def _best(one: ModelInspection) -> list[list[str]]:
    found = []
    for claim, stated in enumerate(one.claims):
        table = one.ranking(claim) or next((t for t in one.tables if claim in t.claims), None)
        if table is None:
            continue
        best = table.top(claim, 1)
        if not best:
            found.append([named(stated.name), figures.NOTHING, table.measure, *["—"] * 3])
            continue
        row, column = best[0], table.claims.index(claim)
        scores = table.scores
        title = layer_title(one.layers[row]) if table.joint else neuron_title(one, row)
        found.append(
            [
                named(stated.name),
                title,
                table.measure,
                rounded(scores.score[row, column]),
                f"{rounded(scores.low[row, column])} … {rounded(scores.high[row, column])}",
                chance(table.q[row, column]),
            ]
        )
    return found


def neuron_title(one: ModelInspection, row: int) -> str:
    """Return what to call a neuron: its layer and its number."""
    place, unit = one.neurons[row]
    return f"{layer_title(one.layers[place])} {unit}"


def chance(q: float) -> str:
    """Return a corrected p-value in words."""
    return figures.NOTHING if np.isnan(q) else f"{q:.1e}"


def rounded(score: float) -> str:
    """Return a score with three decimals; a large or tiny one with as many digits."""
    if np.isnan(score):
        return figures.NOTHING
    if np.isinf(score) or (score and not 0.001 <= abs(score) < 1000):
        return figures.value(float(f"{score:.3g}"))
    return f"{score:.3f}"
