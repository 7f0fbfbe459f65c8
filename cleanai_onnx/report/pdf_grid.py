"""Tables on paper: repeated headings, right-aligned numbers, cells that keep to their column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    BOTTOM,
    CAPTION,
    HAIRLINE,
    INK,
    LEFT,
    PANEL,
    SMALL,
    TOP,
    Align,
    Sheet,
)
from cleanai_onnx.report.typesetting import Style

__all__ = ["PADDING", "GridCell", "GridColumn", "draw_grid", "grid_height"]

PADDING = 1.6
_LINE = 3.3
_SPARE = 0.9
_SMALLEST = 3.5
"""Points; a number set smaller than this is shortened after all."""


GridCell = str | tuple[str, ...]
"""A cell's text; a tuple begins a new line with each of its parts."""


@dataclass(frozen=True)
class GridColumn:
    """A column: heading, width in millimetres, alignment, and how many lines a cell may take.

    Neighbours with the same `group` get a heading together. A `bar` column draws its cells, ratios
    as decimal text, as bars. Numbers, which are aligned right, are never cut but set smaller.
    """

    heading: str
    width: float
    align: Align = "left"
    lines: int = 1
    style: Style = SMALL
    group: str = ""
    bar: bool = False


def draw_grid(
    sheet: Sheet,
    columns: Sequence[GridColumn],
    rows: Iterable[Sequence[GridCell]],
    *,
    total: Sequence[str] | None = None,
    left: float = LEFT,
    heading: bool = True,
) -> None:
    """Draw rows of text below the cursor, with the heading again on every page.

    The total, if there is one, is kept on the page of the last row's heading or gets its own.
    """
    head = _heading_lines(sheet, columns) if heading else []
    if sheet.y + _height(head) + 3 * (_LINE + _SPARE) > BOTTOM:
        sheet.new_page()
    _draw_heading(sheet, columns, head, left)
    for number, row in enumerate(rows):
        cells = [_lines(sheet, column, text) for column, text in zip(columns, row, strict=True)]
        height = _height(cells)
        if sheet.y + height > BOTTOM and sheet.y > TOP:
            _close(sheet, columns, left)
            sheet.new_page()
            _draw_heading(sheet, columns, head, left)
        if number % 2:
            sheet.rect(left, sheet.y, _width(columns), height, PANEL)
        _draw_cells(sheet, columns, cells, left)
        sheet.y += height
    if total is not None:
        _draw_total(sheet, columns, total, head, left)
    _close(sheet, columns, left)


def grid_height(rows: int) -> float:
    """Return the height of a grid of `rows` rows of one line each, with its heading."""
    return (rows + 1) * (_LINE + _SPARE)


def _width(columns: Sequence[GridColumn]) -> float:
    return sum(column.width for column in columns)


def _height(cells: Sequence[Sequence[str]]) -> float:
    return max((len(lines) for lines in cells), default=0) * _LINE + _SPARE


def _lines(
    sheet: Sheet, column: GridColumn, text: GridCell, style: Style | None = None
) -> list[str]:
    if isinstance(text, tuple):
        return [line for part in text for line in _lines(sheet, column, part, style)]
    if not text:
        return [""]
    style = style or column.style
    if column.bar or column.align == "right":
        return [sheet.type.clean(text)]
    room = column.width - 2 * PADDING
    if column.lines == 1:
        return [sheet.type.fit(text, style, room)]
    return sheet.type.wrap(text, style, room, column.lines)


def _draw_cells(
    sheet: Sheet,
    columns: Sequence[GridColumn],
    cells: Sequence[Sequence[str]],
    left: float,
    style: Style | None = None,
) -> None:
    x = left
    for column, lines in zip(columns, cells, strict=True):
        room = column.width - 2 * PADDING
        for number, line in enumerate(lines):
            baseline = sheet.y + _SPARE / 2 + (number + 0.76) * _LINE
            chosen = style or column.style
            if not line:
                continue
            if column.bar:
                _draw_bar(sheet, float(line), x + PADDING, room)
                continue
            if column.align == "right":
                width = sheet.type.width(line, chosen)
                if width > room:
                    chosen = replace(chosen, size=max(_SMALLEST, chosen.size * room / width))
            sheet.text(line, x + PADDING, baseline, chosen, room + 0.01, column.align)
        x += column.width


def _draw_bar(sheet: Sheet, share: float, x: float, width: float) -> None:
    top = sheet.y + _SPARE / 2 + 0.85
    sheet.rect(x, top, width, 1.6, HAIRLINE)
    if share > 0:
        sheet.rect(x, top, width * min(1.0, share), 1.6, ACCENT)


def _heading_lines(sheet: Sheet, columns: Sequence[GridColumn]) -> list[list[str]]:
    style = CAPTION.bold()
    cells = []
    for column in columns:
        room = column.width - 2 * PADDING
        cells.append(sheet.type.wrap(column.heading, style, room, 3) if column.heading else [""])
    return cells


def _draw_heading(
    sheet: Sheet, columns: Sequence[GridColumn], cells: Sequence[Sequence[str]], left: float
) -> None:
    if not cells:
        _close(sheet, columns, left)
        return
    _draw_groups(sheet, columns, left)
    height = _height(cells)
    most = max(len(lines) for lines in cells)
    # Headings stand on the line below them, whatever their number of lines.
    sunk = [[""] * (most - len(lines)) + list(lines) for lines in cells]
    words = [replace(column, bar=False) for column in columns]
    _draw_cells(sheet, words, sunk, left, CAPTION.bold())
    sheet.y += height
    sheet.line(left, sheet.y, left + _width(columns), sheet.y, ACCENT, 0.35)


def _draw_groups(sheet: Sheet, columns: Sequence[GridColumn], left: float) -> None:
    if not any(column.group for column in columns):
        return
    x = left
    for name, run in groupby(columns, key=lambda column: column.group):
        width = sum(column.width for column in run)
        if name:
            sheet.text(name, x, sheet.y + 3, CAPTION.bold(), width, "center")
            sheet.line(x + PADDING, sheet.y + 4.2, x + width - PADDING, sheet.y + 4.2)
        x += width
    sheet.y += 4.6


def _draw_total(
    sheet: Sheet,
    columns: Sequence[GridColumn],
    total: Sequence[str],
    head: Sequence[Sequence[str]],
    left: float,
) -> None:
    style = SMALL.bold().colored(INK)
    cells = [_lines(sheet, c, text, style) for c, text in zip(columns, total, strict=True)]
    if sheet.y + _height(cells) > BOTTOM:
        _close(sheet, columns, left)
        sheet.new_page()
        _draw_heading(sheet, columns, head, left)
    sheet.line(left, sheet.y, left + _width(columns), sheet.y, ACCENT, 0.35)
    _draw_cells(sheet, columns, cells, left, style)
    sheet.y += _height(cells)


def _close(sheet: Sheet, columns: Sequence[GridColumn], left: float) -> None:
    sheet.line(left, sheet.y, left + _width(columns), sheet.y, HAIRLINE)
