"""The terminal summary: what one reads when the run is over, in 80 columns.

On a terminal it has a little colour; in a pipe, a log or a test it is plain text. Whatever the
model and the files are called, the terminal only ever gets printable characters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from cleanai_onnx.report.names import named, printable, shorten
from cleanai_onnx.result import Result, View

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["summary"]

_LEAST_WIDTH, _MOST_WIDTH = 60, 110
_LOWEST = 5
_SKIPPED = 3
_ASCII = str.maketrans({"…": "~", "—": "-", "∞": "inf", "·": "|"})


def summary(result: Result, console: Console) -> None:
    """Print a summary of `result`: totals, the layers with the lowest coverage, what was left out.

    Colours follow the console: none in a file or a pipe, none where ``NO_COLOR`` is set.
    """
    _Printer(result, console).everything()


class _Printer:
    """Lays the lines out for one console: its width, its encoding."""

    def __init__(self, result: Result, console: Console) -> None:
        self.result = result
        self.console = console
        self.width = min(_MOST_WIDTH, max(_LEAST_WIDTH, console.width))
        self.encoding = console.encoding or "utf-8"
        self.unicode = self._encodes("…—∞·")

    def everything(self) -> None:
        result = self.result
        images, model, run = result.images, result.model, result.run
        count = len(result.layers)
        layers = "1 layer" if count == 1 else f"{count:,} layers"
        self._line(f"{named(model.name)}: coverage of {layers}", "bold")
        self._line(
            f"{images.used:,} of {images.found:,} images from {named(images.source)}, "
            f"{run.device}, {figures.duration(sum(run.seconds.values()))}",
            "dim",
        )
        if model.conversion is not None:
            self._wrapped(f"The file says: {origin(model.conversion)}", "dim", most=3)
        elif model.conversion_remark:
            self._wrapped(f"Note: {model.conversion_remark}", most=3)
        self._verdicts()
        self._other_totals()
        self._lowest_layers()
        self._silent_channels()
        self._left_out()

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
        self._blank()
        self._columns(heading, rows, flexible=0, strong=(3, 6))

    def _other_totals(self) -> None:
        for table in other_totals(self.result):
            assert table.total is not None
            totals = [
                self._safe(f"{column.name} {figures.cell_text(cell, column)}")
                for column, cell in zip(table.columns, table.total, strict=True)
                if column.kind != "text"
            ]
            line = self._safe(f"  {table.metric}, {table.view} view:")
            for number, total in enumerate(totals, 1):
                # A total stays on one line with its name, whatever spaces that has.
                piece = total + ("," if number < len(totals) else "")
                if _cells_of(line) + 1 + _cells_of(piece) > self.width:
                    self._line(line)
                    line = "   "
                line += " " + piece
            self._line(line)

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
        self._blank()
        heading = ["#", "Layers with the lowest coverage", f"{metric}, {view}s", "never fired"]
        self._columns(heading, rows, flexible=1, strong=(2,))

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
        self._blank()
        self._wrapped(said, "bold red" if asleep else "")
        for layer in asleep[:_LOWEST]:
            title = self._cut(self._safe(layer_title(layer.layer)), self.width - 30)
            self._line(f"  all of layer {layer.index}, {title}")
        if len(asleep) > _LOWEST:
            self._line(f"  and all of {len(asleep) - _LOWEST:,} more layers")

    def _left_out(self) -> None:
        skipped = self.result.images.skipped
        if skipped:
            self._line(f"Skipped images: {len(skipped):,}", "yellow")
            for image in skipped[:_SKIPPED]:
                self._wrapped(f"{named(image.path)}: {image.reason}", indent=2, most=2)
            if len(skipped) > _SKIPPED:
                self._line(f"  and {len(skipped) - _SKIPPED:,} more, named in the report")
        untapped = self.result.model.untapped
        if untapped:
            self._line(f"Activations not measured: {len(untapped):,}", "yellow")
        for note in self.result.notes:
            self._wrapped(f"Note: {note.text} [{note.slug}]", most=4)

    # Lines

    @property
    def _ellipsis(self) -> str:
        return "…" if self.unicode else "~"

    def _encodes(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def _safe(self, text: str) -> str:
        """Return `text` in printable characters that the console's encoding has."""
        if not self.unicode:
            text = text.translate(_ASCII)
        return printable(text, 2000, has=self._encodes)

    def _cut(self, text: str, width: int) -> str:
        """Return `text` in at most `width` columns of the terminal."""
        limit = width
        while _cells_of(text) > width and limit:
            text = shorten(text, limit, self._ellipsis)
            limit -= 1  # wide characters take two columns: cut until it fits
        return text

    def _line(self, text: str, style: str = "") -> None:
        """Print one line, cut to the width."""
        self._print(self._cut(self._safe(text), self.width), style)

    def _print(self, text: str, style: str = "") -> None:
        from rich.text import Text

        # Text, unlike a plain string, has no markup, and nothing in it is highlighted.
        self.console.print(Text(text, style=style), soft_wrap=True)

    def _blank(self) -> None:
        self._print("")

    def _wrapped(self, text: str, style: str = "", *, indent: int = 0, most: int = 6) -> None:
        """Print text on as many lines as it takes, up to `most`."""
        room = self.width - indent - 2
        lines = _folded(self._cut(self._safe(text), room * most), room)
        for number, line in enumerate(lines[: most + 1]):
            self._print(" " * (indent + (2 if number else 0)) + line, style)

    def _columns(
        self,
        heading: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        flexible: int,
        strong: Sequence[int],
    ) -> None:
        """Print a table: text to the left, numbers to the right, one column takes what is left."""
        from rich.text import Text

        lines = [[self._safe(cell) for cell in row] for row in (heading, *rows)]
        widths = [max(_cells_of(line[i]) for line in lines) for i in range(len(heading))]
        others = sum(width + 2 for i, width in enumerate(widths) if i != flexible)
        widths[flexible] = min(widths[flexible], max(8, self.width - others))
        for number, line in enumerate(lines):
            text = Text(style="dim" if number == 0 else "")
            for i, cell in enumerate(line):
                shown = self._cut(cell, widths[i])
                gap = " " * (widths[i] - _cells_of(shown))
                padded = shown + gap if i == flexible else gap + shown
                text.append("  " if i else "")
                text.append(padded, style="bold" if number and i in strong else "")
            text.rstrip()
            self.console.print(text, soft_wrap=True)


def _cells_of(text: str) -> int:
    """Return the number of columns that `text` takes on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def _figure_cells(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return "", "", ""
    return (
        figures.rounded(figure.covered),
        figures.rounded(figure.total),
        figures.percent(figure.coverage),
    )


def _folded(text: str, width: int) -> list[str]:
    """Return `text` broken at spaces into lines of at most `width` characters."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if _cells_of(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        line = word
        while _cells_of(line) > width:
            kept = width if _cells_of(line[:width]) <= width else width // 2
            lines.append(line[:kept])
            line = line[kept:]
    lines.append(line)
    return lines
