"""Two models over the same images, in words: for the terminal and the PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleanai_onnx.difference import Comparison, Disagreement
from cleanai_onnx.report import figures
from cleanai_onnx.report.difference import DifferenceLines
from cleanai_onnx.report.gates import headline, verdict, worst_first
from cleanai_onnx.report.names import named

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ComparisonLines", "class_pair", "described_outputs", "small"]

_WORST = 5
_SKIPPED = 3


def described_outputs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return how far the outputs are from each other, as labels and texts."""
    found = comparison.outputs
    if found is None:
        return [("Outputs", f"not compared: {comparison.outputs_remark}")]
    name = named(found.old) if found.old == found.new else f"{named(found.old)}, {named(found.new)}"
    shape = " x ".join(map(str, found.shape)) or "one value"
    rows = [("Outputs", f"{name}: {shape}")]
    if found.agreeing is not None:
        share = figures.percent(found.agreeing / found.images) if found.images else figures.NOTHING
        rows.append(
            ("Arg max", f"the same for {found.agreeing:,} of {found.images:,} images ({share})")
        )
    if found.maximum is not None:
        mean = "" if found.mean is None else f", on average {small(found.mean)}"
        rows.append(
            (
                "Difference",
                f"at most {small(found.maximum)} ({named(found.maximum_image)}){mean}; the outputs "
                f"of the old model reach {small(found.magnitude)}",
            )
        )
    if found.relative is not None:
        rows.append(
            (
                "Relative",
                f"at most {figures.share(found.relative, 1)} of the image's largest output "
                f"({named(found.relative_image)})",
            )
        )
    if found.not_finite:
        images = "image" if found.not_finite == 1 else "images"
        rows.append(("Not finite", f"the outputs for {found.not_finite:,} {images}"))
    return rows


def small(number: float | None) -> str:
    """Return a difference with three significant digits."""
    return figures.NOTHING if number is None else f"{number:.3g}"


def class_pair(one: Disagreement) -> str:
    """Return the classes that the two models choose."""
    if one.old_class is None or one.new_class is None:
        return ""
    if one.old_class == one.new_class:
        return f"both {one.old_class}"
    return f"{one.old_class} -> {one.new_class}"


class ComparisonLines(DifferenceLines):
    """Prints a comparison."""

    def __init__(self, comparison: Comparison, console: Console) -> None:
        super().__init__(comparison.difference, console)
        self.comparison = comparison

    def everything(self) -> None:
        """Print all of it."""
        found = self.comparison
        old, new = found.difference.old, found.difference.new
        self.line(f"{named(old.model)} (old) and {named(new.model)} (new)", "bold")
        once = "decoded once" if found.decoded_once else "decoded for each"
        self.line(
            f"{new.images:,} of {found.found:,} images from {named(new.source)}, {once}, "
            f"{found.device}, {figures.duration(found.seconds)}",
            "dim",
        )
        if found.difference.same_model:
            self.line("Both are the same file.", "yellow")
        self.blank()
        for label, text in described_outputs(found):
            self.wrapped(f"{label}: {text}", "bold" if label == "Arg max" else "", most=3)
        self._worst()
        for setting in found.difference.settings:
            self.wrapped(f"Other setting: {setting.name}, {setting.old} -> {setting.new}", most=3)
        self.metrics()
        self.layers()
        self.channels()
        self._left_out()
        self._gates()

    def _worst(self) -> None:
        shown = self.comparison.disagreements[:_WORST]
        if not shown:
            if self.comparison.outputs is not None:
                self.line("The outputs are the same, value for value.")
            return
        rows = [
            [
                named(one.path),
                class_pair(one),
                small(one.difference),
                figures.NOTHING if one.relative is None else figures.share(one.relative, 1),
            ]
            for one in shown
        ]
        self.blank()
        heading = ["Images on which they disagree most", "class", "difference", "relative"]
        self.columns(heading, rows, flexible=0, strong=(1,))

    def _left_out(self) -> None:
        skipped = self.comparison.skipped
        if skipped:
            self.line(f"Skipped images: {len(skipped):,}", "yellow")
            for image in skipped[:_SKIPPED]:
                self.wrapped(f"{named(image.path)}: {image.reason}", indent=2, most=2)
        for note in self.comparison.notes:
            self.wrapped(f"Note: {note.text} [{note.slug}]", most=4)

    def _gates(self) -> None:
        gates = self.comparison.gates
        if not gates:
            return
        self.blank()
        self.line(headline(gates), "bold" if self.comparison.passed else "bold red")
        for outcome in worst_first(gates):
            style = "green" if outcome.passed else "red"
            self.wrapped(f"{verdict(outcome)}: {outcome.text}", style, indent=2, most=4)
