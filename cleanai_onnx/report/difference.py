"""Two results side by side on the terminal: what changed, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from cleanai_onnx.difference import Difference, LayerChange, MetricChange
from cleanai_onnx.report import figures
from cleanai_onnx.report.json import text_of
from cleanai_onnx.report.lines import Lines
from cleanai_onnx.report.names import named, ranges

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "DifferenceLines",
    "as_json",
    "changed",
    "figure",
    "headings",
    "matched_by",
    "most_changed",
    "signed",
]

_LAYERS = 5
_NAMES = 8


def as_json(difference: object) -> bytes:
    """Return a difference as the bytes of a JSON file."""
    return (text_of(difference) + "\n").encode("utf-8")


def headings(difference: Difference) -> list[str]:
    """Return one line for each side: model, images, when."""
    return [
        f"{word}: {named(side.model)}, {side.images:,} images from {named(side.source)}, "
        f"{side.started.replace('T', ' ', 1)}"
        for word, side in (("old", difference.old), ("new", difference.new))
    ]


def figure(number: float | None, kind: Literal["ratio", "value"]) -> str:
    """Return a number as its kind says."""
    return figures.percent(number) if kind == "ratio" else figures.value(number)


def signed(change: float | None, kind: Literal["ratio", "value"]) -> str:
    """Return a change with its sign; of a ratio in percentage points."""
    if change is None:
        return figures.NOTHING
    if change == 0:
        return "="
    sign = "+" if change > 0 else "-"
    if kind == "value":
        return sign + figures.value(abs(change)).lstrip("-")
    points = f"{100 * abs(change):,.2f}"
    return f"{sign}{points}" if float(points.replace(",", "")) else f"{sign}<0.01"


def changed(difference: Difference) -> tuple[MetricChange, ...]:
    """Return the metrics that changed, were measured otherwise, or that only one side has."""
    return tuple(
        one for one in difference.metrics if one.differs or (one.change != 0 and one.old != one.new)
    )


def most_changed(layers: Sequence[LayerChange], most: int) -> list[LayerChange]:
    """Return the coverages of layers that changed most, the largest change first."""
    # How the values are spread over the intervals of mnc is no coverage.
    moved = [
        one for one in layers
        if one.kind == "ratio" and one.change and not one.metric.startswith("mnc[")
    ]  # fmt: skip
    return sorted(moved, key=lambda one: -abs(one.change or 0))[:most]


def matched_by(difference: Difference) -> str:
    """Say how many layers correspond, and by what they were matched."""
    pairs = difference.pairs
    ways = [
        f"{count:,} by {way}"
        for way in ("name", "label", "position")
        if (count := sum(pair.by == way for pair in pairs))
    ]
    said = f"{len(pairs):,} layers correspond"
    return f"{said} ({', '.join(ways)})" if ways else said


class DifferenceLines(Lines):
    """Prints a difference."""

    def __init__(self, difference: Difference, console: Console) -> None:
        super().__init__(console)
        self.difference = difference

    def everything(self) -> None:
        """Print all of it."""
        found = self.difference
        for line in headings(found):
            self.wrapped(line, "bold" if line.startswith("new") else "dim", most=2)
        if found.same_model:
            self.line("The model is the same file.", "dim")
        for setting in found.settings:
            self.wrapped(f"Other setting: {setting.name}, {setting.old} -> {setting.new}", most=3)
        self.metrics()
        self.layers()
        self.channels()

    def metrics(self) -> None:
        """Print the metrics that changed, and how many did not."""
        shown = changed(self.difference)
        if shown:
            rows = [
                [
                    one.metric,
                    f"{one.view}s",
                    figure(one.old, one.kind),
                    figure(one.new, one.kind),
                    signed(one.change, one.kind),
                ]
                for one in shown
            ]
            self.blank()
            self.columns(["Metric", "of", "old", "new", "change"], rows, flexible=0, strong=(4,))
        unchanged = len(self.difference.metrics) - len(shown)
        if not shown:
            self.line("All figures are the same.", "dim")
        elif unchanged:
            are = "figure is" if unchanged == 1 else "figures are"
            self.line(f"{unchanged:,} other {are} the same.", "dim")
        for reason in dict.fromkeys(one.differs for one in shown if one.differs):
            metrics = dict.fromkeys(one.metric for one in shown if one.differs == reason)
            self.wrapped(f"Not comparable: {', '.join(metrics)}; {reason}", most=4)

    def layers(self) -> None:
        """Print the layers that changed most, and those without a counterpart."""
        found = self.difference
        shown = most_changed(found.layers, _LAYERS)
        if shown:
            rows = [
                [
                    named(found.titles.get(one.layer, one.layer)),
                    f"{one.metric}, {one.view}s",
                    figure(one.old, one.kind),
                    figure(one.new, one.kind),
                    signed(one.change, one.kind),
                ]
                for one in shown
            ]
            self.blank()
            heading = ["Layers that changed most", "", "old", "new", "change"]
            self.columns(heading, rows, flexible=0, strong=(4,))
        self.blank()
        self.line(matched_by(found))
        for word, names in (("old", found.only_old), ("new", found.only_new)):
            if names:
                self.wrapped(f"Only in the {word} model: {_listed(names)}", most=4)

    def channels(self) -> None:
        """Print which channels fell silent, and which fire now."""
        for what, changes, style in (
            ("Channels that never fire any more", self.difference.silenced, "red"),
            ("Channels that fire now", self.difference.awakened, ""),
        ):
            count = sum(len(one.channels) for one in changes)
            if count:
                self.line(f"{what}: {count:,}", style)
                for one in changes[:_NAMES]:
                    title = self.difference.titles.get(one.layer, one.layer)
                    self.line(f"  {named(title)}: {ranges(one.channels)}")
                if len(changes) > _NAMES:
                    self.line(f"  and those of {len(changes) - _NAMES:,} more layers")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(named, names[:_NAMES]))
    return shown + (f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else "")
