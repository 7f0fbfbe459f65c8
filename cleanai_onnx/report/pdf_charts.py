"""The charts of the PDF report, as vector graphics: coverage by layer, and firing channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cleanai_onnx.report.colormap import color_of
from cleanai_onnx.report.digest import (
    VIEWS,
    LayerFiring,
    firing_by_layer,
    layer_tables,
    layer_title,
)
from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    ACCENT_LIGHT,
    BOTTOM,
    CAPTION,
    HAIRLINE,
    LEFT,
    PANEL,
    RIGHT,
    SIGNAL,
    SMALL,
    WIDTH,
    Color,
    Sheet,
)
from cleanai_onnx.result import LayerFacts, Result, View

__all__ = ["draw_coverage_chart", "draw_firing_map"]

_VIEW_COLORS: dict[View, Color] = {"unit": ACCENT, "channel": ACCENT_LIGHT}
_METRICS_ABREAST = 6
_TALLEST, _LOWEST = 7.0, 3.9
_LABEL = 50.0
_PROFILE_FRAME = 7.5
_PROFILE_FROM = 40
"""From this many layers on, a chart of the whole network comes before the charts with names."""

_LEVELS = 64

Coverages = dict[View, tuple[float | None, ...]]


def draw_coverage_chart(sheet: Sheet, result: Result) -> None:
    """Draw the coverage of every layer under each metric that has one row a layer."""
    metrics = list(layer_tables(result).items())
    sheet.paragraph(
        "Coverage of each layer in graph order, from the input (top) to the output. Metrics over "
        "pairs of layers are in the tables only.",
        CAPTION,
        after=1,
    )
    _draw_legend(sheet)
    if len(result.layers) >= _PROFILE_FROM:
        # All on one page, as long as the panels stay legible.
        height = min(17.0, max(9.0, (BOTTOM - sheet.y) / max(1, len(metrics)) - _PROFILE_FRAME))
        for metric, coverages in metrics:
            _draw_profile(sheet, metric, coverages, len(result.layers), height)
        if metrics:
            sheet.new_page()
    groups = math.ceil(len(metrics) / _METRICS_ABREAST)
    size = math.ceil(len(metrics) / groups) if groups else 1
    for start in range(0, len(metrics), size):
        _draw_bars(sheet, result.layers, metrics[start : start + size])


def _draw_legend(sheet: Sheet) -> None:
    x = LEFT
    for view in VIEWS:
        sheet.rect(x, sheet.y + 0.6, 5, 2, _VIEW_COLORS[view])
        x += 6.5 + sheet.text(f"{view} view", x + 6.5, sheet.y + 2.7, CAPTION, 30) + 6
    sheet.y += 6


def _draw_profile(
    sheet: Sheet, metric: str, coverages: Coverages, layers: int, height: float
) -> None:
    """Draw one metric over the whole network: a thin bar for each layer, a panel for each view."""
    sheet.room(height + _PROFILE_FRAME)
    sheet.text(metric, LEFT, sheet.y + 3, SMALL.bold(), 60)
    sheet.y += 4.5
    panel = (WIDTH - 10 * len(coverages)) / len(coverages)
    x = LEFT
    for view, shares in coverages.items():
        left = x + 8
        for share in (0.0, 0.5, 1.0):
            y = sheet.y + height * (1 - share)
            sheet.line(left, y, left + panel, y)
            sheet.text(f"{share:.0%}", x - 1, y + 0.9, CAPTION, 8, "right")
        step = panel / layers
        gap = min(0.25, step * 0.2)
        for number, covered in enumerate(shares):
            tall = _clipped(covered) * height
            if tall > 0:
                sheet.rect(
                    left + number * step,
                    sheet.y + height - tall,
                    step - gap,
                    tall,
                    _VIEW_COLORS[view],
                )
        x += panel + 10
    sheet.y += height + _PROFILE_FRAME - 4.5


def _clipped(share: float | None) -> float:
    return 0.0 if share is None or not math.isfinite(share) else min(1.0, max(0.0, share))


def _pages(sheet: Sheet, count: int, head: float, foot: float) -> Iterator[tuple[range, float]]:
    """Share `count` rows out over pages: yield the rows of each page and their height in mm.

    Each page begins with room for a head of `head` millimetres, drawn by the caller.
    """
    done = 0
    while done < count:
        room = BOTTOM - sheet.y - head - foot
        if room < min(count - done, 4) * _LOWEST:
            sheet.new_page()
            continue
        left = count - done
        fitting = min(left, int(room / _LOWEST))
        if fitting < left:
            pages = math.ceil(left / fitting)
            fitting = min(fitting, math.ceil(left / pages))
        yield range(done, done + fitting), max(_LOWEST, min(_TALLEST, room / fitting))
        done += fitting
        if done < count:
            sheet.new_page()


def _draw_bars(
    sheet: Sheet, layers: Sequence[LayerFacts], metrics: Sequence[tuple[str, Coverages]]
) -> None:
    panel = (WIDTH - _LABEL) / len(metrics)
    panel = min(panel, 60.0)
    bar = panel - 4.0
    headings = [sheet.type.wrap(metric, SMALL.bold(), bar, 3) for metric, _ in metrics]
    head = 3.2 * max(map(len, headings)) + 1.5
    for rows, height in _pages(sheet, len(layers), head=head, foot=4):
        top = sheet.y + head
        bottom = top + height * len(rows)
        for column, heading in enumerate(headings):
            x = LEFT + _LABEL + column * panel
            for number, line in enumerate(reversed(heading)):
                sheet.text(line, x, top - 1.5 - 3.2 * number, SMALL.bold(), bar)
            sheet.rect(x, top, bar, bottom - top, PANEL)
            for share in (0.0, 0.5, 1.0):
                sheet.line(x + bar * share, top, x + bar * share, bottom, HAIRLINE, 0.12)
            sheet.text("0", x - 2, bottom + 3, CAPTION, 4, "center")
            sheet.text("100 %", x + bar - 8, bottom + 3, CAPTION, 11, "center")
        for number in rows:
            y = top + (number - rows.start) * height
            _draw_row_label(sheet, number + 1, layer_title(layers[number]), y, height)
            for column, (_, coverages) in enumerate(metrics):
                x = LEFT + _LABEL + column * panel
                _draw_bar(sheet, coverages, number, x, y, bar, height)
        sheet.y = bottom + 6


def _draw_row_label(sheet: Sheet, number: int, name: str, y: float, height: float) -> None:
    baseline = y + height / 2 + 0.95
    sheet.text(f"{number:,}", LEFT, baseline, CAPTION, 7, "right")
    sheet.text(name, LEFT + 8.5, baseline, SMALL, _LABEL - 11)


def _draw_bar(
    sheet: Sheet, coverages: Coverages, row: int, x: float, y: float, width: float, height: float
) -> None:
    thick = height * 0.74 / len(coverages)
    for number, (view, shares) in enumerate(coverages.items()):
        long = _clipped(shares[row]) * width
        if long > 0:
            sheet.rect(x, y + height * 0.13 + number * thick, long, thick, _VIEW_COLORS[view])


def draw_firing_map(sheet: Sheet, result: Result) -> None:
    """Draw how often the channels fire: a row for each layer, its channels sorted by frequency."""
    used = result.images.used
    sheet.paragraph(
        f"Each row is a layer, divided equally among its channels, which are sorted from the one "
        f"that fired on the fewest of the {used:,} images to the one that fired on the most. A "
        "channel fires on an image when one of its units is above zero. Activations that are "
        "always positive, such as Sigmoid, fire on every image.",
        CAPTION,
        after=1.5,
    )
    _draw_scale(sheet)
    firing = firing_by_layer(result)
    right = 30.0
    width = WIDTH - _LABEL - right
    for rows, height in _pages(sheet, len(firing), head=5, foot=2):
        x = LEFT + _LABEL
        sheet.text("never", RIGHT - right, sheet.y + 2.5, CAPTION, 13, "right")
        sheet.text("of channels", RIGHT - 17, sheet.y + 2.5, CAPTION, 17, "right")
        sheet.y += 4.5
        for number in rows:
            layer = firing[number]
            _draw_row_label(sheet, layer.index, layer_title(layer.layer), sheet.y, height)
            _draw_firing_row(sheet, layer, x, width, height)
            baseline = sheet.y + height / 2 + 0.95
            dead = len(layer.dead)
            style = SMALL.bold().colored(SIGNAL) if dead else CAPTION
            sheet.text(f"{dead:,}", RIGHT - right, baseline, style, 13, "right")
            sheet.text(f"{len(layer.counts):,}", RIGHT - 17, baseline, CAPTION, 17, "right")
            sheet.y += height
        sheet.y += 4


def _draw_scale(sheet: Sheet) -> None:
    x = LEFT
    sheet.rect(x, sheet.y, 5, 3, SIGNAL)
    x += 6.5 + sheet.text("never fired", x + 6.5, sheet.y + 2.5, CAPTION, 30) + 8
    x += sheet.text("fired on", x, sheet.y + 2.5, CAPTION, 30) + 2
    x += sheet.text("0 %", x, sheet.y + 2.5, CAPTION, 12) + 1.5
    width = 60.0
    for level in range(_LEVELS):
        step = width / _LEVELS
        # Neighbours overlap a little, or viewers show seams between them.
        overlap = 0.1 if level < _LEVELS - 1 else 0
        sheet.rect(x + level * step, sheet.y, step + overlap, 3, color_of(level / (_LEVELS - 1)))
    sheet.text("100 % of the images", x + width + 1.5, sheet.y + 2.5, CAPTION, 40)
    sheet.y += 7


def _draw_firing_row(
    sheet: Sheet, layer: LayerFiring, x: float, width: float, height: float
) -> None:
    """Draw the sorted channels; runs that look alike are one rectangle, so nothing is averaged."""
    count = len(layer.counts)
    if not count:
        return
    for level, start, size in layer.runs(_LEVELS):
        color = SIGNAL if level is None else color_of(level / (_LEVELS - 1))
        overlap = 0.1 if start + size < count else 0.0
        sheet.rect(
            x + width * start / count,
            sheet.y + height * 0.06,
            width * size / count + overlap,
            height * 0.88,
            color,
        )
