"""The full tables of the PDF report: every metric in every neuron view, a row for each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import layer_numbers, layer_title, one_row_a_layer
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_grid import PADDING, GridCell, GridColumn, draw_grid, grid_height
from cleanai_onnx.report.pdf_sheet import BOTTOM, CAPTION, GREY, SMALL, TOP, WIDTH, Sheet
from cleanai_onnx.report.typesetting import Style
from cleanai_onnx.result import Cell, Result, Table

__all__ = ["begin_table", "draw_layer_index", "table_title"]

_TIMES = "\N{MULTIPLICATION SIGN}"
_INDEX = 9.0
_NARROWEST_TEXT = 34.0
_ENOUGH_TEXT = 62.0
_NARROWEST_BAR, _WIDEST_BAR = 15.0, 40.0
_NUMBER = (21.0, 36.0)
_CLOSE = (11.0, 36.0)
"""The least and the largest width of a column of numbers, and where there are many of them."""
_PROSE_LINES = 4
_MOST_LINES = 8
_NO_BREAK = "\N{NO-BREAK SPACE}"


def table_title(table: Table) -> str:
    """Return the heading of a table: metric, name and neuron view."""
    return f"{table.metric} · {table.title} · {table.view} view"


def begin_table(sheet: Sheet, result: Result, table: Table) -> None:
    """Draw a table with its heading, on a new page where it would be torn apart needlessly."""
    height = _table_height(sheet, table)
    room = BOTTOM - sheet.y
    torn = height > room and (height <= BOTTOM - TOP or room < 90)
    sheet.section(table_title(table), level=1, new_page=torn)
    _draw_table(sheet, result, table)


def _draw_table(sheet: Sheet, result: Result, table: Table) -> None:
    """Draw a table below the cursor: definition, source, parameters, then the numbers."""
    for text, style in _introduction(table):
        sheet.paragraph(text, style, most=_MOST_LINES, after=0.4)
    sheet.y += 1.2
    prose = _prose(table)
    texts = [i for i, c in enumerate(table.columns) if c.kind == "text" and i not in prose]
    numbers = [i for i, column in enumerate(table.columns) if column.kind != "text"]
    widths = [_natural_width(sheet, table, i) for i in numbers]
    taken = len(texts) * (_NARROWEST_TEXT + _INDEX) + len(prose) * _NARROWEST_TEXT
    if taken + sum(widths) > WIDTH:
        widths = [_natural_width(sheet, table, i, _CLOSE) for i in numbers]
    for band in _bands(numbers, widths, len(texts), len(prose) * _NARROWEST_TEXT):
        _draw_band(sheet, result, table, texts, band, prose)
        sheet.y += 4


def _prose(table: Table) -> list[int]:
    """Return the columns of text that name no layer, such as lists of numbers."""
    return [
        index
        for index, column in enumerate(table.columns)
        if column.kind == "text" and "layer" not in column.name
    ]


def _introduction(table: Table) -> list[tuple[str, Style]]:
    """Return what stands between the heading of a table and its numbers."""
    said = f"Source: {table.source or figures.NOTHING}"
    if table.parameters:
        pairs = [
            f"{name}{_NO_BREAK}={_NO_BREAK}{figures.parameter(setting)}"
            for name, setting in table.parameters.items()
        ]
        said += f"   ·   Parameters: {', '.join(pairs)}"
    return [
        (table.definition, SMALL),
        (said, CAPTION),
        *((f"Note: {note}", CAPTION) for note in table.notes),
    ]


def _table_height(sheet: Sheet, table: Table) -> float:
    """Return about how many millimetres a table takes."""
    lines = sum(
        len(sheet.type.wrap(text, style, WIDTH, _MOST_LINES))
        for text, style in _introduction(table)
    )
    return 10.0 + 4.0 * lines + grid_height(len(table.rows) + 1)


def _natural_width(
    sheet: Sheet, table: Table, index: int, limits: tuple[float, float] = _NUMBER
) -> float:
    """Return the width that a column of numbers asks for."""
    column = table.columns[index]
    cells = [row[index] for row in table.rows]
    widest = max(
        (sheet.type.width(sheet.type.clean(_shown(c, table, index)), SMALL) for c in cells),
        default=0.0,
    )
    if table.total is not None:
        total = sheet.type.clean(_shown(table.total[index], table, index))
        widest = max(widest, sheet.type.width(total, SMALL.bold()))
    heading = max(
        sheet.type.width(word, CAPTION.bold())
        for word in sheet.type.clean(column.name[:200]).split(" ")
    )
    least, most = limits
    return min(most, max(least, widest + 2 * PADDING + 0.2, heading + 2 * PADDING + 0.2))


def _shown(cell: Cell, table: Table, index: int) -> str:
    return figures.cell_text(cell, table.columns[index])


def _bands(
    numbers: Sequence[int], widths: Sequence[float], texts: int, prose: float
) -> Iterator[list[tuple[int, float]]]:
    """Split the columns of numbers into bands that fit on the page beside the columns of text."""
    room = WIDTH - texts * (_NARROWEST_TEXT + _INDEX) - prose
    band: list[tuple[int, float]] = []
    for index, width in zip(numbers, widths, strict=True):
        if band and sum(w for _, w in band) + width > room:
            yield band
            band = []
        band.append((index, width))
    yield band


def _draw_band(
    sheet: Sheet,
    result: Result,
    table: Table,
    texts: Sequence[int],
    band: Sequence[tuple[int, float]],
    prose: Sequence[int] = (),
) -> None:
    taken = sum(width for _, width in band)
    if prose:
        each = (WIDTH - taken - len(texts) * (_NARROWEST_TEXT + _INDEX)) / len(prose)
        taken += each * len(prose)
    share = (WIDTH - taken) / max(1, len(texts))
    ratio = next((i for i, _ in band if table.columns[i].kind == "ratio"), None)
    bar = min(_WIDEST_BAR, WIDTH - taken - len(texts) * _ENOUGH_TEXT)
    if ratio is None or bar < _NARROWEST_BAR:
        bar = 0.0
    share -= bar / max(1, len(texts))
    columns: list[GridColumn] = []
    for index in texts:
        columns.append(GridColumn("#", _INDEX, "right", style=SMALL.colored(GREY)))
        columns.append(GridColumn(table.columns[index].name, share - _INDEX))
    columns += [GridColumn(table.columns[i].name, width, "right") for i, width in band]
    columns += [GridColumn(table.columns[i].name, each, lines=_PROSE_LINES) for i in prose]
    if bar and ratio is not None:
        columns.append(GridColumn("", bar, bar=True))
    after = [*(i for i, _ in band), *prose]
    index_of = layer_numbers(result)
    aligned = len(texts) == 1 and one_row_a_layer(table, result)

    def texts_of(row: Sequence[Cell], position: int | None) -> list[str]:
        cells: list[str] = []
        for index in texts:
            name = _shown(row[index], table, index)
            number = position + 1 if aligned and position is not None else index_of.get(name)
            if position is None or number is None:
                cells += ["", name if position is None else named(name)]
            else:
                cells += [str(number), layer_title(result.layers[number - 1])]
        return cells

    def bar_of(row: Sequence[Cell]) -> list[str]:
        if not bar or ratio is None:
            return []
        share = row[ratio]
        drawn = isinstance(share, int | float) and math.isfinite(share)
        return [repr(share) if drawn else ""]

    draw_grid(
        sheet,
        columns,
        [
            [
                *texts_of(row, position),
                *(_shown(row[i], table, i) for i in after),
                *bar_of(row),
            ]
            for position, row in enumerate(table.rows)
        ],
        total=None
        if table.total is None
        else [
            *texts_of(table.total, None),
            *(_shown(table.total[i], table, i) for i in after),
            *bar_of(table.total),
        ],
    )


def draw_layer_index(sheet: Sheet, result: Result) -> None:
    """Draw the list of layers with their full names; the numbers are those used in all tables."""
    sheet.paragraph(
        "The numbers are those used in every chart and table of this report, which shorten long "
        "names in the middle. A layer is named by the module that the exporter recorded, where "
        "there is one; its tensor in the ONNX graph stands below.",
        CAPTION,
    )
    rows: list[tuple[GridCell, ...]] = []
    for number, layer in enumerate(result.layers, 1):
        names: GridCell = (
            (layer.label, layer.name) if layer.label not in ("", layer.name) else named(layer.name)
        )
        shape = f" {_TIMES} ".join(map(str, layer.shape)) or "scalar"
        rows.append(
            (str(number), names, layer.op, shape, f"{layer.units:,}", f"{layer.channels:,}")
        )
    draw_grid(
        sheet,
        [
            GridColumn("#", _INDEX, "right", style=SMALL.colored(GREY)),
            GridColumn("Layer", WIDTH - _INDEX - 88, lines=8),
            GridColumn("Activation", 24, lines=2),
            GridColumn("Shape", 27, lines=2),
            GridColumn("Units", 19, "right"),
            GridColumn("Channels", 18, "right"),
        ],
        rows,
        total=(
            "",
            "total",
            "",
            "",
            figures.count(sum(layer.units for layer in result.layers)),
            figures.count(sum(layer.channels for layer in result.layers)),
        ),
    )
