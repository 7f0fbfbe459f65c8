"""Results with given counts, for gates and differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cleanai_onnx.result import Cell, Column, LayerFacts, Result, Table, View
from tests.report.results import tiny_result

COVERAGE = (
    Column("layer", "text"),
    Column("covered", "count"),
    Column("total", "count"),
    Column("coverage", "ratio"),
)
SURPRISE = (
    Column("layer", "text"),
    Column("images", "count"),
    Column("undefined", "count"),
    Column("infinite", "count"),
    Column("minimum", "value"),
    Column("mean", "value"),
    Column("maximum", "value"),
)


def layer(name: str, label: str = "", channels: int = 4) -> LayerFacts:
    return LayerFacts(name, label, "Relu", (channels, 2, 2), 0, 4 * channels, channels)


def coverage(
    counts: Mapping[str, tuple[int, int]],
    metric: str = "nc",
    view: View = "unit",
    parameters: Mapping[str, Any] | None = None,
) -> Table:
    """Return a table with these counts of covered and all neurons for each layer."""
    rows = tuple((name, part, whole, share(part, whole)) for name, (part, whole) in counts.items())
    part, whole = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
    total = ("all layers", part, whole, share(part, whole))
    return Table(metric, view, metric, "d", "s", parameters or {}, COVERAGE, rows, total)


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def corners(below: int, above: int, total: int) -> Table:
    """Return a table of `nbc-suite`, which counts the corners below and above apart."""
    counts = (Column("below", "count"), Column("above", "count"), Column("corners", "count"))
    columns = (Column("layer", "text"), *counts, Column("coverage", "ratio"))
    row = (below, above, total, share(below + above, total))
    rows = (("a", *row),)
    return Table("nbc-suite", "channel", "t", "d", "s", {}, columns, rows, ("all layers", *row))


def surprise(rows: Sequence[tuple[Cell, ...]], metric: str = "lsa") -> Table:
    return Table(metric, "channel", metric, "d", "s", {}, SURPRISE, tuple(rows), None)


def result(
    *tables: Table,
    layers: Sequence[LayerFacts] | None = None,
    firing: Sequence[tuple[int, ...]] | None = None,
    **changes: Any,
) -> Result:
    """Return a result of these tables; its layers are those of the first table, or as given."""
    if layers is None:
        names = [str(row[0]) for row in tables[0].rows] if tables else ["a"]
        layers = [layer(name) for name in names]
    if firing is None:
        firing = [(1,) * one.channels for one in layers]
    return replace(
        tiny_result(),
        layers=tuple(layers),
        firing=tuple(firing),
        tables=tables,
        **changes,
    )
