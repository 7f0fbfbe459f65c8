"""PDF of a comparison: the outputs, the images on which two models disagree, every metric."""

from __future__ import annotations

from collections.abc import Sequence

from cleanai_onnx.difference import Comparison, LayerChange, MetricChange, Side
from cleanai_onnx.report import figures
from cleanai_onnx.report.comparison import class_pair, described_outputs, small
from cleanai_onnx.report.difference import changed, figure, matched_by, most_changed, signed
from cleanai_onnx.report.digest import VIEWS
from cleanai_onnx.report.names import named, printable, ranges
from cleanai_onnx.report.pdf import started
from cleanai_onnx.report.pdf_gates import draw_outcomes
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_images import draw_picture
from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    CAPTION,
    GREY,
    H2,
    INK,
    LEFT,
    RIGHT,
    SIGNAL,
    SMALL,
    WIDTH,
    Sheet,
)
from cleanai_onnx.report.typesetting import Face, Style
from cleanai_onnx.result import View

__all__ = ["render"]

_GUTTER = 8.0
_COLUMN = (WIDTH - _GUTTER) / 2
_CARDS = 5
_CARD_STEP = WIDTH / _CARDS
_CARD = 22.0
_NUMBER = 20.5
_OF_LAYERS: tuple[tuple[str, View], ...] = (("nc", "unit"), ("nc-suite", "channel"))
"""What is shown of every layer; the JSON has all."""
_CHANGED = 15
_NAMES = 40
_CHANNELS = 20


def render(comparison: Comparison) -> bytes:
    """Return a comparison as the bytes of a PDF file, the same for the same comparison."""
    found = comparison.difference
    old, new = found.old, found.new
    title = f"{named(old.model)} and {named(new.model)}"
    sheet = Sheet(
        title=f"Comparison: {title}"[:300],
        author=f"cleanai-onnx {new.tool_version}"[:100],
        subject=f"Two models over the same images: {title}"[:300],
        created=started(new.started),
        head=(title, new.started.replace("T", " ", 1)),
        foot=f"cleanai-onnx {new.tool_version}",
    )
    _draw_cover(sheet, comparison, title)
    draw_outcomes(sheet, comparison.gates)
    _draw_outputs(sheet, comparison)
    _draw_metrics(sheet, comparison)
    _draw_layers(sheet, comparison)
    _draw_channels(sheet, comparison)
    _draw_further(sheet, comparison)
    return sheet.finish()


def _draw_cover(sheet: Sheet, comparison: Comparison, title: str) -> None:
    sheet.new_page()
    sheet.rect(0, 0, 210, 5, ACCENT)
    sheet.y = 22
    sheet.bookmark("Comparison")
    sheet.text("COMPARISON REPORT", LEFT, 24, Style(Face.BOLD, 8.5, ACCENT), WIDTH)
    sheet.text(title, LEFT, 33.5, Style(Face.BOLD, 18, INK), WIDTH)
    new = comparison.difference.new
    decoded = "decoded once for both" if comparison.decoded_once else "decoded for each model"
    sheet.text(
        f"Two models over the same {new.images:,} images of {named(new.source)}, {decoded}; "
        f"{comparison.device}, {figures.duration(comparison.seconds)}",
        LEFT,
        40.5,
        Style(Face.TEXT, 9, GREY),
        WIDTH,
    )
    sheet.line(LEFT, 45, RIGHT, 45, ACCENT, 0.5)
    ends = []
    for x, heading, side in (
        (LEFT, "Old model", comparison.difference.old),
        (LEFT + _COLUMN + _GUTTER, "New model", new),
    ):
        sheet.y = 50
        sheet.text(heading, x, sheet.y + 3.5, H2, _COLUMN)
        sheet.y += 6.5
        sheet.fields(_facts(side), x=x, width=_COLUMN, label=18, mono=frozenset({"SHA-256"}))
        ends.append(sheet.y)
    sheet.y = max(ends) + 3


def _facts(side: Side) -> list[tuple[str, str]]:
    return [
        ("Name", named(side.model)),
        ("File", named(side.file)),
        ("SHA-256", side.sha256),
        ("Images", f"{side.images:,} used"),
    ]


def _draw_outputs(sheet: Sheet, comparison: Comparison) -> None:
    _heading(sheet, "Outputs")
    sheet.fields(described_outputs(comparison), x=LEFT, width=WIDTH, label=23, most=3)
    sheet.y += 2
    shown = comparison.disagreements
    if not shown:
        if comparison.outputs is not None:
            sheet.paragraph("The outputs are the same, value for value.")
        return
    _heading(sheet, "Images on which they disagree most")
    for first in range(0, len(shown), _CARDS):
        row = shown[first : first + _CARDS]
        sheet.room(38)
        for number, one in enumerate(row):
            x = LEFT + number * _CARD_STEP
            draw_picture(sheet, one.thumbnail, x, "no preview", _CARD)
            y = sheet.y + _CARD + 3.3
            room = _CARD_STEP - 3
            sheet.text(named(one.path), x, y, CAPTION, room)
            other = one.old_class != one.new_class
            style = SMALL.bold().colored(SIGNAL if other else INK)
            sheet.text(class_pair(one) or "no class", x, y + 3.6, style, room)
            apart = f"{small(one.difference)}"
            if one.relative is not None:
                apart += f", {figures.share(one.relative, 1)}"
            sheet.text(apart, x, y + 7.2, SMALL, room)
        sheet.y += _CARD + 13
    sheet.paragraph(
        "Below each image: the classes that the old and the new model choose, the largest absolute "
        "difference of their output values, and that as a part of the old model's largest value "
        "for the image.",
        CAPTION,
        after=3,
    )


def _draw_metrics(sheet: Sheet, comparison: Comparison) -> None:
    metrics = comparison.difference.metrics
    _heading(sheet, "Metrics")
    same = len(metrics) - len(changed(comparison.difference))
    sheet.paragraph(
        f"{same:,} of {len(metrics):,} figures are the same. A change of a coverage is in "
        "percentage points.",
        CAPTION,
        after=0.5,
    )
    by_metric: dict[str, dict[View, MetricChange]] = {}
    for one in metrics:
        by_metric.setdefault(one.metric, {})[one.view] = one
    draw_grid(
        sheet,
        [GridColumn("Metric", WIDTH - 6 * _NUMBER), *_side_by_side("unit view", "channel view")],
        [
            (metric, *(cell for view in VIEWS for cell in _cells(views.get(view))))
            for metric, views in by_metric.items()
        ],
    )
    sheet.y += 4
    for reason in dict.fromkeys(one.differs for one in metrics if one.differs):
        names = dict.fromkeys(one.metric for one in metrics if one.differs == reason)
        sheet.paragraph(f"Not comparable: {', '.join(names)}; {reason}", CAPTION, most=3)


def _draw_layers(sheet: Sheet, comparison: Comparison) -> None:
    found = comparison.difference
    _heading(sheet, "Layers")
    sheet.paragraph(f"{matched_by(found)}.", CAPTION, after=0.5)
    for word, names in (("old", found.only_old), ("new", found.only_new)):
        if names:
            text = ", ".join(printable(named(name), 60) for name in names[:_NAMES])
            more = len(names) - _NAMES
            text += f" and {more:,} more" if more > 0 else ""
            sheet.paragraph(f"Only in the {word} model: {text}", CAPTION, most=6)
    numbers = {(one.metric, one.view, one.layer): one for one in found.layers}
    draw_grid(
        sheet,
        [
            GridColumn("Layer", WIDTH - 6 * _NUMBER, lines=2),
            *_side_by_side(*(f"{metric}, {view}s" for metric, view in _OF_LAYERS)),
        ],
        [
            (
                named(pair.title),
                *(
                    cell
                    for metric, view in _OF_LAYERS
                    for cell in _cells(numbers.get((metric, view, pair.new)))
                ),
            )
            for pair in found.pairs
        ],
    )
    sheet.y += 4
    shown = most_changed(found.layers, _CHANGED)
    if not shown:
        return
    draw_grid(
        sheet,
        [
            GridColumn("What changed most in a layer", WIDTH - 60 - 3 * _NUMBER, lines=2),
            GridColumn("Metric", 60),
            *_side_by_side(""),
        ],
        [
            (
                named(found.titles.get(one.layer, one.layer)),
                f"{one.metric}, {one.view}s",
                *_cells(one),
            )
            for one in shown
        ],
    )
    sheet.y += 4


def _side_by_side(*groups: str) -> list[GridColumn]:
    """Return the columns old, new and change under each heading."""
    return [
        GridColumn(
            name, _NUMBER, "right", style=SMALL.bold() if name == "change" else SMALL, group=group
        )
        for group in groups
        for name in ("old", "new", "change")
    ]


def _cells(one: MetricChange | LayerChange | None) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    return figure(one.old, one.kind), figure(one.new, one.kind), signed(one.change, one.kind)


def _draw_channels(sheet: Sheet, comparison: Comparison) -> None:
    found, titles = comparison.difference, comparison.difference.titles
    for title, changes in (
        ("Channels that never fire in the new model, and do in the old one", found.silenced),
        ("Channels that fire in the new model only", found.awakened),
    ):
        if not changes:
            continue
        _heading(sheet, title)
        draw_grid(
            sheet,
            [
                GridColumn("Layer", WIDTH - 112, lines=2),
                GridColumn("Channels", 18, "right"),
                GridColumn("Which", 94, lines=3),
            ],
            [
                (
                    named(titles.get(one.layer, one.layer)),
                    f"{len(one.channels):,}",
                    ranges(one.channels, 160),
                )
                for one in changes[:_CHANNELS]
            ],
        )
        if len(changes) > _CHANNELS:
            sheet.paragraph(f"And those of {len(changes) - _CHANNELS:,} more layers.", CAPTION)
        sheet.y += 4


def _draw_further(sheet: Sheet, comparison: Comparison) -> None:
    pairs: Sequence[tuple[str, str]] = [
        *(
            (change.name, f"{change.old} in the old analysis, {change.new} in the new one")
            for change in comparison.difference.settings
        ),
        *((image.path, f"skipped: {image.reason}") for image in comparison.skipped[:_CHANNELS]),
        *((note.slug, note.text) for note in comparison.notes),
    ]
    if not pairs:
        return
    _heading(sheet, "What else to know")
    sheet.fields(
        [(printable(named(name), 40), printable(text, 600)) for name, text in pairs],
        x=LEFT,
        width=WIDTH,
        label=45,
        most=4,
    )
    if len(comparison.skipped) > _CHANNELS:
        more = len(comparison.skipped) - _CHANNELS
        sheet.paragraph(f"{more:,} more images were skipped; the JSON has all.", CAPTION)


def _heading(sheet: Sheet, text: str) -> None:
    sheet.room(26)
    sheet.text(text, LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
