"""The typefaces of the report, and text measured, cut and wrapped with them.

DejaVu (see ``fonts/LICENSE``) comes with the package: it covers Latin, Greek, Cyrillic, Arabic,
Hebrew and mathematical signs. A character that it lacks is shown as its code point, never as a box.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from importlib.resources import as_file, files

from fpdf import FPDF
from fpdf.fonts import TTFFont

from cleanai_onnx.report.names import ELLIPSIS, printable
from cleanai_onnx.report.scripts import is_right_to_left, joined

__all__ = ["Face", "Style", "Typesetter"]

_MM_PER_POINT = 25.4 / 72
_BREAK = re.compile(r"(?<= )|(?<=\w[-/_])(?=[^\W\d])")
"""A line may break after a space, and within a name after a hyphen, slash or underscore."""
_LONGEST = 4000
"""No name is walked further than this; a page holds about as much."""


class Face(Enum):
    """A typeface: its key in the PDF and its file."""

    TEXT = ("text", "DejaVuSansCondensed.ttf")
    BOLD = ("bold", "DejaVuSansCondensed-Bold.ttf")
    MONO = ("mono", "DejaVuSansMono.ttf")

    @property
    def family(self) -> str:
        """The name under which the face is registered."""
        return str(self.value[0])


@dataclass(frozen=True)
class Style:
    """How a piece of text looks: face, size in points, colour as RGB in 0..255."""

    face: Face
    size: float
    color: tuple[int, int, int]

    def colored(self, color: tuple[int, int, int]) -> Style:
        """Return the style in another colour."""
        return replace(self, color=color)

    def bold(self) -> Style:
        """Return the style in the bold face."""
        return replace(self, face=Face.BOLD)


class Typesetter:
    """Measures and fits text for the fonts that it registers with a document.

    Widths are in millimetres. All text given in is taken as it is: no markup has a meaning.
    """

    def __init__(self, pdf: FPDF) -> None:
        folder = files("cleanai_onnx.report").joinpath("fonts")
        self._fonts: dict[Face, TTFFont] = {}
        self._files = ExitStack()  # glyphs are read when the document is written, not before
        for face in Face:
            path = self._files.enter_context(as_file(folder.joinpath(str(face.value[1]))))
            pdf.add_font(face.family, fname=path)
            font = pdf.fonts[face.family]
            assert isinstance(font, TTFFont)
            self._fonts[face] = font
        self._fitted: dict[tuple[str, Face, float, float], str] = {}
        self._clean: dict[tuple[str, Face], str] = {}

    def close(self) -> None:
        """Let the font files go; the document must have been written."""
        self._files.close()

    def clean(self, text: str, face: Face = Face.TEXT) -> str:
        """Return `text` with what the face cannot show written as code points.

        The order is that of reading; `visual` turns it into that of drawing.
        """
        key = (text, face)
        found = self._clean.get(key)
        if found is None:
            cmap = self._fonts[face].cmap

            def has(character: str) -> bool:
                return ord(character) in cmap

            found = printable(text, _LONGEST, has=has)
            if is_right_to_left(found):
                found = joined(found, has)
            self._clean[key] = found
        return found

    def width(self, text: str, style: Style) -> float:
        """Return the width of clean `text`."""
        widths = self._fonts[style.face].cw
        return sum([widths[ord(c)] for c in text]) * style.size * _MM_PER_POINT / 1000

    def fit(self, text: str, style: Style, width: float) -> str:
        """Return `text` cleaned and, where it is wider than `width`, shortened in the middle."""
        key = (text, style.face, style.size, round(width, 3))
        found = self._fitted.get(key)
        if found is None:
            clean = self.clean(text, style.face)
            found = clean if self.width(clean, style) <= width else self._cut(clean, style, width)
            self._fitted[key] = found
        return found

    def _cut(self, text: str, style: Style, width: float) -> str:
        room = width - self.width(ELLIPSIS, style)
        if room <= 0:
            return ""
        # The end gets the larger share: it is what tells the layers of one model apart.
        tail = self._fitting(text[::-1], style, room * 0.6)
        head = self._fitting(text, style, room - self.width(text[len(text) - tail :], style))
        return text[:head] + ELLIPSIS + text[len(text) - tail :]

    def _fitting(self, text: str, style: Style, width: float) -> int:
        """Return how many of the first characters of `text` fit into `width`."""
        widths = self._fonts[style.face].cw
        room = width / (style.size * _MM_PER_POINT / 1000)
        for position, character in enumerate(text):
            room -= widths[ord(character)]
            if room < 0:
                return position
        return len(text)

    def wrap(self, text: str, style: Style, width: float, most: int | None = None) -> list[str]:
        """Return `text` cleaned and broken into lines.

        Where that takes more than `most` lines, the middle of the text gives way to an ellipsis.
        """
        lines = self._broken(self.clean(text, style.face), style, width)
        share = 0.97
        while most is not None and len(lines) > most:
            lines = self._broken(self.fit(text, style, most * width * share), style, width)
            share -= 0.08  # lines that break early hold less than their width
        return lines

    def _broken(self, text: str, style: Style, width: float) -> list[str]:
        lines: list[str] = []
        line = ""
        for piece in _BREAK.split(text):
            if self.width((line + piece).rstrip(" "), style) <= width:
                line += piece
                continue
            if line:
                lines.append(line.rstrip(" "))
            line = piece
            while self.width(line.rstrip(" "), style) > width:
                cut = max(1, self._fitting(line, style, width))
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line.rstrip(" "))
        return lines
