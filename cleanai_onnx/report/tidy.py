"""All tables of a result as one: a line for each number, for CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cleanai_onnx.report.names import spreadsheet_cell
from cleanai_onnx.result import Cell, Result

__all__ = ["Line", "lines_of"]


class Line(NamedTuple):
    """One cell of one table.

    Attributes
    ----------
    metric, view
        Which table it is of.
    row
        Its row there, from 1; None for the total, which is of the whole model.
    layer
        The tensor that the row is of; empty for the total.
    column
        The name of its column, other than the layer.
    value
        An exact count, a float, or text (the next layer of a pair, for one); None where the table
        has none.
    """

    metric: str
    view: str
    row: int | None
    layer: str
    column: str
    value: Cell


def lines_of(result: Result) -> Iterator[Line]:
    """Yield every cell of every table, in their order; names are safe in a spreadsheet."""
    for table in result.tables:
        metric = spreadsheet_cell(table.metric)
        names = [spreadsheet_cell(column.name) for column in table.columns]
        # The first column of every table is the layer.
        numbered = [
            *enumerate(table.rows, 1),
            *([] if table.total is None else [(None, table.total)]),
        ]
        for number, row in numbered:
            layer = "" if number is None else spreadsheet_cell(str(row[0]))
            for name, column, cell in zip(names[1:], table.columns[1:], row[1:], strict=True):
                if number is None and column.kind == "text":
                    continue  # "all layers" has no next layer
                value = spreadsheet_cell(cell) if isinstance(cell, str) else cell
                yield Line(metric, table.view, number, layer, name, value)
