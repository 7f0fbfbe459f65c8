"""The images that stand out, as thumbnails with their names and scores."""

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
from cleanai_onnx.result import FeaturedImage, Result

__all__ = ["draw_featured_images"]

_ABREAST = 6
_GUTTER = 4.0
_CARD = (WIDTH - (_ABREAST - 1) * _GUTTER) / _ABREAST
_SCORES = 4
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
    for role, group in groupby(result.featured, key=lambda image: image.role):
        images = tuple(group)
        for start in range(0, len(images), _ABREAST):
            row = images[start : start + _ABREAST]
            names = [sheet.type.wrap(named(image.path), SMALL, _CARD, 2) for image in row]
            named_at = _CARD + 7.3 + 3.3 * max(map(len, names))
            height = named_at + 3.6 * max(len(_scores(result, image)) for image in row)
            broke = sheet.room(height + 9)
            if start == 0 or broke:
                sheet.text(role[:1].upper() + role[1:], LEFT, sheet.y + 4, H2, WIDTH)
                sheet.y += 7
            for number, (image, name) in enumerate(zip(row, names, strict=True)):
                x = LEFT + number * (_CARD + _GUTTER)
                _draw_card(sheet, image, name, x)
                _draw_scores(sheet, result, image, x, sheet.y + named_at + 0.5)
            sheet.y += height + 3


def _draw_card(sheet: Sheet, image: FeaturedImage, name: Sequence[str], x: float) -> None:
    y = sheet.y
    sheet.rect(x, y, _CARD, _CARD, PANEL)
    picture = _opened(image.thumbnail)
    if picture is None:
        sheet.text("no preview", x, y + _CARD / 2 + 1, CAPTION, _CARD, "center")
    else:
        width, height = picture.size
        scale = _CARD / max(width, height)
        wide, high = width * scale, height * scale
        sheet.pdf.image(picture, x + (_CARD - wide) / 2, y + (_CARD - high) / 2, wide, high)
    sheet.frame(x, y, _CARD, _CARD)
    y += _CARD + 3.6
    sheet.text(f"image {image.index:,}", x, y, CAPTION, _CARD)
    for line in name:
        y += 3.3
        sheet.text(line, x, y, SMALL, _CARD)


def _scores(result: Result, image: FeaturedImage) -> list[tuple[str, str]]:
    """Return the scores to show, in words: coverages, or others where there are none."""
    ratios = [name for name in image.scores if is_score_ratio(result, name)]
    if not ratios:
        return [(name, figures.value(image.scores[name])) for name in image.scores][:_SCORES]
    return [(name, figures.percent(image.scores[name])) for name in ratios[:_SCORES]]


def _draw_scores(sheet: Sheet, result: Result, image: FeaturedImage, x: float, y: float) -> None:
    for name, shown in _scores(result, image):
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
