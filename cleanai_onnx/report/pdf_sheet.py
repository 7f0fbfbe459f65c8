"""The paper of the PDF report: page geometry, colours, text styles, and a cursor that moves down.

Everything is drawn at exact positions with few primitives. That keeps a report of a hundred tables
fast, and adjacent texts apart: each is fitted into the width that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from fpdf import FPDF

from cleanai_onnx.report.names import printable
from cleanai_onnx.report.scripts import is_right_to_left, visual
from cleanai_onnx.report.typesetting import Face, Style, Typesetter

__all__ = [
    "ACCENT",
    "ACCENT_LIGHT",
    "BODY",
    "BOTTOM",
    "CAPTION",
    "GREY",
    "H1",
    "H2",
    "HAIRLINE",
    "INK",
    "LEFT",
    "PANEL",
    "RIGHT",
    "SIGNAL",
    "SMALL",
    "TOP",
    "WHITE",
    "WIDTH",
    "Align",
    "Color",
    "Sheet",
]

Color = tuple[int, int, int]
Align = Literal["left", "right", "center"]

INK: Color = (27, 31, 36)
GREY: Color = (96, 106, 117)
HAIRLINE: Color = (208, 214, 221)
PANEL: Color = (244, 246, 248)
ACCENT: Color = (11, 92, 122)
ACCENT_LIGHT: Color = (142, 190, 207)
SIGNAL: Color = (179, 38, 30)
"""Kept for channels that never fired, and gates that failed."""
WHITE: Color = (255, 255, 255)

H1 = Style(Face.BOLD, 17, INK)
H2 = Style(Face.BOLD, 11.5, INK)
BODY = Style(Face.TEXT, 9, INK)
SMALL = Style(Face.TEXT, 7.6, INK)
CAPTION = Style(Face.TEXT, 7.6, GREY)

PAGE_WIDTH, PAGE_HEIGHT = 210.0, 297.0
LEFT, RIGHT = 20.0, 190.0
WIDTH = RIGHT - LEFT
TOP, BOTTOM = 27.0, 277.0
"""First and last millimetre of the area that content may use."""

_LEADING = 1.42


class Sheet:
    """A PDF document with a cursor `y` (millimetres from the top of the page).

    Parameters
    ----------
    title, author, subject
        The document's metadata.
    created
        The creation date; with it, the same content gives the same bytes.
    head
        Text on the left and on the right of each page's header, the first page apart.
    foot
        Text on the left of each page's footer.

    Attributes
    ----------
    outline
        Title, level and page of every bookmark so far.
    """

    def __init__(
        self,
        *,
        title: str,
        author: str,
        subject: str,
        created: datetime | None,
        head: tuple[str, str],
        foot: str,
    ) -> None:
        self.pdf = FPDF(unit="mm", format="A4")
        self.pdf.set_auto_page_break(False)
        self.pdf.set_margin(0)
        self.pdf.alias_nb_pages("")  # nothing in a name may turn into a page count
        self.type = Typesetter(self.pdf)
        self.pdf.set_title(self.type.clean(title))
        self.pdf.set_author(author)
        self.pdf.set_creator(author)
        self.pdf.set_subject(self.type.clean(subject))
        self.pdf.set_lang("en")
        self.pdf.set_creation_date(created or datetime(1970, 1, 1, tzinfo=UTC))
        self.pdf.set_display_mode("fullpage")
        self._head = head
        self._foot = foot
        self.outline: list[tuple[str, int, int]] = []
        self.y = TOP

    # Pages

    @property
    def page(self) -> int:
        """Number of the current page, from 1."""
        return self.pdf.page

    def new_page(self) -> None:
        """Begin a page and put the cursor at its top."""
        self.pdf.add_page()
        self.y = TOP

    def room(self, height: float) -> bool:
        """Make room for `height` millimetres; return whether that took a new page."""
        if self.y + height <= BOTTOM:
            return False
        self.new_page()
        return True

    def turn_to(self, page: int) -> None:
        """Go back to an earlier page, to write what was not known when it was made."""
        pdf = self.pdf
        pdf.page = page
        # fpdf2 leaves out operators that repeat the state it knows, but this page may have ended in
        # another state: change it twice, and it is written.
        pdf.current_font_is_set_on_page = False
        for color in (WHITE, (0, 0, 0)):
            pdf.set_draw_color(*color)
            pdf.set_fill_color(*color)

    def finish(self) -> bytes:
        """Write headers and footers and return the document."""
        last = self.pdf.pages_count
        style = CAPTION
        for page in range(1, last + 1):
            self.turn_to(page)
            if page > 1:
                self.text(self._head[0], LEFT, 15.5, style, WIDTH * 0.6)
                self.text(self._head[1], LEFT + WIDTH * 0.62, 15.5, style, WIDTH * 0.38, "right")
                self.line(LEFT, 18, RIGHT, 18)
            self.text(self._foot, LEFT, 286, style, WIDTH * 0.7)
            self.text(f"Page {page:,} of {last:,}", RIGHT - 50, 286, style, 50, "right")
        content = bytes(self.pdf.output())
        self.type.close()
        return content

    # Marks

    def text(
        self,
        text: str,
        x: float,
        baseline: float,
        style: Style,
        width: float,
        align: Align = "left",
    ) -> float:
        """Write one line, shortened to `width`, and return the width that it took."""
        if not text:
            return 0.0
        shown = self.type.fit(text, style, width)
        taken = self.type.width(shown, style)
        if align == "right":
            x += width - taken
        elif align == "center":
            x += (width - taken) / 2
        self.pdf.set_font(style.face.family, size=style.size)
        self.pdf.set_text_color(*style.color)
        self.pdf.text(x, baseline, visual(shown) if is_right_to_left(shown) else shown)
        return taken

    def rect(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """Fill a rectangle."""
        self.pdf.set_fill_color(*color)
        self.pdf.rect(x, y, width, height, style="F")

    def frame(self, x: float, y: float, width: float, height: float) -> None:
        """Draw the outline of a rectangle as a hairline."""
        self.pdf.set_line_width(0.2)
        self.pdf.set_draw_color(*HAIRLINE)
        self.pdf.rect(x, y, width, height, style="D")

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        color: Color = HAIRLINE,
        thickness: float = 0.2,
    ) -> None:
        """Draw a straight line."""
        self.pdf.set_line_width(thickness)
        self.pdf.set_draw_color(*color)
        self.pdf.line(x1, y1, x2, y2)

    # Running text

    def paragraph(
        self,
        text: str,
        style: Style = BODY,
        *,
        x: float = LEFT,
        width: float = WIDTH,
        most: int | None = None,
        after: float = 1.5,
    ) -> None:
        """Write wrapped text at the cursor, over as many pages as it takes."""
        leading = style.size * 0.3528 * _LEADING
        for line in self.type.wrap(text, style, width, most):
            self.room(leading)
            self.text(line, x, self.y + leading * 0.74, style, width)
            self.y += leading
        self.y += after

    def fields(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        x: float,
        width: float,
        label: float,
        most: int = 2,
        mono: frozenset[str] = frozenset(),
    ) -> None:
        """Write names and values in two columns, the names `label` millimetres wide."""
        step = 4.5
        for name, value in pairs:
            style = Style(Face.MONO, 7.2, INK) if name in mono else BODY.colored(INK)
            lines = self.type.wrap(value, style, width - label, most)
            self.room(step * len(lines))
            self.text(name, x, self.y + 3.2, BODY.colored(GREY), label - 2)
            for line in lines:
                self.text(line, x + label, self.y + 3.2, style, width - label)
                self.y += step
            self.y += 0.3

    # Structure

    def section(
        self, title: str, *, level: int = 0, new_page: bool = True, keep: float = 24.0
    ) -> None:
        """Begin a section: a heading on the page and an entry in the outline.

        Without `new_page` it stays on this page if `keep` millimetres are left there.
        """
        if new_page:
            self.new_page()
        elif not self.room(keep) and level == 0 and self.y > TOP:
            self.y += 5
        self.bookmark(title, level)
        style, height = (H1, 11.0) if level == 0 else (H2, 7.5)
        width = self.type.width(self.type.clean(title), style)
        if width > WIDTH:
            style = replace(style, size=style.size * max(0.75, WIDTH / width))
        self.text(title, LEFT, self.y + height * 0.6, style, WIDTH)
        self.y += height

    def bookmark(self, title: str, level: int = 0) -> None:
        """Add an entry to the outline that leads to the cursor's position."""
        self.pdf.set_y(max(0.0, self.y - 4))
        self.pdf.start_section(printable(title, 120), level)
        self.outline.append((title, level, self.page))
