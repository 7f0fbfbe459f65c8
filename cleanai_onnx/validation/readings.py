"""The numbers of a result that can be held against a limit, or beside those of another result.

Counts and the shares of counts are exact fractions, so that 30 % of 10 is 3, and nothing is judged
after rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple

from cleanai_onnx.report.names import printable
from cleanai_onnx.result import Cell, Result, Table, View

__all__ = ["Kind", "Measure", "Number", "Reading", "exact", "measures_of", "of_firing"]

Kind = Literal["count", "ratio", "value"]
Number = Fraction | float
"""A float only where it is infinite."""

_LAYERS = ("layer", "next layer")
_QUALIFIERS = ("m", "class")
"""Columns that tell the rows of one layer apart."""


class Reading(NamedTuple):
    """A number of one row of a table, or of all of it.

    `layers` are the layers that it is of (two for the interaction metrics, none for the whole
    model), `qualifier` tells several rows of one layer apart; `why` says why there is no number.
    """

    layers: tuple[str, ...]
    qualifier: str
    number: Number | None
    why: str = ""

    def title(self, labels: Mapping[str, str]) -> str:
        """Return what to call it; `labels` has better names of layers than those of tensors."""
        named = " → ".join(labels.get(layer) or layer for layer in self.layers)
        return named + (f", {self.qualifier}" if self.qualifier else "")


class Measure(NamedTuple):
    """One number of the whole model, and the same of each of its layers.

    `total` is None where only layers have it. Two measures of the same name can be compared where
    their `parameters` are the same.
    """

    metric: str
    view: View | None
    kind: Kind
    total: Reading | None
    rows: tuple[Reading, ...]
    parameters: Mapping[str, Any]


def measures_of(table: Table) -> tuple[Measure, ...]:
    """Return what a table measures; mostly one number, and for `mnc` one for each interval.

    A coverage is measured by its ratio, surprise by that of the most surprising image, and the sum
    of the k largest activations by their mean. A table that ranks neurons measures nothing.
    """
    columns = [column.name for column in table.columns]
    ratios = [i for i, column in enumerate(table.columns) if column.kind == "ratio"]
    if ratios:
        place = ratios[0]
        counts = [i for i, column in enumerate(table.columns[:place]) if column.kind == "count"]
        return (_measure(table, table.metric, "ratio", lambda row: _share(row, counts, place)),)
    if "maximum" in columns and "undefined" in columns:
        measure = _measure(table, table.metric, "value", lambda row: _most_surprising(row, columns))
        return (measure._replace(total=_highest(measure.rows)),)
    if columns[-1:] == ["total"] and table.columns[-1].kind == "count":
        return tuple(
            _measure(
                table,
                f"{table.metric}{column.name}".replace(" ", ""),
                "ratio",
                _quotient_of(place, len(columns) - 1),
            )
            for place, column in enumerate(table.columns[:-1])
            if column.kind == "count"
        )
    if "mean" in columns:
        place = columns.index("mean")
        return (_measure(table, table.metric, "value", lambda row: _plain(row[place])),)
    return ()


def of_firing(result: Result, kind: Literal["count", "ratio"]) -> Measure:
    """Return how many channels never fired, or their share, in the model and in each layer."""
    dead = [sum(count == 0 for count in counts) for counts in result.firing]
    sizes = [len(counts) for counts in result.firing]

    def number(part: int, whole: int) -> tuple[Number | None, str]:
        if kind == "count":
            return Fraction(part), ""
        return (Fraction(part, whole), "") if whole else (None, "there are no channels")

    rows = tuple(
        Reading((layer.name,), "", *number(part, whole))
        for layer, part, whole in zip(result.layers, dead, sizes, strict=True)
    )
    total = Reading((), "", *number(sum(dead), sum(sizes)))
    return Measure("dead-channels", "channel", kind, total, rows, {})


def exact(number: float | int) -> Number:
    """Return a number as the fraction that its shortest decimal form says: 0.3 is 3/10."""
    if isinstance(number, int):
        return Fraction(number)
    return Fraction(repr(number)) if math.isfinite(number) else number


Read = Callable[[Sequence[Cell]], tuple[Number | None, str]]


def _measure(table: Table, metric: str, kind: Kind, read: Read) -> Measure:
    named = [i for i, column in enumerate(table.columns) if column.name in _LAYERS]
    qualifiers = [(c.name, i) for i, c in enumerate(table.columns) if c.name in _QUALIFIERS]
    rows = tuple(
        Reading(
            tuple(str(row[i]) for i in named),
            ", ".join(f"{name} {row[i]}" for name, i in qualifiers if row[i] is not None),
            *read(row),
        )
        for row in table.rows
    )
    total = None if table.total is None else Reading((), "", *read(table.total))
    return Measure(metric, table.view, kind, total, rows, table.parameters)


def _share(row: Sequence[Cell], counts: Sequence[int], place: int) -> tuple[Number | None, str]:
    """Return a ratio, as the exact quotient of counts where it is one."""
    number, why = _plain(row[place])
    whole = row[counts[-1]] if counts else None
    if isinstance(number, Fraction) and isinstance(whole, int) and whole > 0:
        part = round(number * whole)
        if part / whole == row[place]:
            return Fraction(part, whole), ""
    return number, why or ("there was nothing to count" if number is None else "")


def _quotient_of(part: int, whole: int) -> Read:
    def read(row: Sequence[Cell]) -> tuple[Number | None, str]:
        one, all_ = row[part], row[whole]
        if isinstance(one, int) and isinstance(all_, int) and all_ > 0:
            return Fraction(one, all_), ""
        return None, "there was nothing to count"

    return read


def _plain(cell: Cell) -> tuple[Number | None, str]:
    if not isinstance(cell, int | float):
        return None, "there is no number"
    return (None, "it is not a number") if math.isnan(cell) else (exact(cell), "")


def _most_surprising(row: Sequence[Cell], columns: Sequence[str]) -> tuple[Number | None, str]:
    """Return the surprise of the image that is most surprising in a layer.

    An image whose surprise is not defined may be the one, so that then nothing is known.
    """
    undefined, infinite = (row[columns.index(name)] for name in ("undefined", "infinite"))
    if undefined:
        return None, f"it is undefined for {undefined:,} images"
    return (math.inf, "") if infinite else _plain(row[columns.index("maximum")])


def _highest(rows: Sequence[Reading]) -> Reading | None:
    if not rows:
        return None
    unknown = next((row for row in rows if row.number is None), None)
    if unknown is not None:
        return Reading((), "", None, f"{unknown.why} in {printable(unknown.title({}), 60)}")
    return Reading((), "", max(row.number for row in rows if row.number is not None))
