"""The terminal summary: what one reads when the run is over, in 80 columns.

On a terminal it has a little colour; in a pipe, a log or a test it is plain text. Whatever the
model and the files are called, the terminal only ever gets printable characters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cleanai_onnx.report import figures
from cleanai_onnx.report.conversion import origin
from cleanai_onnx.report.digest import (
    VIEWS,
    Figure,
    firing_by_layer,
    layer_tables,
    layer_title,
    other_totals,
    verdicts,
)
from cleanai_onnx.report.gates import headline as gates_headline
from cleanai_onnx.report.gates import verdict, worst_first
from cleanai_onnx.report.lines import Lines, cells_of
from cleanai_onnx.report.names import named
from cleanai_onnx.report.subset import criteria_of, headline
from cleanai_onnx.result import Result, View

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["summary"]

_LOWEST = 5
_SKIPPED = 3


def summary(result: Result, console: Console) -> None:
    """Print a summary of `result`: totals, the layers with the lowest coverage, what was left out.

    Colours follow the console: none in a file or a pipe, none where ``NO_COLOR`` is set.
    """
    _Printer(result, console).everything()


class _Printer(Lines):
    """Prints one result."""

    def __init__(self, result: Result, console: Console) -> None:
        super().__init__(console)
        self.result = result

    def everything(self) -> None:
        result = self.result
        images, model, run = result.images, result.model, result.run
        count = len(result.layers)
        layers = "1 layer" if count == 1 else f"{count:,} layers"
        self.line(f"{named(model.name)}: coverage of {layers}", "bold")
        self.line(
            f"{images.used:,} of {images.found:,} images from {named(images.source)}, "
            f"{run.device}, {figures.duration(sum(run.seconds.values()))}",
            "dim",
        )
        if model.conversion is not None:
            self.wrapped(f"The file says: {origin(model.conversion)}", "dim", most=3)
        elif model.conversion_remark:
            self.wrapped(f"Note: {model.conversion_remark}", most=3)
        self._verdicts()
        self._other_totals()
        self._lowest_layers()
        self._silent_channels()
        if result.subset is not None:
            subset = result.subset
            said = (
                "proven to be the fewest"
                if subset.proven
                else f"fewest: {subset.lower_bound:,} or more"
            )
            self.wrapped(f"{headline(subset)} ({said})", "bold")
            self.wrapped(f"  kept: {criteria_of(subset)}", "dim")
        self._left_out()
        self._gates()

    def _verdicts(self) -> None:
        shown = verdicts(self.result)
        if not shown:
            return
        rows = [
            [
                verdict.metric,
                *(cell for view in VIEWS for cell in _figure_cells(verdict.views.get(view))),
            ]
            for verdict in shown
        ]
        heading = ["Metric", "units", "of", "", "channels", "of", ""]
        self.blank()
        self.columns(heading, rows, flexible=0, strong=(3, 6))

    def _other_totals(self) -> None:
        for table in other_totals(self.result):
            assert table.total is not None
            totals = [
                self.safe(f"{column.name} {figures.cell_text(cell, column)}")
                for column, cell in zip(table.columns, table.total, strict=True)
                if column.kind != "text"
            ]
            line = self.safe(f"  {table.metric}, {table.view} view:")
            for number, total in enumerate(totals, 1):
                # A total stays on one line with its name, whatever spaces that has.
                piece = total + ("," if number < len(totals) else "")
                if cells_of(line) + 1 + cells_of(piece) > self.width:
                    self.line(line)
                    line = "   "
                line += " " + piece
            self.line(line)

    def _lowest_layers(self) -> None:
        by_metric = layer_tables(self.result)
        metric = "nc" if "nc" in by_metric else next(iter(by_metric), None)
        if metric is None:
            return
        views = by_metric[metric]
        view: View = "unit" if "unit" in views else next(iter(views))
        known = [
            (share, i)
            for i, share in enumerate(views[view])
            if share is not None and math.isfinite(share)
        ]
        lowest = sorted(known)[:_LOWEST]
        if not lowest or len(self.result.layers) < 2:
            return
        firing = firing_by_layer(self.result)
        rows = [
            [
                f"{i + 1:,}",
                layer_title(self.result.layers[i]),
                figures.percent(share),
                f"{len(firing[i].dead):,} of {len(firing[i].counts):,}",
            ]
            for share, i in lowest
        ]
        self.blank()
        heading = ["#", "Layers with the lowest coverage", f"{metric}, {view}s", "never fired"]
        self.columns(heading, rows, flexible=1, strong=(2,))

    def _silent_channels(self) -> None:
        firing = firing_by_layer(self.result)
        channels = sum(len(layer.counts) for layer in firing)
        dead = sum(len(layer.dead) for layer in firing)
        layers = sum(1 for layer in firing if layer.dead)
        asleep = [f for f in firing if f.counts and len(f.dead) == len(f.counts)]
        share = figures.percent(dead / channels) if channels else figures.NOTHING
        said = f"Channels that never fired: {dead:,} of {channels:,} ({share})"
        if dead:
            said += f", in {layers:,} of {len(firing):,} layers"
        self.blank()
        self.wrapped(said, "bold red" if asleep else "")
        for layer in asleep[:_LOWEST]:
            title = self.cut(self.safe(layer_title(layer.layer)), self.width - 30)
            self.line(f"  all of layer {layer.index}, {title}")
        if len(asleep) > _LOWEST:
            self.line(f"  and all of {len(asleep) - _LOWEST:,} more layers")

    def _left_out(self) -> None:
        skipped = self.result.images.skipped
        if skipped:
            self.line(f"Skipped images: {len(skipped):,}", "yellow")
            for image in skipped[:_SKIPPED]:
                self.wrapped(f"{named(image.path)}: {image.reason}", indent=2, most=2)
            if len(skipped) > _SKIPPED:
                self.line(f"  and {len(skipped) - _SKIPPED:,} more, named in the report")
        untapped = self.result.model.untapped
        if untapped:
            self.line(f"Activations not measured: {len(untapped):,}", "yellow")
        for note in self.result.notes:
            self.wrapped(f"Note: {note.text} [{note.slug}]", most=4)

    def _gates(self) -> None:
        gates = self.result.gates
        if not gates:
            return
        self.blank()
        self.line(gates_headline(gates), "bold" if self.result.passed else "bold red")
        for outcome in worst_first(gates):
            style = "green" if outcome.passed else "red"
            self.wrapped(f"{verdict(outcome)}: {outcome.text}", style, indent=2, most=4)


def _figure_cells(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return "", "", ""
    return (
        figures.rounded(figure.covered),
        figures.rounded(figure.total),
        figures.percent(figure.coverage),
    )
