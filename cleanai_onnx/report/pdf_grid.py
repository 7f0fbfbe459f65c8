"""Tables on paper: repeated headings, right-aligned numbers, cells that keep within their column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cleanai_onnx.report.fonts import Style
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

__all__ = ["GridColumn", "draw_grid"]

PADDING = 1.6
_LINE = 3.5
_SPARE = 1.05


@dataclass(frozen=True)
class GridColumn:
    """A column: heading, width in millimetres, alignment, and how many lines a cell may take."""

    heading: str
    width: float
    align: Align = "left"
    lines: int = 1
    style: Style = SMALL


def draw_grid(
    sheet: Sheet,
    columns: Sequence[GridColumn],
    rows: Iterable[Sequence[str]],
    *,
    total: Sequence[str] | None = None,
    left: float = LEFT,
    stripes: bool = True,
) -> None:
    """Draw rows of text below the cursor, with the heading again on every page.

    The total, if there is one, is kept on the page of the last row's heading or gets its own.
    """
    heading = _heading_lines(sheet, columns)
    if sheet.y + _height(heading) + 3 * (_LINE + _SPARE) > BOTTOM:
        sheet.new_page()
    _draw_heading(sheet, columns, heading, left)
    for number, row in enumerate(rows):
        cells = [_lines(sheet, column, text) for column, text in zip(columns, row, strict=True)]
        height = _height(cells)
        if sheet.y + height > BOTTOM and sheet.y > TOP:
            _close(sheet, columns, left)
            sheet.new_page()
            _draw_heading(sheet, columns, heading, left)
        if stripes and number % 2:
            sheet.rect(left, sheet.y, _width(columns), height, PANEL)
        _draw_cells(sheet, columns, cells, left)
        sheet.y += height
    if total is not None:
        _draw_total(sheet, columns, total, heading, left)
    _close(sheet, columns, left)


def _width(columns: Sequence[GridColumn]) -> float:
    return sum(column.width for column in columns)


def _height(cells: Sequence[Sequence[str]]) -> float:
    return max(len(lines) for lines in cells) * _LINE + _SPARE


def _lines(sheet: Sheet, column: GridColumn, text: str, style: Style | None = None) -> list[str]:
    if not text:
        return [""]
    style = style or column.style
    room = column.width - 2 * PADDING
    if column.lines == 1:
        return [sheet.type.fit(text, style, room)]
    return sheet.type.wrap(text, style, room, column.lines)


def _draw_cells(
    sheet: Sheet, columns: Sequence[GridColumn], cells: Sequence[Sequence[str]], left: float,
    style: Style | None = None,
) -> None:
    x = left
    for column, lines in zip(columns, cells, strict=True):
        for number, line in enumerate(lines):
            if line:
                baseline = sheet.y + _SPARE / 2 + (number + 0.76) * _LINE
                room = column.width - 2 * PADDING
                sheet.text(
                    line, x + PADDING, baseline, style or column.style, room + 0.01, column.align
                )
        x += column.width


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
    height = _height(cells)
    most = max(len(lines) for lines in cells)
    # Headings stand on the line below them, whatever their number of lines.
    sunk = [[""] * (most - len(lines)) + list(lines) for lines in cells]
    _draw_cells(sheet, columns, sunk, left, CAPTION.bold())
    sheet.y += height
    sheet.line(left, sheet.y, left + _width(columns), sheet.y, ACCENT, 0.35)


def _draw_total(
    sheet: Sheet, columns: Sequence[GridColumn], total: Sequence[str],
    heading: Sequence[Sequence[str]], left: float,
) -> None:
    style = SMALL.bold().colored(INK)
    cells = [_lines(sheet, c, text, style) for c, text in zip(columns, total, strict=True)]
    if sheet.y + _height(cells) > BOTTOM:
        _close(sheet, columns, left)
        sheet.new_page()
        _draw_heading(sheet, columns, heading, left)
    sheet.line(left, sheet.y, left + _width(columns), sheet.y, ACCENT, 0.35)
    _draw_cells(sheet, columns, cells, left, style)
    sheet.y += _height(cells)


def _close(sheet: Sheet, columns: Sequence[GridColumn], left: float) -> None:
    sheet.line(left, sheet.y, left + _width(columns), sheet.y, HAIRLINE)
