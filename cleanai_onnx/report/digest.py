"""What the renderers say first: the verdict of each metric, and the channels that stayed silent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from cleanai_onnx.report.figures import NOTHING
from cleanai_onnx.report.names import named
from cleanai_onnx.result import Column, LayerFacts, Result, Table, TensorFacts, View

__all__ = [
    "VIEWS",
    "Figure",
    "LayerFiring",
    "Verdict",
    "figure",
    "firing_by_layer",
    "hardly",
    "hashes_of",
    "is_score_ratio",
    "layer_numbers",
    "layer_tables",
    "layer_title",
    "one_row_a_layer",
    "other_totals",
    "tensors",
    "verdicts",
]

VIEWS: tuple[View, View] = ("unit", "channel")

_ENOUGH_IMAGES = 10
"""With fewer images than this, firing on one of them is not rare."""
_RARE = 100
"""A channel that fires on at most one image in this many is hardly exercised."""


@dataclass(frozen=True)
class Figure:
    """A coverage: exact counts and their ratio, each None where the metric has none."""

    covered: int | None
    total: int | None
    coverage: float | None


@dataclass(frozen=True)
class Verdict:
    """One metric's coverage of the whole model in both neuron views."""

    metric: str
    title: str
    views: dict[View, Figure]


def verdicts(result: Result) -> tuple[Verdict, ...]:
    """Return the metrics that are a coverage, in the order of the result's tables."""
    found: dict[str, Verdict] = {}
    for table in result.tables:
        if any(column.kind == "ratio" for column in table.columns):
            verdict = found.setdefault(table.metric, Verdict(table.metric, table.title, {}))
            verdict.views[table.view] = figure(table)
    return tuple(found.values())


def figure(table: Table) -> Figure:
    """Return the coverage in the table's total row.

    The counts beside a ratio are the last two counts before it: covered, total. Where their
    quotient is another, what is covered stands in several columns.
    """
    if table.total is None:
        return Figure(None, None, None)
    counts: list[int | None] = []
    ratio = None
    for column, cell in zip(table.columns, table.total, strict=True):
        if column.kind == "count":
            counts.append(cell if isinstance(cell, int) else None)
        elif column.kind == "ratio":
            ratio = float(cell) if isinstance(cell, int | float) else None
            break
    covered, total = counts[-2:] if len(counts) > 1 else (None, None)
    if ratio is not None and math.isfinite(ratio) and covered is not None and total:
        # Where corners below and above are counted apart, the ratio has their sum.
        covered = covered if covered / total == ratio else round(ratio * total)
    return Figure(covered, total, ratio)


def other_totals(result: Result) -> tuple[Table, ...]:
    """Return the tables that have a total but no coverage, such as top-k sums."""
    return tuple(
        table
        for table in result.tables
        if table.total is not None and not any(c.kind == "ratio" for c in table.columns)
    )


def one_row_a_layer(table: Table, result: Result) -> bool:
    """Return whether the table's rows are the layers of the result, in their order."""
    # As many rows as layers may also be several rows of a few of them.
    return len(table.rows) == len(result.layers) and all(
        row[0] in (layer.name, layer.label)
        for row, layer in zip(table.rows, result.layers, strict=True)
    )


def layer_tables(result: Result) -> dict[str, dict[View, tuple[float | None, ...]]]:
    """Return, for each metric with one row a layer, its coverage of each layer in each view."""
    found: dict[str, dict[View, tuple[float | None, ...]]] = {}
    for table in result.tables:
        texts = [column for column in table.columns if column.kind == "text"]
        ratio = next((i for i, c in enumerate(table.columns) if c.kind == "ratio"), None)
        if ratio is None or len(texts) != 1 or not one_row_a_layer(table, result):
            continue
        cells = [row[ratio] for row in table.rows]
        found.setdefault(table.metric, {})[table.view] = tuple(
            float(cell) if isinstance(cell, int | float) else None for cell in cells
        )
    return found


def layer_title(layer: LayerFacts) -> str:
    """Return what to call a layer: the exporter's label, or the tensor's name."""
    return named(layer.label or layer.name)


def layer_numbers(result: Result) -> dict[str, int]:
    """Return the number of each layer under its name and, where no name is the same, its label."""
    numbers = {layer.label: number for number, layer in enumerate(result.layers, 1)}
    numbers.update({layer.name: number for number, layer in enumerate(result.layers, 1)})
    return numbers


def hardly(used: int) -> int:
    """Return on how many of `used` images a channel may fire and still be hardly exercised."""
    return max(1, used // _RARE) if used >= _ENOUGH_IMAGES else 0


@dataclass(frozen=True)
class LayerFiring:
    """How often the channels of one layer fired on the images.

    `index` counts layers from 1, as reports do; `counts` has one count for each channel.
    """

    index: int
    layer: LayerFacts
    counts: tuple[int, ...]
    used: int

    def runs(self, levels: int) -> Iterator[tuple[int | None, int, int]]:
        """Yield runs of channels that fire alike, the rarest first: level, first place, length.

        Channels are sorted by how often they fired. The level is below `levels`, and None where
        they never fired.
        """
        used = max(1, self.used)
        alike = [
            None if fired == 0 else min(levels - 1, fired * levels // used)
            for fired in sorted(self.counts)
        ]
        start = 0
        for level, run in groupby(alike):
            size = sum(1 for _ in run)
            yield level, start, size
            start += size

    @cached_property
    def dead(self) -> tuple[int, ...]:
        """Channels that fired on no image."""
        return tuple(channel for channel, count in enumerate(self.counts) if count == 0)

    @cached_property
    def rare(self) -> tuple[int, ...]:
        """Channels that fired, but on hardly any image."""
        limit = hardly(self.used)
        return tuple(channel for channel, count in enumerate(self.counts) if 0 < count <= limit)

    @property
    def dead_share(self) -> float:
        """Share of the layer's channels that are dead."""
        return len(self.dead) / len(self.counts) if self.counts else 0.0


def firing_by_layer(result: Result) -> tuple[LayerFiring, ...]:
    """Return how often channels fired, layer by layer."""
    pairs = zip(result.layers, result.firing, strict=True)
    return tuple(
        LayerFiring(number, layer, counts, result.images.used)
        for number, (layer, counts) in enumerate(pairs, 1)
    )


def is_score_ratio(result: Result, score: str) -> bool:
    """Tell whether an image's score named `score` (``nc``, ``nc/unit``) is a coverage."""
    metric = score.replace("/", " ").replace(":", " ").split(" ")[0]
    columns: list[Column] = [c for t in result.tables if t.metric == metric for c in t.columns]
    return any(column.kind == "ratio" for column in columns)


def tensors(facts: tuple[TensorFacts, ...]) -> str:
    """Return inputs or outputs in words: name, type, shape."""
    described = [
        f"{tensor.name}: {tensor.dtype} [{', '.join(map(str, tensor.shape))}]" for tensor in facts
    ]
    return "; ".join(described) or NOTHING


def hashes_of(result: Result) -> list[tuple[str, str]]:
    """Return what the result is of, as names and SHA-256 in hexadecimal."""
    model = "model and its data" if result.model.data_files else "model"
    return [
        (model, result.model.sha256),
        ("configuration", result.run.configuration_sha256 or NOTHING),
        ("images", result.images.manifest_sha256 or NOTHING),
    ]
