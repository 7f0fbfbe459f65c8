"""What the template of the HTML report shows, computed: it only has to lay it out."""

from __future__ import annotations

from collections.abc import Sequence
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
    hashes_of,
    is_score_ratio,
    layer_tables,
    layer_title,
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
from cleanai_onnx.report.html_tables import matrix_of, parameter_pairs, table_view, totals_of
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.report.profile import describe
from cleanai_onnx.report.reading import LIMITS, REFERENCES, TERMS
from cleanai_onnx.report.relevance import key_of, shares_of
from cleanai_onnx.report.subset import guarantee, headline
from cleanai_onnx.result import (
    FeaturedImage,
    ImportantLayerFacts,
    ImportantNeuronFacts,
    Result,
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
        "other_totals": [(table, totals_of(table)) for table in other_totals(result)],
        "panel": PANEL,
        "panels": [
            _panel(metric, titles[metric], shares, verdicts(result))
            for metric, shares in by_metric.items()
        ],
        "hover": _hover(result, by_metric),
        "matrices": {view: matrix_of(result, by_metric, view, firing) for view in VIEWS},
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
        "heat_maps": (
            None if result.relevance is None else key_of(result.relevance, result.featured)
        ),
        "subset": _subset(result),
        "important": [_important(result, one) for one in result.importance],
        "histogram": _HISTOGRAM,
        "tables": [
            (metric, [table_view(result, table) for table in tables])
            for metric, tables in groupby(result.tables, key=lambda table: table.metric)
        ],
        "scale": scale(),
        "ticks": _ticks(len(result.layers)),
        "inputs": tensors(result.model.inputs),
        "outputs": tensors(result.model.outputs),
        "identity": _identity(result),
        "options": parameter_pairs(result.run.options),
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
        *((f"SHA-256 of the {name}", found) for name, found in hashes_of(result)),
    ]


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


def _picture(result: Result, image: FeaturedImage) -> PictureView:
    ratios = {name: is_score_ratio(result, name) for name in image.scores}
    scores = tuple(
        (name, figures.percent(score) if ratios[name] else figures.value(score))
        for name, score in sorted(image.scores.items(), key=lambda one: not ratios[one[0]])
    )
    return PictureView(image, scores, tuple(shares_of(image.relevance)))


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
