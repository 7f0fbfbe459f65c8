"""PDF of an inspection: which hypotheses the neurons of a model encode, and the best of them."""

from __future__ import annotations

from datetime import UTC, datetime

from cleanai_onnx.inspection.registry import MEASURES
from cleanai_onnx.inspection.result import Inspection
from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.report.pdf_affinity_charts import draw_layers, draw_models
from cleanai_onnx.report.pdf_affinity_neurons import draw_claims
from cleanai_onnx.report.pdf_sheet import BODY, CAPTION, H1, LEFT, WIDTH, Sheet

__all__ = ["render"]

_MOST_SKIPPED = 40


def render(inspection: Inspection) -> bytes:
    """Return `inspection` as the bytes of a PDF file; the same one gives the same bytes."""
    run = inspection.models[0].run
    title = ", ".join(inspection.names)
    sheet = Sheet(
        title=f"Inspection: {title}"[:300],
        author=f"cleanai-onnx {run.tool_version}"[:100],
        subject=f"What the neurons of {title} encode, run {run.id}"[:300],
        created=_started(run.started),
        head=(title, f"run {run.id}"),
        foot=f"cleanai-onnx {run.tool_version}",
    )
    sheet.new_page()
    _draw_facts(sheet, inspection, title)
    for one, name in zip(inspection.models, inspection.names, strict=True):
        of_model = f": {named(name)}" if len(inspection.models) > 1 else ""
        sheet.section(f"Hypotheses by layer{of_model}", new_page=False, keep=80)
        draw_layers(sheet, one)
    if len(inspection.models) > 1:
        sheet.section("From model to model")
        draw_models(sheet, inspection)
    for one, name in zip(inspection.models, inspection.names, strict=True):
        of_model = f": {named(name)}" if len(inspection.models) > 1 else ""
        sheet.section(f"Best {one.view}s of each hypothesis{of_model}")
        draw_claims(sheet, one)
    sheet.section("How the scores are defined", new_page=False, keep=50)
    _draw_definitions(sheet, inspection)
    if inspection.skipped:
        sheet.section("Skipped images", new_page=False)
        for image in inspection.skipped[:_MOST_SKIPPED]:
            sheet.paragraph(f"{named(image.path)}: {image.reason}", CAPTION, most=2, after=0.5)
        if len(inspection.skipped) > _MOST_SKIPPED:
            more = len(inspection.skipped) - _MOST_SKIPPED
            sheet.paragraph(f"and {more:,} more.", CAPTION)
    return sheet.finish()


def _started(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _draw_facts(sheet: Sheet, inspection: Inspection, title: str) -> None:
    sheet.bookmark("What was inspected")
    sheet.text("What the neurons encode", LEFT, sheet.y + 6.6, H1, WIDTH)
    sheet.y += 11
    first = inspection.models[0]
    hypotheses = [one.name for one in first.claims if one.category is None]
    hypotheses = list(dict.fromkeys(hypotheses))
    pairs = [
        ("Models" if len(inspection.models) > 1 else "Model", printable(title, 400)),
        ("SHA-256", ", ".join(one.sha256 for one in inspection.models[:3])),
        ("Images", f"{inspection.found:,} from {printable(inspection.source, 200)}"),
        ("Seen", ", ".join(f"{one.inputs:,}" for one in inspection.models)),
        (
            "Neurons",
            f"{sum(layer.size(first.view) for layer in first.layers):,} {first.view}s of "
            f"{len(first.layers):,} layers",
        ),
        ("Hypotheses", printable(", ".join(hypotheses), 400)),
        ("Measures", ", ".join(table.measure for table in first.tables)),
        ("Device", first.run.device),
        ("Begun", first.run.started),
        ("Time", figures.duration(sum(sum(o.run.seconds.values()) for o in inspection.models))),
    ]
    sheet.fields(pairs, x=LEFT, width=WIDTH, label=26, most=3, mono=frozenset({"SHA-256"}))
    sheet.y += 2
    for note in inspection.notes:
        sheet.paragraph(note.text, BODY, most=6)
    sheet.paragraph(
        "A score says how closely a neuron follows a hypothesis on these images, not that the "
        "model uses it, nor that one causes the other. Intervals hold for a single score at 95 %; "
        "of thousands of neurons the best scores are the luckiest too, so hold them against other "
        "images before you build on them.",
        CAPTION,
        most=5,
    )
    sheet.y += 2


def _draw_definitions(sheet: Sheet, inspection: Inspection) -> None:
    for table in inspection.models[0].tables:
        measure = MEASURES[table.measure]
        sheet.paragraph(f"{measure.id}: {measure.title}", BODY.bold(), after=0)
        sheet.paragraph(measure.definition, CAPTION, most=6)
    sheet.paragraph(
        "q is the p-value corrected for the number of neurons that were tested against the "
        "hypothesis (Benjamini and Hochberg 1995): the expected share of false discoveries among "
        "its scores with a q no larger. A channel's value is the spatial mean of its map.",
        CAPTION,
        most=5,
    )
