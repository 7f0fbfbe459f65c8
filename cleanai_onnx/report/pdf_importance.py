"""The important neurons of the PDF report: what they did in training, and what the suite lacks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import layer_title
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    ACCENT_LIGHT,
    CAPTION,
    GREY,
    INK,
    LEFT,
    PANEL,
    SMALL,
    WIDTH,
    Sheet,
)
from cleanai_onnx.result import (
    CombinationFacts,
    ImportantLayerFacts,
    ImportantNeuronFacts,
    LayerFacts,
    Result,
)

__all__ = ["draw_important_neurons"]

_ABREAST = 3
_GAP = 6.0
_PANEL = (WIDTH - _GAP * (_ABREAST - 1)) / _ABREAST
_TALL = 20.0
_FRAME = 17.0
"""Height of a histogram, and of what stands above and below it."""
_MOST_CHARTS = 12
_MOST_COLUMNS = 16
_MOST_ROWS = 10


def draw_important_neurons(sheet: Sheet, result: Result) -> None:
    """Draw, for each layer, histograms of its important neurons and the missing combinations."""
    sheet.paragraph(
        "The neurons (channels) of a layer that have the largest relevance over the training "
        "images. Bars: how often a training image gave an activation, from the smallest to the "
        "largest; they are scaled to the most frequent one. Each neuron's activations fall into "
        "clusters: triangles stand at their means, dashed lines at the borders between them. An "
        "image covers the combination of the clusters that its activations fall into.",
        CAPTION,
    )
    _draw_legend(sheet)
    layers = {layer.name: layer for layer in result.layers}
    for important in result.importance:
        _draw_layer(sheet, important, layers.get(important.layer))


def _draw_legend(sheet: Sheet) -> None:
    x = LEFT
    sheet.rect(x, sheet.y + 0.6, 5, 2, ACCENT_LIGHT)
    x += 6.5 + sheet.text("training images", x + 6.5, sheet.y + 2.7, CAPTION, 40) + 6
    _triangle(sheet, x + 1.5, sheet.y + 2.9)
    x += 4.5 + sheet.text("mean of a cluster", x + 4.5, sheet.y + 2.7, CAPTION, 40) + 6
    _dashed(sheet, x + 1, sheet.y, sheet.y + 3.2)
    sheet.text("border between clusters", x + 3.5, sheet.y + 2.7, CAPTION, 50)
    sheet.y += 7


def _draw_layer(sheet: Sheet, important: ImportantLayerFacts, layer: LayerFacts | None) -> None:
    title = named(important.layer) if layer is None else layer_title(layer)
    sheet.section(title, level=1, new_page=False, keep=_TALL + _FRAME + 25)
    for facts in important.combinations:
        share = figures.percent(facts.covered / facts.combinations) if facts.combinations else ""
        sheet.paragraph(
            f"m = {facts.m}: the images cover {facts.covered:,} of {facts.combinations:,} "
            f"combinations ({share}); {facts.combinations - facts.covered:,} are missing.",
            SMALL,
            after=0.5,
        )
    sheet.y += 2
    shown = important.neurons[:_MOST_CHARTS]
    for start in range(0, len(shown), _ABREAST):
        sheet.room(_TALL + _FRAME)
        for place, neuron in enumerate(shown[start : start + _ABREAST]):
            x = LEFT + place * (_PANEL + _GAP)
            _draw_neuron(sheet, start + place + 1, neuron, x)
        sheet.y += _TALL + _FRAME
    left = len(important.neurons) - len(shown)
    if left:
        sheet.paragraph(f"{left:,} more are in the table of the important neurons.", CAPTION)
    leading = next((facts for facts in important.combinations if facts.missing), None)
    if leading is not None:
        _draw_missing(sheet, leading, important.neurons)
    sheet.y += 3


def _draw_neuron(sheet: Sheet, rank: int, neuron: ImportantNeuronFacts, x: float) -> None:
    heading = SMALL.bold()
    taken = sheet.text(f"{rank} · neuron {neuron.neuron}", x, sheet.y + 3, heading, _PANEL * 0.5)
    share = figures.NOTHING if neuron.share is None else figures.percent(neuron.share)
    sheet.text(
        f"{share} of relevance", x + taken + 2, sheet.y + 3, CAPTION, _PANEL - taken - 2, "right"
    )
    top = sheet.y + 4.5
    bottom = top + _TALL
    sheet.rect(x, top, _PANEL, _TALL, PANEL)
    low, high = neuron.low, neuron.high
    if low is None or high is None or not math.isfinite(high - low) or not neuron.histogram:
        sheet.text("no activations", x, top + _TALL / 2, CAPTION, _PANEL, "center")
    else:
        _draw_bars(sheet, neuron.histogram, x, top)

        def at(value: float) -> float:
            share = (value - low) / (high - low) if high > low else 0.5 / len(neuron.histogram)
            return x + _PANEL * min(1.0, max(0.0, share))

        for border in neuron.borders:
            _dashed(sheet, at(border), top, bottom)
        for centroid in neuron.centroids:
            _triangle(sheet, at(centroid), bottom + 1.9)
        sheet.text(figures.value(low), x, bottom + 5.2, CAPTION, _PANEL / 2)
        sheet.text(figures.value(high), x + _PANEL / 2, bottom + 5.2, CAPTION, _PANEL / 2, "right")
    sheet.line(x, bottom, x + _PANEL, bottom, GREY)
    sheet.text(_said(neuron), x, bottom + 8.6, CAPTION, _PANEL)


def _said(neuron: ImportantNeuronFacts) -> str:
    best = neuron.silhouettes.get(str(len(neuron.centroids)))
    parts = ["one cluster" if best is None else f"silhouette {best:.2f}"]
    if neuron.zeros:
        parts.append(f"{neuron.zeros:,} zeros left out")
    if neuron.not_finite:
        parts.append(f"{neuron.not_finite:,} not finite")
    return "; ".join(parts)


def _draw_bars(sheet: Sheet, histogram: Sequence[int], x: float, top: float) -> None:
    most, step = max(histogram), _PANEL / len(histogram)
    for number, count in enumerate(histogram):
        if count > 0:
            # What is there at all is seen.
            tall = max(0.15, (_TALL - 1) * count / most)
            sheet.rect(x + number * step, top + _TALL - tall, step * 0.88, tall, ACCENT_LIGHT)


def _dashed(sheet: Sheet, x: float, top: float, bottom: float) -> None:
    y = top
    while y < bottom:
        sheet.line(x, y, x, min(bottom, y + 1.0), INK, 0.18)
        y += 1.7


def _triangle(sheet: Sheet, x: float, bottom: float) -> None:
    """Draw a small triangle whose tip points up, of lines that touch."""
    for step in range(9):
        half = 1.05 * (step + 0.5) / 9
        sheet.rect(x - half, bottom - 1.8 + step * 0.2, 2 * half, 0.21, ACCENT)


def _draw_missing(
    sheet: Sheet, facts: CombinationFacts, neurons: Sequence[ImportantNeuronFacts]
) -> None:
    """Draw the first combinations that are missing, a column for each neuron."""
    columns = [*neurons[: min(facts.m, _MOST_COLUMNS)]]
    rows = facts.missing[:_MOST_ROWS]
    absent = facts.combinations - facts.covered
    sheet.room(12)
    sheet.paragraph(
        f"The first {len(rows):,} of {absent:,} missing combinations for m = {facts.m}: the "
        "cluster of each neuron, counted from that of the smallest activations, and its mean."
        + (f" Only {_MOST_COLUMNS} of the neurons are shown." if facts.m > _MOST_COLUMNS else ""),
        CAPTION,
        after=0.8,
    )
    width = min(24.0, (WIDTH - 9) / max(1, len(columns)))
    wide = width >= 20

    def cell(neuron: ImportantNeuronFacts, number: int) -> str:
        said = f"{number} of {len(neuron.centroids)}"
        if wide and 0 < number <= len(neuron.centroids):
            said += f": {neuron.centroids[number - 1]:.3g}"
        return said

    draw_grid(
        sheet,
        [
            GridColumn("", 9.0, "right", style=SMALL.colored(GREY)),
            *(GridColumn(f"neuron {neuron.neuron}", width) for neuron in columns),
        ],
        [
            (
                f"{number}",
                *(cell(neuron, part) for neuron, part in zip(columns, row, strict=False)),
                *[""] * max(0, len(columns) - len(row)),
            )
            for number, row in enumerate(rows, 1)
        ],
    )
