"""What the template of the HTML report shows, computed: it only has to lay it out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cleanai_onnx.report import figures
from cleanai_onnx.report.conversion import CLAIM, described
from cleanai_onnx.report.digest import (
    VIEWS,
    LayerFiring,
    Verdict,
    firing_by_layer,
    hardly,
    is_score_ratio,
    layer_numbers,
    layer_tables,
    layer_title,
    one_row_a_layer,
    other_totals,
    tensors,
    verdicts,
)
from cleanai_onnx.report.gates import headline as gates_headline
from cleanai_onnx.report.gates import worst_first
from cleanai_onnx.report.html_charts import (
    Histogram,
    bars,
    firing_runs,
    histogram,
    scale,
    steps,
)
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.report.profile import describe
from cleanai_onnx.report.reading import LIMITS, REFERENCES, TERMS
from cleanai_onnx.report.subset import guarantee, headline
from cleanai_onnx.result import (
    Cell,
    Column,
    FeaturedImage,
    ImportantLayerFacts,
    ImportantNeuronFacts,
    LayerFacts,
    Result,
    Table,
    View,
)

__all__ = ["PANEL", "view_of"]

PANEL = (600.0, 100.0)
"""Width and height of the drawing of a metric over the layers."""
_STRIP = 1000.0
_HISTOGRAM = (240.0, 80.0)
_FEW_LAYERS = 16
_MOST_LISTED = 500
"""So many skipped images, and the like, are listed; the JSON has all."""


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


@dataclass(frozen=True)
class PanelView:
    """One metric over the layers, as bars of the unit view and a line of the channel view."""

    metric: str
    title: str
    bars: str
    line: str
    totals: str


@dataclass(frozen=True)
class StripView:
    """How often the channels of a layer fired, as runs of (colour or None, outline)."""

    firing: LayerFiring
    title: str
    runs: tuple[tuple[str | None, str], ...]


@dataclass(frozen=True)
class PictureView:
    """A featured image, its scores (coverages first) and where its relevance went."""

    image: FeaturedImage
    scores: tuple[tuple[str, str], ...]
    relevance: tuple[tuple[str, str], ...]


def view_of(result: Result) -> dict[str, Any]:
    """Return what the template shows of `result`, by name."""
    firing = firing_by_layer(result)
    channels = sum(len(layer.counts) for layer in firing)
    dead = sum(len(layer.dead) for layer in firing)
    titles = {table.metric: table.title for table in result.tables}
    by_metric = layer_tables(result)
    return {
        "views": VIEWS,
        "gates": worst_first(result.gates),
        "gates_headline": gates_headline(result.gates),
        "verdicts": verdicts(result),
        "other_totals": [(table, _totals(table)) for table in other_totals(result)],
        "panel": PANEL,
        "panels": [
            _panel(metric, titles[metric], shares, verdicts(result))
            for metric, shares in by_metric.items()
        ],
        "hover": _hover(result, by_metric),
        "matrices": {view: _matrix(result, by_metric, view, firing) for view in VIEWS},
        "units": sum(layer.units for layer in result.layers),
        "channels": channels,
        "dead": dead,
        "dead_share": dead / channels if channels else None,
        "strips": [
            StripView(one, layer_title(one.layer), tuple(firing_runs(one, _STRIP)))
            for one in firing
        ],
        "strip": _STRIP,
        "silent": [one for one in firing if one.dead],
        "rare": [one for one in firing if one.rare],
        "hardly": hardly(result.images.used),
        "layer_title": layer_title,
        "pictures": [
            (role, [_picture(result, image) for image in group])
            for role, group in groupby(result.featured, key=lambda image: image.role)
        ],
        "subset": _subset(result),
        "important": [_important(result, one) for one in result.importance],
        "histogram": _HISTOGRAM,
        "tables": [
            (metric, [_table(result, table) for table in tables])
            for metric, tables in groupby(result.tables, key=lambda table: table.metric)
        ],
        "scale": scale(),
        "ticks": _ticks(len(result.layers)),
        "inputs": tensors(result.model.inputs),
        "outputs": tensors(result.model.outputs),
        "identity": _identity(result),
        "options": _parameters(result.run.options),
        "times": [(name, figures.duration(spent)) for name, spent in result.run.seconds.items()],
        "versions": [*result.run.versions.items(), ("platform", result.run.platform)],
        "conversion": (
            None if result.model.conversion is None else described(result.model.conversion)
        ),
        "claim": CLAIM,
        "profile": None if result.profile is None else describe(result.profile),
        "most": _MOST_LISTED,
        "operators": [
            (name, figures.count(number))
            for name, number in sorted(
                result.model.operators.items(), key=lambda one: (-one[1], one[0])
            )
        ],
        "size": figures.size(result.model.size_bytes),
        "seconds": sum(result.run.seconds.values()),
        "terms": TERMS,
        "limits": LIMITS,
        "references": REFERENCES,
    }


def _ticks(layers: int) -> tuple[int, ...]:
    """Return the layers that the panels number: all of a few, else the ends."""
    return tuple(range(1, layers + 1)) if layers <= _FEW_LAYERS else (1, layers)


def _identity(result: Result) -> list[tuple[str, str]]:
    return [
        ("Run id", result.run.id),
        ("Started", result.run.started),
        ("SHA-256 of the model", result.model.sha256),
        ("SHA-256 of the configuration", result.run.configuration_sha256),
        ("SHA-256 of the images", result.images.manifest_sha256 or ""),
    ]


def _parameters(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, figures.parameter(setting)) for name, setting in settings.items()]


def _panel(
    metric: str,
    title: str,
    shares: dict[View, tuple[float | None, ...]],
    known: Sequence[Verdict],
) -> PanelView:
    views = next((one.views for one in known if one.metric == metric), {})
    totals = ", ".join(
        f"{view}s {figures.percent(views[view].coverage)}" for view in VIEWS if view in views
    )
    return PanelView(
        metric,
        title,
        bars(shares.get("unit", ()), *PANEL),
        steps(shares.get("channel", ()), *PANEL),
        totals,
    )


def _hover(
    result: Result, by_metric: dict[str, dict[View, tuple[float | None, ...]]]
) -> dict[str, Any]:
    """Return what the tooltips of the panels say, for the script."""
    return {
        "layers": [printable(layer_title(layer), 120) for layer in result.layers],
        "metrics": [
            {view: [figures.percent(share) for share in shares] for view, shares in views.items()}
            for views in by_metric.values()
        ],
    }


def _matrix(
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


def _table(result: Result, table: Table) -> TableView:
    numbers = layer_numbers(result)
    aligned = one_row_a_layer(table, result)
    parameters = ", ".join(f"{name} = {text}" for name, text in _parameters(table.parameters))

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


def _totals(table: Table) -> list[tuple[str, str]]:
    assert table.total is not None
    return [
        (column.name, figures.cell_text(cell, column))
        for column, cell in zip(table.columns, table.total, strict=True)
        if column.kind != "text"
    ]


def _picture(result: Result, image: FeaturedImage) -> PictureView:
    ratios = {name: is_score_ratio(result, name) for name in image.scores}
    scores = tuple(
        (name, figures.percent(score) if ratios[name] else figures.value(score))
        for name, score in sorted(image.scores.items(), key=lambda one: not ratios[one[0]])
    )
    found = image.relevance
    relevance: list[tuple[str, str]] = []
    if found is not None:
        what = "output" if found.target is None else f"class {found.target:,}"
        relevance = [
            (f"f(x), {what}", figures.value(float(f"{found.value:.4g}"))),
            ("to pixels", figures.share(found.arrived, found.value)),
            ("to biases", figures.share(found.biases, found.value)),
            *([("elsewhere", figures.share(found.others, found.value))] if found.others else []),
            ("residual", figures.share(found.residual, found.value)),
        ]
    return PictureView(image, scores, tuple(relevance))


def _subset(result: Result) -> dict[str, Any] | None:
    subset = result.subset
    if subset is None:
        return None
    return {"facts": subset, "headline": headline(subset), "guarantee": guarantee(subset)}


def _important(
    result: Result, important: ImportantLayerFacts
) -> tuple[str, ImportantLayerFacts, list[tuple[ImportantNeuronFacts, Histogram | None]]]:
    layer = next((one for one in result.layers if one.name == important.layer), None)
    title = named(important.layer) if layer is None else layer_title(layer)
    drawn = [(neuron, histogram(neuron, *_HISTOGRAM)) for neuron in important.neurons]
    return title, important, drawn
