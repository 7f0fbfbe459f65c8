"""Explanations written down: a JSON file that grows image by image, and a short table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cleanai_onnx.report import figures
from cleanai_onnx.report.destination import GrowingFile
from cleanai_onnx.report.json import text_of
from cleanai_onnx.report.lines import Lines
from cleanai_onnx.report.names import file_stem, named
from cleanai_onnx.result import SkippedImage

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FORMAT_VERSION", "ExplainedImage", "ExplanationFile", "Summary", "heat_map_name"]

FORMAT_VERSION = 1
_ROWS = 10
_SKIPPED = 3


@dataclass(frozen=True)
class ExplainedImage:
    """One image in the JSON file.

    Attributes
    ----------
    path, index
        The image's name and its position in the suite.
    target
        The class that is explained; None if that is the whole output, or a class for each
        position.
    value
        f(x), the relevance at the start.
    arrived, biases, others
        Where it went: to the input, to biases and other constants, and what was lost where a rule
        conserves nothing.
    residual
        What none of these accounts for.
    scale
        The relevance of a pixel that has full colour in the heat map.
    heat_map
        The file of the heat map; None where relevance is not finite.
    """

    path: str
    index: int
    target: int | None
    value: float
    arrived: float
    biases: float
    others: float
    residual: float
    scale: float | None
    heat_map: str | None


class ExplanationFile:
    """A JSON file whose member ``images`` grows while memory stays flat.

    Raises
    ------
    OutputError
        If it cannot be written, now or later.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = GrowingFile(path)
        self._separator = "{\n"
        self._has_images = False

    def add_members(self, members: Mapping[str, object]) -> None:
        """Append members of the document; before the first image, or after the last."""
        if self._has_images:
            self._file.write("\n ]")
            self._has_images = False
        for name, member in members.items():
            self._file.write(f"{self._separator} {text_of(name)}: {text_of(member, ' ').lstrip()}")
            self._separator = ",\n"

    def add(self, image: ExplainedImage) -> None:
        """Append an image."""
        lead = ",\n" if self._has_images else f'{self._separator} "images": [\n'
        self._file.write(lead + text_of(image, "  "))
        self._separator, self._has_images = ",\n", True

    def finish(self) -> Path:
        """Complete the document and put it in its place."""
        self.add_members({})
        self._file.write("\n}\n")
        return self._file.finish()

    def discard(self) -> None:
        """Remove the document if it is not finished."""
        self._file.discard()


def heat_map_name(index: int, count: int, image: str) -> str:
    """Return the name of an image's heat map: its index among `count`, and its own name."""
    digits = len(str(max(count - 1, 0)))
    return f"{index:0{digits}}_{file_stem(os.path.splitext(image)[0])}.png"


@dataclass
class Summary:
    """What is printed when all images are explained.

    Attributes
    ----------
    model, source, composite, start
        Names of the model, the images, the composite, and the tensor that relevance starts from.
    explained, found
        How many images were explained, and how many there are.
    seconds
        The time it took.
    without_rule
        Nodes that were passed by gradient x input.
    skipped
        Images that cannot be used.
    not_finite
        How many images have relevance that is not finite, so that there is no heat map.
    notes
        Further sentences.
    """

    model: str
    source: str
    composite: str
    start: str
    explained: int = 0
    found: int = 0
    seconds: float = 0.0
    without_rule: Sequence[str] = ()
    skipped: Sequence[SkippedImage] = ()
    not_finite: int = 0
    notes: Sequence[str] = ()
    _rows: list[ExplainedImage] = field(default_factory=list)

    def add(self, image: ExplainedImage) -> None:
        """Count an image; the first few are shown."""
        self.explained += 1
        self.not_finite += image.heat_map is None
        if len(self._rows) < _ROWS:
            self._rows.append(image)

    def show(self, console: Console) -> None:
        """Print the summary in the console's width."""
        lines = Lines(console)
        lines.line(f"{named(self.model)}: relevance by {self.composite}", "bold")
        lines.line(
            f"{self.explained:,} of {self.found:,} images from {named(self.source)}, "
            f"{figures.duration(self.seconds)}, from the tensor {named(self.start)}",
            "dim",
        )
        lines.blank()
        heading = ["Image", "target", "value", "to pixels", "to biases", "elsewhere"]
        rows = [
            [
                named(image.path),
                "output" if image.target is None else str(image.target),
                figures.value(float(f"{image.value:.5g}")),
                *(figures.share(part, image.value) for part in
                  (image.arrived, image.biases, image.others + image.residual)),
            ]
            for image in self._rows
        ]  # fmt: skip
        lines.columns(heading, rows, flexible=0, strong=(2,))
        if self.explained > len(self._rows):
            lines.line(f"and {self.explained - len(self._rows):,} more, in the JSON file")
        self._show_remarks(lines)

    def _show_remarks(self, lines: Lines) -> None:
        if self.without_rule:
            nodes = ", ".join(self.without_rule[:5])
            more = len(self.without_rule) - 5
            lines.wrapped(
                f"No rule is known for {nodes}" + (f" and {more:,} more" if more > 0 else "") + ": "
                "passed by gradient x input, which conserves relevance only in part.",
                "yellow",
            )
        if self.not_finite:
            count = f"{self.not_finite:,} image{'s' if self.not_finite > 1 else ''}"
            lines.wrapped(f"No heat map for {count}: the relevance is not finite.", "yellow")
        if self.skipped:
            lines.line(f"Skipped images: {len(self.skipped):,}", "yellow")
            for image in self.skipped[:_SKIPPED]:
                lines.wrapped(f"{named(image.path)}: {image.reason}", indent=2, most=2)
            if len(self.skipped) > _SKIPPED:
                lines.line(f"  and {len(self.skipped) - _SKIPPED:,} more, named in the JSON file")
        for note in self.notes:
            lines.wrapped(f"Note: {note}", most=4)
