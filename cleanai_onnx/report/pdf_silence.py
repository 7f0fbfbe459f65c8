"""The channels that the images did not exercise, named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import LayerFiring, firing_by_layer, hardly, layer_title
from cleanai_onnx.report.names import ranges
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import CAPTION, GREY, SMALL, WIDTH, Sheet
from cleanai_onnx.result import Result

__all__ = ["draw_silent_channels"]

_MANY, _FEW = 150, 70
"""Characters that the list of one layer may take: dead channels matter more than rare ones."""


def draw_silent_channels(sheet: Sheet, result: Result) -> None:
    """Draw the layers with channels that never or hardly fired, and which channels those are."""
    firing = firing_by_layer(result)
    used = result.images.used
    channels = sum(len(layer.counts) for layer in firing)
    dead = sum(len(layer.dead) for layer in firing)
    asleep = [layer for layer in firing if layer.counts and len(layer.dead) == len(layer.counts)]
    said = f"{dead:,} of {channels:,} channels ({_share(dead, channels)}) fired on none of the "
    said += f"{used:,} images."
    if asleep:
        names = "; ".join(f"{layer.index} {layer_title(layer.layer)}" for layer in asleep)
        said += f" Layers in which no channel ever fired: {names}."
    elif dead:
        said += " Every layer has at least one channel that fired."
    sheet.paragraph(said, most=12)
    sheet.paragraph(
        "A channel that never fires is dead for these images: either they lack what it responds "
        "to, or training left it without a function. Channels are numbered from 0 as in the "
        "model's weights; the full list is in the JSON result.",
        CAPTION,
    )
    if dead:
        _draw_list(sheet, "Never fired", firing, lambda layer: layer.dead, _MANY)
    limit = hardly(used)
    if not limit:
        sheet.paragraph(
            "With so few images, channels that fire rarely cannot be told from others.", CAPTION
        )
        return
    title = "Fired on one image only" if limit == 1 else f"Fired on at most {limit:,} images"
    if any(layer.rare for layer in firing):
        _draw_list(sheet, title, firing, lambda layer: layer.rare, _FEW)
    else:
        sheet.paragraph(f"{title}: no channel.", SMALL)


def _share(part: int, whole: int) -> str:
    return figures.percent(part / whole) if whole else figures.NOTHING


def _draw_list(
    sheet: Sheet,
    title: str,
    firing: Sequence[LayerFiring],
    chosen: Callable[[LayerFiring], tuple[int, ...]],
    room: int,
) -> None:
    sheet.y += 2
    sheet.section(title, level=1, new_page=False)
    listed = [(layer, chosen(layer)) for layer in firing if chosen(layer)]
    sheet.y -= 1
    draw_grid(
        sheet,
        [
            GridColumn("#", 9, "right", style=SMALL.colored(GREY)),
            GridColumn("Layer", 47),
            GridColumn("Count", 14, "right", style=SMALL.bold()),
            GridColumn("Of", 14, "right"),
            GridColumn("Share", 17, "right"),
            GridColumn("Channels", WIDTH - 101, lines=4),
        ],
        [
            (
                str(layer.index),
                layer_title(layer.layer),
                f"{len(found):,}",
                f"{len(layer.counts):,}",
                _share(len(found), len(layer.counts)),
                "all" if len(found) == len(layer.counts) else ranges(found, room, "–"),  # noqa: RUF001
            )
            for layer, found in listed
        ],
        total=(
            "",
            "total",
            f"{sum(len(found) for _, found in listed):,}",
            f"{sum(len(layer.counts) for layer in firing):,}",
            _share(
                sum(len(found) for _, found in listed), sum(len(layer.counts) for layer in firing)
            ),
            "",
        ),
    )
    sheet.y += 3
