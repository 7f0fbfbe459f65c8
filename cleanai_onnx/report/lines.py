"""Lines of text for one console: its width, its encoding, harmless whatever names they hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cleanai_onnx.report.names import printable, shorten

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Lines", "cells_of"]

_LEAST_WIDTH, _MOST_WIDTH = 60, 110
_ASCII = str.maketrans({"…": "~", "—": "-", "∞": "inf", "·": "|"})


class Lines:
    """Lays lines out for one console.

    Attributes
    ----------
    width
        Columns of the terminal that are used.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = min(_MOST_WIDTH, max(_LEAST_WIDTH, console.width))
        self.encoding = console.encoding or "utf-8"
        self.unicode = self._encodes("…—∞·")

    @property
    def _ellipsis(self) -> str:
        return "…" if self.unicode else "~"

    def _encodes(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def safe(self, text: str) -> str:
        """Return `text` in printable characters that the console's encoding has."""
        if not self.unicode:
            text = text.translate(_ASCII)
        return printable(text, 2000, has=self._encodes)

    def cut(self, text: str, width: int) -> str:
        """Return `text` in at most `width` columns of the terminal."""
        limit = width
        while cells_of(text) > width and limit:
            text = shorten(text, limit, self._ellipsis)
            limit -= 1  # wide characters take two columns: cut until it fits
        return text

    def line(self, text: str, style: str = "") -> None:
        """Print one line, cut to the width."""
        self._print(self.cut(self.safe(text), self.width), style)

    def _print(self, text: str, style: str = "") -> None:
        from rich.text import Text

        # Text, unlike a plain string, has no markup, and nothing in it is highlighted.
        self.console.print(Text(text, style=style), soft_wrap=True)

    def blank(self) -> None:
        """Print an empty line."""
        self._print("")

    def wrapped(self, text: str, style: str = "", *, indent: int = 0, most: int = 6) -> None:
        """Print text on as many lines as it takes, up to `most`."""
        room = self.width - indent - 2
        lines = _folded(self.cut(self.safe(text), room * most), room)
        for number, line in enumerate(lines[: most + 1]):
            self._print(" " * (indent + (2 if number else 0)) + line, style)

    def columns(
        self,
        heading: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        flexible: int,
        strong: Sequence[int],
    ) -> None:
        """Print a table: text to the left, numbers to the right, one column takes what is left."""
        from rich.text import Text

        lines = [[self.safe(cell) for cell in row] for row in (heading, *rows)]
        widths = [max(cells_of(line[i]) for line in lines) for i in range(len(heading))]
        others = sum(width + 2 for i, width in enumerate(widths) if i != flexible)
        widths[flexible] = min(widths[flexible], max(8, self.width - others))
        for number, line in enumerate(lines):
            text = Text(style="dim" if number == 0 else "")
            for i, cell in enumerate(line):
                shown = self.cut(cell, widths[i])
                gap = " " * (widths[i] - cells_of(shown))
                padded = shown + gap if i == flexible else gap + shown
                text.append("  " if i else "")
                text.append(padded, style="bold" if number and i in strong else "")
            text.rstrip()
            self.console.print(text, soft_wrap=True)


def cells_of(text: str) -> int:
    """Return the number of columns that `text` takes on a terminal."""
    from rich.cells import cell_len

    return cell_len(text)


def _folded(text: str, width: int) -> list[str]:
    """Return `text` broken at spaces into lines of at most `width` characters."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if cells_of(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        line = word
        while cells_of(line) > width:
            kept = width if cells_of(line[:width]) <= width else width // 2
            lines.append(line[:kept])
            line = line[kept:]
    lines.append(line)
    return lines
