"""The best neurons of each hypothesis, with the images that excite them most."""

from __future__ import annotations

from itertools import groupby

from cleanai_onnx.inspection.result import FeaturedNeuron, ModelInspection
from cleanai_onnx.report import figures
from cleanai_onnx.report.affinities import chance, neuron_title, rounded
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid, grid_height
from cleanai_onnx.report.pdf_images import draw_picture
from cleanai_onnx.report.pdf_sheet import BODY, CAPTION, LEFT, SMALL, WIDTH, Sheet

__all__ = ["draw_claims"]

_NEURONS = 5
_LABEL = 34.0
_PICTURE, _GAP = 21.0, 1.4


def draw_claims(sheet: Sheet, one: ModelInspection) -> None:
    """Draw a table and rows of images for each claim."""
    sheet.paragraph(
        "For each hypothesis the neurons with the best scores, by the first measure that suits "
        "it, and below them the images on which these neurons are largest (the value above each), "
        "whether the hypothesis holds for them or not. A neuron with a negative score is large "
        "where the hypothesis does not hold."
        + (
            " On the right of an image, what the neuron sees in it: the redder, the larger its "
            "activation there."
            if any(image.overlay for neuron in one.featured for image in neuron.images)
            else ""
        ),
        CAPTION,
        most=6,
        after=2,
    )
    if not one.featured:
        sheet.paragraph("Batches of your own are not kept, so there are no images.", CAPTION)
    featured = {
        claim: tuple(group)
        for claim, group in groupby(one.featured, key=lambda neuron: neuron.claim)
    }
    shown = sorted(featured) or range(min(len(one.claims), 40))
    for claim in shown:
        _draw_claim(sheet, one, claim, featured.get(claim, ()))
    if len(shown) < len(one.claims) and featured:
        missing = len(one.claims) - 1 - max(shown)
        if missing > 0:
            sheet.paragraph(f"{missing:,} more hypotheses are in the table.", BODY)


def _draw_claim(
    sheet: Sheet,
    one: ModelInspection,
    claim: int,
    featured: tuple[FeaturedNeuron, ...],
) -> None:
    table = one.ranking(claim)
    if table is None:
        return
    stated = one.claims[claim]
    images = sum(1 for neuron in featured if neuron.images)
    sheet.room(min(9 + grid_height(_NEURONS + 1) + images * (_PICTURE + 6), 110))
    sheet.section(f"{named(stated.name)} ({stated.kind})", level=1, new_page=False, keep=40)
    column = table.claims.index(claim)
    others = [t for t in one.tables if not t.joint and claim in t.claims and t is not table][:5]
    width = 17.0
    columns = [
        GridColumn("Neuron", WIDTH - 74 - width * len(others)),
        GridColumn(table.measure, 20, "right", style=SMALL.bold()),
        GridColumn("95 % interval", 34, "right"),
        GridColumn("q", 20, "right"),
        *(GridColumn(t.measure, width, "right", lines=2) for t in others),
    ]
    rows = []
    for row in table.top(claim, _NEURONS):
        scores = table.scores
        rows.append(
            [
                neuron_title(one, row),
                rounded(scores.score[row, column]),
                f"{rounded(scores.low[row, column])} … {rounded(scores.high[row, column])}",
                chance(table.q[row, column]),
                *(rounded(t.scores.score[row, t.claims.index(claim)]) for t in others),
            ]
        )
    if not rows:
        sheet.paragraph("No neuron has a score: it, or the hypothesis, never changes.", CAPTION)
        return
    draw_grid(sheet, columns, rows)
    sheet.y += 2
    for neuron in featured:
        if neuron.images:
            _draw_images(sheet, one, neuron)
    sheet.y += 2


def _draw_images(sheet: Sheet, one: ModelInspection, neuron: FeaturedNeuron) -> None:
    sheet.room(_PICTURE + 6)
    top = sheet.y
    for number, line in enumerate(
        sheet.type.wrap(neuron_title(one, neuron.row), SMALL.bold(), _LABEL - 2, 3)
    ):
        sheet.text(line, LEFT, top + 6 + 3.3 * number, SMALL.bold(), _LABEL - 2)
    sheet.y = top + 3.2
    wide = any(image.overlay for image in neuron.images)
    step = (2 if wide else 1) * _PICTURE + _GAP
    most = int((WIDTH - _LABEL + _GAP) / step)
    for number, image in enumerate(neuron.images[:most]):
        x = LEFT + _LABEL + number * step
        sheet.text(figures.value(float(f"{image.value:.4g}")), x, top + 2.4, CAPTION, _PICTURE)
        draw_picture(sheet, image.thumbnail, x, "no preview", _PICTURE)
        if wide:
            draw_picture(sheet, image.overlay, x + _PICTURE, "no map", _PICTURE)
    sheet.y = top + _PICTURE + 5.5
