"""PDF: the report that one hands to an auditor, from the cover to the sources.

The document depends on the result alone: its creation date is the run's, so that the same result
gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cleanai_onnx.report import pdf_appendix as appendix
from cleanai_onnx.report.pdf_charts import draw_coverage_chart, draw_firing_map
from cleanai_onnx.report.pdf_cover import draw_cover
from cleanai_onnx.report.pdf_images import draw_featured_images
from cleanai_onnx.report.pdf_importance import draw_important_neurons
from cleanai_onnx.report.pdf_sheet import (
    BODY,
    BOTTOM,
    CAPTION,
    GREY,
    H1,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Sheet,
)
from cleanai_onnx.report.pdf_silence import draw_silent_channels
from cleanai_onnx.report.pdf_subset import draw_subset
from cleanai_onnx.report.pdf_tables import begin_table, draw_layer_index
from cleanai_onnx.result import Result

__all__ = ["render", "started"]

_FEW_LAYERS = 12
_ENTRY = 4.3
_HEADING = 12.0
_ENTRIES = int((BOTTOM - TOP - _HEADING) / _ENTRY)


@dataclass(frozen=True)
class Section:
    """A part of the report: its title, what draws it, and whether it begins a page."""

    title: str
    draw: Callable[[Sheet, Result], None]
    new_page: bool = True
    keep: float = 24.0


def _sections(result: Result) -> tuple[Section, ...]:
    large = len(result.layers) > _FEW_LAYERS  # a chart of few layers shares its page with the next
    parts = [
        Section("Coverage by layer", draw_coverage_chart),
        Section("How often channels fire", draw_firing_map, large, 75),
        Section("Channels that were not exercised", draw_silent_channels, large, 75),
    ]
    if result.featured:
        parts.append(Section("Images that stand out", draw_featured_images, large, 75))
    if result.subset is not None:
        parts.append(Section("Which images to keep", draw_subset))
    converted = []
    if result.model.conversion is not None or result.model.conversion_remark:
        converted.append(Section("Where the model came from", appendix.draw_conversion, False, 60))
    learnt = []
    if result.profile is not None:
        learnt.append(Section("Training profile", appendix.draw_profile, False, 60))
    if result.importance:
        learnt.append(Section("Important neurons", draw_important_neurons, True))
    return (
        *parts,
        *learnt,
        Section("Layers", draw_layer_index, large, 60),
        Section("Tables", _draw_tables, False),
        Section("Skipped images", appendix.draw_skipped_images),
        Section("Preprocessing", appendix.draw_preprocessing, new_page=False),
        Section("Notes", appendix.draw_notes, new_page=False),
        Section("Activations that were not measured", appendix.draw_untapped, new_page=False),
        *converted,
        Section("The run in detail", appendix.draw_run),
        Section("How to read this report", appendix.draw_reading),
    )


def render(result: Result) -> bytes:
    """Return `result` as the bytes of a PDF file."""
    model, run = result.model, result.run
    sheet = Sheet(
        title=f"Coverage report: {model.name}"[:300],
        author=f"cleanai-onnx {run.tool_version}"[:100],
        subject=f"Structural coverage of {model.name}, run {run.id}"[:300],
        created=started(run.started),
        head=(model.name, f"run {run.id}"),
        foot=f"cleanai-onnx {run.tool_version}",
    )
    sections = _sections(result)
    draw_cover(sheet, result)
    # Headings within sections: two lists of channels, important layers, and a table each.
    entries = 1 + len(sections) + 2 + len(result.importance) + len(result.tables)
    pages = math.ceil(entries / _ENTRIES)
    sheet.new_page()
    sheet.bookmark("Contents")
    contents = range(sheet.page, sheet.page + pages)
    for _ in range(pages - 1):
        sheet.new_page()
    for section in sections:
        sheet.section(section.title, new_page=section.new_page, keep=section.keep)
        section.draw(sheet, result)
    _draw_contents(sheet, contents)
    return sheet.finish()


def started(text: str) -> datetime | None:
    """Return when a run began; None if the text is no date."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _draw_tables(sheet: Sheet, result: Result) -> None:
    sheet.paragraph(
        "Every metric in both neuron views. Counts are exact; ratios are derived from them. The "
        "number before a layer's name leads to its full name in the list of layers.",
        CAPTION,
    )
    for table in result.tables:
        begin_table(sheet, result, table)


def _draw_contents(sheet: Sheet, pages: range) -> None:
    """Fill the pages kept free for the contents, now that the page of every section is known."""
    entries = [entry for entry in sheet.outline if entry[0] != "Contents"]
    for number, page in enumerate(pages):
        sheet.turn_to(page)
        sheet.y = TOP
        if number == 0:
            sheet.text("Contents", LEFT, sheet.y + 6.6, H1, WIDTH)
        sheet.y += _HEADING
        for title, level, target in entries[number * _ENTRIES : (number + 1) * _ENTRIES]:
            style = BODY.bold() if level == 0 else BODY
            x = LEFT + 6 * level
            taken = sheet.text(title, x, sheet.y + 3.4, style, RIGHT - x - 20)
            figure = sheet.type.width(f"{target:,}", style)
            sheet.text(f"{target:,}", RIGHT - 12, sheet.y + 3.4, style, 12, "right")
            _draw_leader(sheet, x + taken + 2, RIGHT - figure - 2)
            link = sheet.pdf.add_link(page=target)
            sheet.pdf.link(LEFT, sheet.y, WIDTH, _ENTRY, link)
            sheet.y += _ENTRY
    sheet.turn_to(sheet.pdf.pages_count)


def _draw_leader(sheet: Sheet, start: float, end: float) -> None:
    """Draw the dots that lead the eye from a title to its page; they line up between entries."""
    step = 1.8
    x = math.ceil(start / step) * step
    while x < end:
        sheet.rect(x, sheet.y + 3.1, 0.3, 0.3, GREY)
        x += step
