"""Which images to keep: the fewest that cover what the whole suite covers."""

from __future__ import annotations

from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import CAPTION, GREY, H2, LEFT, SMALL, WIDTH, Sheet
from cleanai_onnx.report.subset import guarantee, headline
from cleanai_onnx.result import Result, SubsetFacts

__all__ = ["draw_subset"]

_MOST = 40
"""So many images are listed; the JSON has all."""
_NOT_NEEDED = 12


def draw_subset(sheet: Sheet, result: Result) -> None:
    """Draw how many images suffice, the first of them, and those that add nothing to them."""
    subset = result.subset
    if subset is None:
        return
    sheet.paragraph(f"{headline(subset)}. {guarantee(subset)}", most=6)
    sheet.paragraph(
        "An item is what a coverage counts: a neuron, a corner or a section of its range, a "
        "combination. The subset covers every item below that the whole suite covers. What only a "
        "pair of images covers (sc-suite, vc-suite) is not among them, nor are averages.",
        CAPTION,
        most=4,
    )
    draw_grid(
        sheet,
        [
            GridColumn("Coverage", 50),
            GridColumn("View", 24),
            GridColumn("Items kept", 30, "right", style=SMALL.bold()),
            GridColumn("Of", 34, "right"),
            GridColumn("Share", WIDTH - 138, "right"),
        ],
        [
            (
                one.metric,
                one.view,
                f"{one.covered:,}",
                figures.rounded(one.total),
                figures.percent(one.covered / one.total) if one.total else figures.NOTHING,
            )
            for one in subset.criteria
        ],
    )
    sheet.y += 4
    _draw_images(sheet, subset)
    _draw_not_needed(sheet, result, subset)
    _draw_advice(sheet, result)


def _draw_images(sheet: Sheet, subset: SubsetFacts) -> None:
    shown = subset.images[:_MOST]
    _heading(sheet, "Images to keep")
    said = (
        "In this order each image adds as much as it can to those before it. Images without labels "
        "are best labelled in this order, and a smaller budget takes the first ones. An image that "
        "covers items alone cannot be replaced by others of the suite."
    )
    if len(subset.images) > _MOST:
        where = printable(subset.file, 120) if subset.file else "the JSON result"
        said += f" The first {_MOST} are listed here, all of them in {where}."
    sheet.paragraph(said, CAPTION, most=5)
    draw_grid(
        sheet,
        [
            GridColumn("Rank", 13, "right", style=SMALL.colored(GREY)),
            GridColumn("Image", WIDTH - 91, lines=2),
            GridColumn("Adds items", 24, "right", style=SMALL.bold()),
            GridColumn("Kept so far", 24, "right"),
            GridColumn("Covers alone", 30, "right"),
        ],
        [
            (
                f"{rank:,}",
                named(image.path),
                f"{image.adds:,}",
                figures.percent(image.share),
                f"{image.only:,}",
            )
            for rank, image in enumerate(shown, 1)
        ],
    )
    sheet.y += 4


def _draw_not_needed(sheet: Sheet, result: Result, subset: SubsetFacts) -> None:
    _heading(sheet, "Images that add nothing")
    count = subset.of - len(subset.images)
    if not count:
        sheet.paragraph("None: every image is needed.")
        return
    names = ", ".join(printable(name, 60) for name in subset.redundant[:_NOT_NEEDED])
    more = f", and {count - _NOT_NEEDED:,} more" if count > _NOT_NEEDED else ""
    said = f"{count:,} images cover nothing that the subset does not cover: {names}{more}."
    if result.images.per_image_table:
        said += f" {printable(result.images.per_image_table, 120)} says it of every image."
    sheet.paragraph(said, most=10)


def _draw_advice(sheet: Sheet, result: Result) -> None:
    """Refer to what no image covers, the data to collect next."""
    dead = sum(map(len, result.dead_channels().values()))
    lacking = ['the channels listed under "Channels that were not exercised"'] if dead else []
    for table in result.tables:
        if table.metric == "idc" and table.total is not None:
            covered, combinations = table.total[2], table.total[3]
            if (
                isinstance(covered, int)
                and isinstance(combinations, int)
                and combinations > covered
            ):
                lacking.append(
                    f"the {figures.rounded(combinations - covered)} combinations of important "
                    "neurons that are missing (the notes of the table idc name some)"
                )
    _heading(sheet, "Images to collect")
    if not lacking:
        sheet.paragraph("Every channel fired on some image.")
        return
    sheet.paragraph(f"No image of the suite covers {', nor '.join(lacking)}.", most=4)


def _heading(sheet: Sheet, text: str) -> None:
    sheet.room(24)
    sheet.text(text, LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
