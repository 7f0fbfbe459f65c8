"""The images that stand out, as thumbnails with their names and scores.

Where relevance was computed, the heat map stands on the right of the thumbnail, and below it what
was explained and where the relevance went.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from PIL import Image

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import is_score_ratio
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.report.pdf_sheet import CAPTION, H2, LEFT, PANEL, SMALL, WIDTH, Sheet
from cleanai_onnx.report.relevance import key_of, shares_of
from cleanai_onnx.result import FeaturedImage, Result

__all__ = ["draw_featured_images", "draw_picture"]

_COLUMNS = 6
_GUTTER = 4.0
_CARD = (WIDTH - (_COLUMNS - 1) * _GUTTER) / _COLUMNS
_BETWEEN = 1.2
_SCORES = 4
_REASONS = ("no-relevance", "relevance-failed", "relevance-incomplete")
_LARGEST_SIDE = 2048


def draw_featured_images(sheet: Sheet, result: Result) -> None:
    """Draw the featured images, grouped by the reason why they are shown."""
    sheet.paragraph(
        "Scores are for the whole model and this image alone. Images are numbered from 0 in "
        "the order of the suite."
        + (
            f" The figures of every image are in {printable(result.images.per_image_table, 120)}."
            if result.images.per_image_table
            else ""
        ),
        CAPTION,
        most=4,
        after=3,
    )
    _draw_key(sheet, result)
    # With a heat map, a card takes two columns.
    columns = 1 if result.relevance is None else 2
    abreast, width = _COLUMNS // columns, columns * _CARD + (columns - 1) * _BETWEEN
    step = (WIDTH + _GUTTER) / abreast
    for role, group in groupby(result.featured, key=lambda image: image.role):
        images = tuple(group)
        for start in range(0, len(images), abreast):
            row = images[start : start + abreast]
            names = [sheet.type.wrap(named(image.path), SMALL, width, 2) for image in row]
            named_at = _CARD + 7.3 + 3.3 * max(map(len, names))
            lines = max(max(len(_scores(result, i)), len(shares_of(i.relevance))) for i in row)
            height = named_at + 3.6 * lines
            broke = sheet.room(height + 9)
            if start == 0 or broke:
                sheet.text(role[:1].upper() + role[1:], LEFT, sheet.y + 4, H2, WIDTH)
                sheet.y += 7
            for number, (image, name) in enumerate(zip(row, names, strict=True)):
                x, y = LEFT + number * step, sheet.y + named_at + 0.5
                draw_picture(sheet, image.thumbnail, x, "no preview")
                _draw_name(sheet, image, name, x, width)
                _draw_pairs(sheet, _scores(result, image), x, y)
                if columns > 1:
                    right = x + _CARD + _BETWEEN
                    heat_map = None if image.relevance is None else image.relevance.heat_map
                    draw_picture(sheet, heat_map, right, "no heat map")
                    _draw_pairs(sheet, shares_of(image.relevance), right, y)
            sheet.y += height + 3


def _draw_key(sheet: Sheet, result: Result) -> None:
    """Say how the heat maps were made and are read, or why there are none."""
    facts = result.relevance
    if facts is not None:
        sheet.paragraph(key_of(facts, result.featured), CAPTION, most=9, after=3)
    elif result.run.options.get("relevance") is False:
        sheet.paragraph("Heat maps of relevance were switched off.", CAPTION, after=3)
    for note in result.notes:
        if note.slug in _REASONS:
            sheet.paragraph(printable(note.text, 600), CAPTION, most=6, after=3)


def draw_picture(
    sheet: Sheet, content: bytes | None, x: float, missing: str, card: float = _CARD
) -> None:
    """Draw a picture at the cursor in a square of `card` millimetres; a line of text without."""
    y = sheet.y
    sheet.rect(x, y, card, card, PANEL)
    picture = _opened(content)
    if picture is None:
        sheet.text(missing, x, y + card / 2 + 1, CAPTION, card, "center")
    else:
        width, height = picture.size
        scale = card / max(width, height)
        wide, high = width * scale, height * scale
        sheet.pdf.image(picture, x + (card - wide) / 2, y + (card - high) / 2, wide, high)
    sheet.frame(x, y, card, card)


def _draw_name(
    sheet: Sheet, image: FeaturedImage, name: Sequence[str], x: float, width: float
) -> None:
    y = sheet.y + _CARD + 3.6
    sheet.text(f"image {image.index:,}", x, y, CAPTION, width)
    for line in name:
        y += 3.3
        sheet.text(line, x, y, SMALL, width)


def _scores(result: Result, image: FeaturedImage) -> list[tuple[str, str]]:
    """Return the scores to show, in words: coverages, or others where there are none."""
    ratios = [name for name in image.scores if is_score_ratio(result, name)]
    if not ratios:
        return [(name, figures.value(image.scores[name])) for name in image.scores][:_SCORES]
    return [(name, figures.percent(image.scores[name])) for name in ratios[:_SCORES]]


def _draw_pairs(sheet: Sheet, pairs: Sequence[tuple[str, str]], x: float, y: float) -> None:
    for name, shown in pairs:
        sheet.text(name, x, y, replace(CAPTION, size=6.6), _CARD - 11.5)
        sheet.text(shown, x + _CARD - 11, y, replace(SMALL.bold(), size=6.8), 11, "right")
        y += 3.6


def _opened(thumbnail: bytes | None) -> Image.Image | None:
    """Return the picture, or None where there is none that is safe and whole.

    A stored result may come from anyone: only PNG is decoded, and only of a moderate size.
    """
    if thumbnail is None:
        return None
    try:
        with Image.open(io.BytesIO(thumbnail), formats=("PNG",)) as picture:
            if max(picture.size) > _LARGEST_SIDE or min(picture.size) < 1:
                return None
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
