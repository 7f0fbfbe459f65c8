"""The last pages of the PDF report: what was left out, where settings came from, how to read it."""

from __future__ import annotations

from cleanai_onnx.report import figures
from cleanai_onnx.report.conversion import CLAIM, described
from cleanai_onnx.report.digest import hashes_of
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import BODY, CAPTION, H2, LEFT, SMALL, WIDTH, Sheet
from cleanai_onnx.report.profile import describe
from cleanai_onnx.report.reading import LIMITS, REFERENCES, TERMS
from cleanai_onnx.result import Result

__all__ = [
    "draw_conversion",
    "draw_notes",
    "draw_preprocessing",
    "draw_profile",
    "draw_reading",
    "draw_run",
    "draw_skipped_images",
    "draw_untapped",
]

_MOST = 50
"""So many skipped images or operators are listed; the JSON has all."""


def draw_skipped_images(sheet: Sheet, result: Result) -> None:
    """Draw which images were not used, and why."""
    skipped = result.images.skipped
    if not skipped:
        sheet.paragraph(f"None: all {result.images.used:,} images were used.")
        return
    said = f"{len(skipped):,} of {result.images.found:,} images were not used."
    if len(skipped) > _MOST:
        said += f" The first {_MOST} are listed here, all of them in the JSON result."
    sheet.paragraph(said)
    draw_grid(
        sheet,
        [
            GridColumn("", 10, "right", style=CAPTION),
            GridColumn("Image", 90, lines=3),
            GridColumn("Reason", WIDTH - 100, lines=3),
        ],
        [
            (f"{number:,}", named(image.path), image.reason)
            for number, image in enumerate(skipped[:_MOST], 1)
        ],
    )
    sheet.y += 4


def draw_preprocessing(sheet: Sheet, result: Result) -> None:
    """Draw how images became tensors, and where each setting came from."""
    if not result.preprocessing:
        sheet.paragraph("The batches were given ready; nothing was done to them.")
        return
    draw_grid(
        sheet,
        [
            GridColumn("Setting", 32, lines=2, style=SMALL.bold()),
            GridColumn("Value", 68, lines=4),
            GridColumn("Where it came from", WIDTH - 100, lines=4),
        ],
        [(field.name, field.value, field.origin) for field in result.preprocessing],
    )
    sheet.y += 4


def draw_profile(sheet: Sheet, result: Result) -> None:
    """Draw what the metrics that need training images were measured against."""
    if result.profile is None:
        return
    sheet.paragraph(
        "nbc-suite, snac, kmnc and idc measure the suite against what was learnt from these "
        "training images."
    )
    draw_grid(
        sheet,
        [GridColumn("", 32, style=SMALL.bold()), GridColumn("", WIDTH - 32, lines=6)],
        describe(result.profile),
    )
    sheet.y += 4


def draw_notes(sheet: Sheet, result: Result) -> None:
    """Draw what the reader of the numbers must know."""
    if not result.notes:
        sheet.paragraph("None.")
        return
    draw_grid(
        sheet,
        [
            GridColumn("Note", 42, lines=2, style=SMALL.bold()),
            GridColumn("", WIDTH - 42, lines=12),
        ],
        [(note.slug, note.text) for note in result.notes],
    )
    sheet.y += 4


def draw_untapped(sheet: Sheet, result: Result) -> None:
    """Draw the activations that the numbers leave out."""
    untapped = result.model.untapped
    if not untapped:
        sheet.paragraph("None: every activation that was asked for was measured.")
        return
    said = f"{len(untapped):,} activations of the graph are not part of any number in this report."
    if len(untapped) > _MOST:
        said += f" The first {_MOST} are listed here, all of them in the JSON result."
    sheet.paragraph(said)
    draw_grid(
        sheet,
        [
            GridColumn("Activation", 70, lines=3),
            GridColumn("Operator", 28, lines=2),
            GridColumn("Reason", WIDTH - 98, lines=3),
        ],
        [(named(node.name), node.op, node.reason) for node in untapped[:_MOST]],
    )
    sheet.y += 4


def draw_conversion(sheet: Sheet, result: Result) -> None:
    """Draw what the model file claims of its making."""
    record = result.model.conversion
    if record is None:
        sheet.paragraph(result.model.conversion_remark)
        return
    sheet.paragraph(CLAIM)
    rows = [*described(record), ("SHA-256 of the source", record.source_sha256 or figures.NOTHING)]
    rows += [("Version", f"{name} {version}") for name, version in record.versions.items()]
    draw_grid(
        sheet,
        [
            GridColumn("", 38, lines=2, style=SMALL.bold()),
            GridColumn("", WIDTH - 38, lines=8),
        ],
        rows,
        heading=False,
    )
    sheet.y += 4


def draw_run(sheet: Sheet, result: Result) -> None:
    """Draw the run in detail: hashes, options, time, versions, operators of the model."""
    run = result.run
    seconds = [(phase, figures.duration(spent)) for phase, spent in run.seconds.items()]
    options = [(name, figures.parameter(setting)) for name, setting in run.options.items()]
    operators = sorted(result.model.operators.items(), key=lambda item: (-item[1], item[0]))
    listed = [(name, f"{number:,}") for name, number in operators[:_MOST]]
    if len(operators) > _MOST:
        listed.append((f"and {len(operators) - _MOST:,} more types", ""))
    for title, pairs in (
        ("SHA-256", hashes_of(result)),
        ("Options", options),
        ("Time", seconds),
        ("Versions", [*run.versions.items(), ("platform", run.platform)]),
        ("Operators of the model", listed),
    ):
        if not pairs:
            continue
        sheet.room(20)
        sheet.text(title, LEFT, sheet.y + 4, H2, WIDTH)
        sheet.y += 6.5
        draw_grid(
            sheet,
            [GridColumn("", 60, lines=2), GridColumn("", WIDTH - 60, lines=6)],
            [(named(name), text) for name, text in pairs],
            heading=False,
        )
        sheet.y += 4


def draw_reading(sheet: Sheet, result: Result) -> None:
    """Draw what the words mean, what the metrics can and cannot show, and the sources."""
    del result
    sheet.text("Words", LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
    for term, meaning in TERMS:
        sheet.room(8)
        sheet.text(term, LEFT, sheet.y + 3.33, BODY.bold(), 33)
        sheet.paragraph(meaning, x=LEFT + 35, width=WIDTH - 35)
    sheet.y += 2
    sheet.room(30)
    sheet.text("What the metrics can and cannot show", LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
    for text in LIMITS:
        sheet.paragraph(text)
    sheet.y += 2
    sheet.room(30)
    sheet.text("References", LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
    for number, text in enumerate(REFERENCES, 1):
        sheet.room(8)
        sheet.text(f"[{number}]", LEFT, sheet.y + 2.8, SMALL, 7)
        sheet.paragraph(text, SMALL, x=LEFT + 7.5, width=WIDTH - 7.5, after=0.8)
