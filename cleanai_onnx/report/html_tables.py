"""The tables of the HTML report: what each cell shows, sorts by, and is tinted with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import LayerFiring, layer_numbers, layer_title, one_row_a_layer
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import Cell, Column, LayerFacts, Result, Table, View

__all__ = ["CellView", "TableView", "matrix_of", "parameter_pairs", "table_view", "totals_of"]


@dataclass(frozen=True)
class CellView:
    """A cell of a table: what it shows, what it is sorted by (its text, if None), its tint 0-10."""

    text: str
    key: str | None = None
    tint: int | None = None


@dataclass(frozen=True)
class TableView:
    """A metric's table in one neuron view, with the number of a layer before its name."""

    table: Table
    columns: tuple[Column, ...]
    rows: tuple[tuple[CellView, ...], ...]
    total: tuple[CellView, ...] | None
    parameters: str


def parameter_pairs(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return parameters or options as names and words."""
    return [(name, figures.parameter(setting)) for name, setting in settings.items()]


def matrix_of(
    result: Result,
    by_metric: dict[str, dict[View, tuple[float | None, ...]]],
    view: View,
    firing: Sequence[LayerFiring],
) -> tuple[list[str], list[tuple[LayerFacts, LayerFiring, list[CellView]]]]:
    """Return the metrics that have the view, and for each layer its coverage under each."""
    shown = {metric: views[view] for metric, views in by_metric.items() if view in views}
    rows = [
        (layer, firing[number], [_share_cell(shares[number]) for shares in shown.values()])
        for number, layer in enumerate(result.layers)
    ]
    return list(shown), rows


def _share_cell(share: float | None) -> CellView:
    tint = None if share is None or not math.isfinite(share) else _tint(share)
    return CellView(figures.percent(share), None if share is None else repr(share), tint)


def _tint(share: float) -> int:
    """Return 0 for nothing, 10 for everything, and 1 to 9 for what lies between."""
    if share <= 0 or share >= 1:
        return 0 if share <= 0 else 10
    return min(9, 1 + int(share * 9))


def table_view(result: Result, table: Table) -> TableView:
    """Return what a table shows."""
    numbers = layer_numbers(result)
    aligned = one_row_a_layer(table, result)
    parameters = ", ".join(f"{name} = {text}" for name, text in parameter_pairs(table.parameters))

    def cells(row: Sequence[Cell], position: int | None) -> Iterator[CellView]:
        for place, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
            text = figures.cell_text(cell, column)
            if column.kind == "ratio" and isinstance(cell, int | float):
                yield _share_cell(cell)
            elif column.kind == "value" and isinstance(cell, int | float):
                yield CellView(text, repr(cell))
            elif column.kind == "text" and position is not None and "layer" in column.name:
                number = position + 1 if aligned and place == 0 else numbers.get(text)
                yield _layer_cell(result, number, text)
            else:
                yield CellView(text)

    return TableView(
        table,
        table.columns,
        tuple(tuple(cells(row, place)) for place, row in enumerate(table.rows)),
        None if table.total is None else tuple(cells(table.total, None)),
        parameters,
    )


def _layer_cell(result: Result, number: int | None, text: str) -> CellView:
    if number is None:
        return CellView(printable(named(text), 90))
    title = printable(layer_title(result.layers[number - 1]), 90)
    return CellView(f"{number} · {title}", str(number))


def totals_of(table: Table) -> list[tuple[str, str]]:
    """Return the totals of a table that has no coverage, as names and numbers."""
    assert table.total is not None
    return [
        (column.name, figures.cell_text(cell, column))
        for column, cell in zip(table.columns, table.total, strict=True)
        if column.kind != "text"
    ]
