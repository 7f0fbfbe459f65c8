"""Charts of an inspection: the best score of each layer, and how scores change between models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from cleanai_onnx.inspection.result import AffinityTable, Inspection, ModelInspection
from cleanai_onnx.report.affinities import rounded
from cleanai_onnx.report.colormap import color_of
from cleanai_onnx.report.digest import layer_title
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    BOTTOM,
    CAPTION,
    H2,
    HAIRLINE,
    INK,
    LEFT,
    PANEL,
    SMALL,
    WHITE,
    WIDTH,
    Color,
    Sheet,
)

__all__ = ["draw_layers", "draw_models"]

_LABEL = 42.0
_ABREAST = 12
_ROW = 4.6
_HEAD = 13.0
_PANELS, _PANEL_HEIGHT = 3, 26.0
_MOST_CLAIMS = 60
_LEVELS = ("pearson", "spearman", "auc", "jaccard", "iou", "logistic-l1", "probe")
"""Measures whose scores lie between 0 and 1, so that colours can be shared."""


def draw_layers(sheet: Sheet, one: ModelInspection) -> None:
    """Draw the best score of each layer for each claim, a chart for each measure."""
    sheet.paragraph(
        "The best score of each layer (without its sign), from the input (top) to the output. An "
        "AUC is 0.5 by chance, an accuracy the share of the commonest kind; every other score 0.",
        CAPTION,
        after=1.5,
    )
    for table in one.tables:
        best = _best_of_layers(one, table)
        scored = np.flatnonzero(~np.isnan(best).all(axis=0)).tolist()
        claims = [table.claims[column] for column in scored[:_MOST_CLAIMS]]
        if not claims:
            continue
        best = best[:, scored[:_MOST_CLAIMS]]
        abreast = -(-len(claims) // -(-len(claims) // _ABREAST))
        for first in range(0, len(claims), abreast):
            part = slice(first, first + abreast)
            names = [one.claims[claim].name for claim in claims[part]]
            _draw_matrix(sheet, one, table, names, best[:, part])
        if len(claims) < len(scored):
            more = len(scored) - len(claims)
            sheet.paragraph(f"{more:,} more hypotheses are in the table.", CAPTION)


def _best_of_layers(one: ModelInspection, table: AffinityTable) -> np.ndarray:
    """Return ``(layers, claims)``, NaN without a score."""
    scores = np.abs(table.scores.score) if table.signed else table.scores.score
    if table.joint:
        return scores
    ends = np.cumsum([layer.size(one.view) for layer in one.layers])
    starts = [0, *ends[:-1].tolist()]
    known = np.where(np.isnan(scores), -np.inf, scores)
    best: np.ndarray = np.maximum.reduceat(known, starts, axis=0)
    return np.where(np.isneginf(best), np.nan, best)


def _draw_matrix(
    sheet: Sheet, one: ModelInspection, table: AffinityTable, names: Sequence[str], best: np.ndarray
) -> None:
    drawn = [row for row in range(len(best)) if not np.isnan(best[row]).all()]
    cell = min((WIDTH - _LABEL) / len(names), 24.0)
    finite = best[np.isfinite(best)]
    most = 1.0 if table.measure in _LEVELS else float(finite.max(initial=0.0)) or 1.0
    for number, row in enumerate(drawn):
        if number == 0 or sheet.y + _ROW > BOTTOM:
            if number or sheet.y + _HEAD + 4 * _ROW > BOTTOM:
                sheet.new_page()
            _draw_heading(sheet, table.measure, names, cell)
        y = sheet.y
        sheet.text(layer_title(one.layers[row]), LEFT, y + 3.2, SMALL, _LABEL - 2)
        for column, score in enumerate(best[row].tolist()):
            x = LEFT + _LABEL + column * cell
            if np.isnan(score):
                sheet.rect(x, y, cell - 0.3, _ROW - 0.3, PANEL)
                continue
            share = min(1.0, max(0.0, score / most))
            sheet.rect(x, y, cell - 0.3, _ROW - 0.3, color_of(share))
            ink: Color = INK if share > 0.55 else WHITE
            sheet.text(rounded(score), x, y + 3.2, SMALL.colored(ink), cell - 0.3, "center")
        sheet.y += _ROW
    sheet.y += 4


def _draw_heading(sheet: Sheet, measure: str, names: Sequence[str], cell: float) -> None:
    sheet.text(measure, LEFT, sheet.y + _HEAD - 4.5, SMALL.bold(), _LABEL - 2)
    for column, name in enumerate(names):
        lines = sheet.type.wrap(named(name), CAPTION, cell - 1, 3)
        for up, line in enumerate(reversed(lines)):
            x, y = LEFT + _LABEL + column * cell, sheet.y + _HEAD - 4.5 - 3.2 * up
            sheet.text(line, x, y, CAPTION, cell - 0.3, "center")
    sheet.y += _HEAD - 3


def draw_models(sheet: Sheet, inspection: Inspection) -> None:
    """Draw the best score of each claim from model to model, a small chart for each."""
    sheet.paragraph(
        "The best score of any neuron (or layer), without its sign, in the order in which the "
        "models were given: "
        + "; ".join(f"{n}: {named(name)}" for n, name in enumerate(inspection.names, 1))
        + ".",
        CAPTION,
        most=8,
        after=2,
    )
    for measure in (table.measure for table in inspection.models[0].tables):
        series = list(_series(inspection, measure))[:_MOST_CLAIMS]
        height = max((max(points) for _, points in series if points), default=1.0)
        top = 1.0 if measure in _LEVELS else height or 1.0
        panel = (WIDTH - 8.0 * (_PANELS - 1)) / _PANELS
        for first in range(0, len(series), _PANELS):
            broke = sheet.room(_PANEL_HEIGHT + 18)
            if first == 0 or broke:
                sheet.text(measure, LEFT, sheet.y + 4, H2, WIDTH)
                sheet.y += 8
            for place, (name, points) in enumerate(series[first : first + _PANELS]):
                _draw_series(sheet, LEFT + place * (panel + 8.0), panel, name, points, top)
            sheet.y += _PANEL_HEIGHT + 9


def _series(inspection: Inspection, measure: str) -> Iterator[tuple[str, list[float]]]:
    tables = [
        next(table for table in one.tables if table.measure == measure) for one in inspection.models
    ]
    for claim in tables[0].claims:
        points = []
        for table in tables:
            sizes = table.sizes(claim)
            known = sizes[np.isfinite(sizes)]
            points.append(float(known.max()) if len(known) else np.nan)
        if not all(np.isnan(points)):
            yield inspection.models[0].claims[claim].name, points


def _draw_series(
    sheet: Sheet, x: float, width: float, name: str, points: Sequence[float], top: float
) -> None:
    sheet.text(named(name), x, sheet.y + 2.6, SMALL.bold(), width)
    y, height = sheet.y + 4.5, _PANEL_HEIGHT - 4.5
    left, wide = x + 9, width - 9
    for share in (0.0, 0.5, 1.0):
        level = y + height * (1 - share)
        sheet.line(left, level, left + wide, level, HAIRLINE, 0.12)
        sheet.text(rounded(share * top), x, level + 0.9, CAPTION, 8, "right")
    step = wide / max(len(points) - 1, 1)
    places = [
        (left + step * number, y + height * (1 - min(max(point / top, 0.0), 1.0)))
        for number, point in enumerate(points)
        if not np.isnan(point)
    ]
    for (x1, y1), (x2, y2) in pairwise(places):
        sheet.line(x1, y1, x2, y2, ACCENT, 0.4)
    for cx, cy in places:
        sheet.rect(cx - 0.6, cy - 0.6, 1.2, 1.2, ACCENT)
    shown = max(1, len(points) // 8)
    for number in range(0, len(points), shown):
        sheet.text(f"{number + 1}", left + step * number - 3, y + height + 3, CAPTION, 6, "center")
