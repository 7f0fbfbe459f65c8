"""Heat maps: the relevance of an image's pixels laid over the image.

Red speaks for the target, blue against it. The scale is symmetric, so that equal colours are equal
amounts: full colour is the size that one pixel in a thousand exceeds, or the largest of all where
images are small. The image itself is shown in pale gray, which leaves the colours to relevance.
"""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable

__all__ = ["HeatMap", "draw_heat_map", "heat_map", "small_png"]

Floats: TypeAlias = npt.NDArray[np.float64]

_FOR, _AGAINST = (178.0, 10.0, 28.0), (16.0, 64.0, 160.0)
_INK, _PALE_INK, _PAPER = (25, 25, 25), (105, 105, 105), (255, 255, 255)
_DARKEST, _BRIGHTEST = 150.0, 250.0
_EXPONENT = 0.7
"""Of the opacity: below 1, so that small amounts can still be seen."""
_QUANTILE = 0.999
_LEAST_SIDE, _MOST_SIDE = 224, 1024
_LEAST_WIDTH = 260
_MARGIN, _TEXT_SIZE, _LINE, _BAR = 8, 12, 17, 10


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A heat map without its caption.

    Attributes
    ----------
    pixels
        (height, width, 3).
    scale
        The relevance of a pixel that has full colour.
    """

    pixels: npt.NDArray[np.uint8]
    scale: float


def heat_map(relevance: Floats, picture: npt.NDArray[np.uint8]) -> HeatMap:
    """Lay relevance over a picture.

    Parameters
    ----------
    relevance
        (height, width), finite.
    picture
        (height, width) or (height, width, 3).
    """
    sizes = np.abs(relevance)
    # The quantile is of nothing but zeros where only a few pixels have relevance.
    scale = float(np.quantile(sizes, _QUANTILE)) or float(sizes.max())
    gray = picture.astype(np.float64)
    if gray.ndim == 3:
        gray = gray @ np.array([0.299, 0.587, 0.114])
    paper = (_DARKEST + gray / 255 * (_BRIGHTEST - _DARKEST))[..., None]
    opacity = (np.clip(sizes / scale, 0, 1) if scale else sizes)[..., None] ** _EXPONENT
    colour = np.where(relevance[..., None] > 0, _FOR, _AGAINST)
    return HeatMap(np.rint(paper + opacity * (colour - paper)).astype(np.uint8), scale)


def draw_heat_map(made: HeatMap, title: str, lines: tuple[str, ...] = ()) -> bytes:
    """Return a heat map as PNG: enlarged without smoothing, with its scale and a caption below.

    Parameters
    ----------
    made
        The heat map.
    title
        The file's name, whatever characters it has.
    lines
        What else is to be read below.
    """
    picture = _at_a_sensible_size(Image.fromarray(made.pixels))
    width = max(picture.width, _LEAST_WIDTH)
    height = picture.height + _MARGIN * 2 + _BAR + _LINE * (2 + len(lines))
    sheet = Image.new("RGB", (width, height), _PAPER)
    sheet.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(sheet)
    y = picture.height + _MARGIN
    _draw_scale(sheet, draw, y, made.scale)
    y += _BAR + _LINE
    for number, text in enumerate((named(title), *lines)):
        _draw_text(draw, text, y, width, number == 0)
        y += _LINE
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def small_png(made: HeatMap, most: int) -> bytes:
    """Return a heat map as PNG without scale and caption, at most `most` pixels wide and high."""
    stream = io.BytesIO()
    _at_most(Image.fromarray(made.pixels), most).save(stream, format="PNG")
    return stream.getvalue()


def _at_most(picture: Image.Image, most: int) -> Image.Image:
    scale = most / max(picture.size)
    if scale >= 1:
        return picture
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    # Averages keep what nearest neighbours would leave out by chance.
    return picture.resize(size, Image.Resampling.BOX)


def _at_a_sensible_size(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    if longest > _MOST_SIDE:
        return _at_most(picture, _MOST_SIDE)
    factor = -(-_LEAST_SIDE // longest)
    size = picture.width * factor, picture.height * factor
    return picture.resize(size, Image.Resampling.NEAREST)


def _draw_scale(sheet: Image.Image, draw: Any, y: int, scale: float) -> None:
    width = sheet.width - 2 * _MARGIN
    ramp = np.linspace(-1.0, 1.0, width)[None]
    # The same colours as above, on white.
    bar = heat_map(np.repeat(ramp, _BAR, axis=0), np.full((_BAR, width), 255, np.uint8))
    sheet.paste(Image.fromarray(bar.pixels), (_MARGIN, y))
    font = _font(False)
    amount = figures.value(float(f"{scale:.3g}"))
    y += _BAR + 1
    for text, share, anchor in (
        (f"against  -{amount}", 0.0, "la"), ("0", 0.5, "ma"), (f"+{amount}  for", 1.0, "ra"),
    ):  # fmt: skip
        draw.text((_MARGIN + share * width, y), text, _PALE_INK, font, anchor)


def _draw_text(draw: Any, text: str, y: int, width: int, strong: bool) -> None:
    font = _font(strong)
    room = width - 2 * _MARGIN
    limit = 400
    shown = printable(text, limit, has=_has)
    while font.getlength(shown) > room and limit > 1:
        limit = min(limit, len(shown)) - 1
        shown = printable(text, limit, has=_has)
    draw.text((_MARGIN, y), shown, _INK, font, "la")


@cache
def _font(strong: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSansCondensed-Bold.ttf" if strong else "DejaVuSansCondensed.ttf"
    content = files("cleanai_onnx.report").joinpath("fonts", name).read_bytes()
    # Basic layout: what a shaping engine does with hostile text is not ours to find out.
    layout = ImageFont.Layout.BASIC
    return ImageFont.truetype(io.BytesIO(content), _TEXT_SIZE, layout_engine=layout)


@cache
def _missing() -> bytes:
    return bytes(_font(True).getmask("\uffff"))


def _has(character: str) -> bool:
    """Say whether the font shows a character; what it has not, it shows as an empty box."""
    if character.isascii():
        return True
    if unicodedata.bidirectional(character) in ("R", "AL"):
        return False
    return bytes(_font(True).getmask(character)) != _missing()
