"""The PDF report of an exploration: what was found, how coverage grew, and a contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from cleanai_onnx.exploration.record import Exploration, Finding
from cleanai_onnx.report import figures
from cleanai_onnx.report.exploration import headline, model_rows
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    ACCENT_LIGHT,
    CAPTION,
    GREY,
    H2,
    HAIRLINE,
    INK,
    LEFT,
    RIGHT,
    SIGNAL,
    SMALL,
    WIDTH,
    Color,
    Sheet,
)
from cleanai_onnx.report.typesetting import Face, Style

__all__ = ["amplified", "render"]

_COLORS: tuple[Color, ...] = (ACCENT, SIGNAL, (196, 130, 20), ACCENT_LIGHT, GREY)
_CHART, _AXIS = 52.0, 12.0
_ABREAST, _GUTTER, _BETWEEN = 3, 5.0, 1.0
_CARD = (WIDTH - (_ABREAST - 1) * _GUTTER) / _ABREAST
_PICTURE = (_CARD - 2 * _BETWEEN) / 3
_SETTINGS = (
    "constraint", "step", "iterations", "radius", "patch_size", "patch_at", "target_model",
    "apart_weight", "coverage_weight", "neurons_per_model", "threshold", "compat", "perturb",
    "strength", "share", "seed",
)  # fmt: skip

Pixels = npt.NDArray[np.uint8]


def render(exploration: Exploration, findings: Iterable[Finding]) -> bytes:
    """Return an exploration as the bytes of a PDF file."""
    run = exploration.run
    sheet = Sheet(
        title="Exploration: " + ", ".join(model.name for model in exploration.models)[:280],
        author=f"cleanai-onnx {run.tool_version}"[:100],
        subject=f"Inputs that the suite lacks, run {run.id}"[:300],
        created=datetime.fromisoformat(run.started),
        head=("Exploration", f"run {run.id}"),
        foot=f"cleanai-onnx {run.tool_version}",
    )
    _draw_cover(sheet, exploration)
    _draw_growth(sheet, exploration)
    _draw_contact_sheet(sheet, exploration, list(findings))
    _draw_run(sheet, exploration)
    return sheet.finish()


def _draw_cover(sheet: Sheet, exploration: Exploration) -> None:
    sheet.new_page()
    sheet.rect(0, 0, 210, 5, ACCENT)
    sheet.bookmark("Summary")
    sheet.text("EXPLORATION", LEFT, 24, Style(Face.BOLD, 8.5, ACCENT), WIDTH)
    one = len(exploration.models) == 1
    title = "Images that reach what the suite lacks" if one else "Images on which the models differ"
    if exploration.settings.get("perturb"):
        title = "Perturbed images"
    sheet.text(title, LEFT, 34, Style(Face.BOLD, 20, INK), WIDTH)
    sheet.line(LEFT, 40, RIGHT, 40, ACCENT, 0.5)
    sheet.y = 45
    sheet.paragraph(headline(exploration), Style(Face.BOLD, 11, INK), after=3)
    steps = exploration.mean_steps
    took = "" if steps is None else f", after {steps:.1f} steps on average"
    facts = [
        ("Seeds", f"{printable(exploration.source, 200)} ({exploration.suite:,} images)"),
        ("Searched", f"{exploration.searched:,} seeds"),
        ("Found", f"{exploration.found:,}{took}"),
        ("Nothing found", f"{exploration.none:,}"),
        ("Did not hold", f"{exploration.lost:,} in onnxruntime"
         + (", or add nothing to those found before" if one else "")),
    ]  # fmt: skip
    if not one:
        facts.insert(3, ("Differ already", f"{exploration.already:,} seeds"))
    sheet.fields(facts, x=LEFT, width=WIDTH, label=32)
    if exploration.interrupted:
        sheet.paragraph("The search was interrupted: this is what was found until then.", after=2)
    sheet.y += 3
    draw_grid(
        sheet,
        [
            GridColumn("Model", WIDTH - 108, lines=2),
            GridColumn(f"{exploration.metric} items", 36, "right"),
            GridColumn("Suite covers", 24, "right"),
            GridColumn("With found", 24, "right", style=SMALL.bold()),
            GridColumn("New", 24, "right"),
        ],
        model_rows(exploration),
    )
    sheet.y += 5


def _draw_growth(sheet: Sheet, exploration: Exploration) -> None:
    """Draw how coverage grew with each found image."""
    sheet.section("How coverage grew", new_page=False, keep=_CHART + 30)
    if exploration.found == 0:
        sheet.paragraph("Nothing was found, so nothing grew.")
        return
    new = [
        [covered[i] - model.covered_before for _, covered in exploration.growth]
        for i, model in enumerate(exploration.models)
    ]
    high = max(1, max(map(max, new)))
    left, top, width = LEFT + _AXIS, sheet.y + 2, WIDTH - _AXIS
    for part in (0.0, 0.5, 1.0) if high % 2 == 0 else (0.0, 1.0):
        y = top + _CHART * (1 - part)
        sheet.line(left, y, RIGHT, y, HAIRLINE)
        sheet.text(f"{round(part * high):,}", LEFT, y + 1, CAPTION, _AXIS - 1.5, "right")
    last = exploration.growth[-1][0]
    for i, of_model in enumerate(new):
        places = [
            (left + width * number / last, top + _CHART * (1 - items / high))
            for (number, _), items in zip(exploration.growth, of_model, strict=True)
        ]
        for (x1, y1), (x2, y2) in pairwise(places):
            # Coverage stays as it is until the next image.
            sheet.line(x1, y1, x2, y1, _COLORS[i % len(_COLORS)], 0.5)
            sheet.line(x2, y1, x2, y2, _COLORS[i % len(_COLORS)], 0.5)
    sheet.text("0", left, top + _CHART + 4, CAPTION, 10)
    sheet.text(f"{last:,} images found", RIGHT - 40, top + _CHART + 4, CAPTION, 40, "right")
    sheet.y = top + _CHART + 7
    for i, model in enumerate(exploration.models):
        sheet.rect(left, sheet.y + 1, 6, 1.2, _COLORS[i % len(_COLORS)])
        sheet.text(named(model.name), left + 8, sheet.y + 2.6, SMALL, WIDTH - 30)
        sheet.y += 4.2
    sheet.paragraph(
        f"Items of {exploration.metric} that the suite does not cover and the images found so far "
        "do, in the order in which they were found.",
        CAPTION,
        after=2,
    )


def _draw_contact_sheet(
    sheet: Sheet, exploration: Exploration, findings: Sequence[Finding]
) -> None:
    if not findings:
        return
    sheet.section("What was found")
    more = f" The first {len(findings):,} of them." if len(findings) < exploration.found else ""
    sheet.paragraph(
        "Each: the seed, the change, the image that was found. Grey is no change, brighter and "
        "darker pixels are so in the image; changes are amplified as written below. Classes are "
        f"those that each model predicts, by onnxruntime.{more} All are in the folder and in the "
        "table Exploration.csv.",
        CAPTION,
        most=6,
        after=3,
    )
    tall = max(f.seed.shape[0] / f.seed.shape[1] for f in findings)
    height = _PICTURE * min(tall, 1.5)
    for start in range(0, len(findings), _ABREAST):
        sheet.room(height + 16)
        for column, finding in enumerate(findings[start : start + _ABREAST]):
            _draw_finding(sheet, finding, LEFT + column * (_CARD + _GUTTER), height)
        sheet.y += height + 15


def _draw_finding(sheet: Sheet, finding: Finding, x: float, height: float) -> None:
    one = finding.outcome
    change, factor = amplified(finding.seed, finding.found)
    for place, pixels in enumerate((finding.seed, change, finding.found)):
        left = x + place * (_PICTURE + _BETWEEN)
        picture = Image.fromarray(pixels).convert("RGB")
        scale = min(_PICTURE / picture.width, height / picture.height)
        wide, high = picture.width * scale, picture.height * scale
        sheet.pdf.image(
            picture, left + (_PICTURE - wide) / 2, sheet.y + (height - high) / 2, wide, high
        )
        sheet.frame(left, sheet.y, _PICTURE, height)
    y = sheet.y + height + 3.4
    before = ", ".join(map(str, dict.fromkeys(one.before)))
    after = " | ".join(map(str, one.classes))
    sheet.text(f"class {before} → {after}", x, y, SMALL.bold(), _CARD)
    larger = f", change x{factor:.3g}" if factor != 1 else ""
    norms = "" if one.l2 is None else f", L2 {one.l2:.3g}, largest {one.linf:.3g}"
    sheet.text(
        f"{one.steps:,} step{'' if one.steps == 1 else 's'}{norms}{larger}",
        x,
        y + 3.4,
        CAPTION,
        _CARD,
    )
    adds = f"adds {one.adds:,}, " if one.adds else ""
    sheet.text(f"{adds}{named(printable(one.image, 80))}", x, y + 6.8, CAPTION, _CARD)


def amplified(seed: Pixels, found: Pixels) -> tuple[Pixels, float]:
    """Return the change between two pictures around middle grey, and by how much it is amplified.

    The largest change becomes white or black; no change is shrunk.
    """
    change = found.astype(np.float64) - seed
    largest = float(np.abs(change).max())
    factor = max(1.0, 127 / largest) if largest else 1.0
    return np.rint(np.clip(128 + change * factor, 0, 255)).astype(np.uint8), factor


def _draw_run(sheet: Sheet, exploration: Exploration) -> None:
    sheet.section("The search in detail", new_page=False, keep=80)
    settings = exploration.settings
    rows = [("objective", exploration.objective)]
    rows += [
        (name.replace("_", " "), figures.parameter(settings[name]))
        for name in _SETTINGS
        if settings.get(name) is not None
    ]
    sheet.fields(rows, x=LEFT, width=WIDTH, label=40)
    sheet.y += 2
    sheet.text("Preprocessing of the first model", LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
    sheet.fields(
        [(one.name, f"{one.value} ({one.origin})") for one in exploration.preprocessing],
        x=LEFT, width=WIDTH, label=40,
    )  # fmt: skip
    sheet.y += 2
    sheet.text("Models and run", LEFT, sheet.y + 4, H2, WIDTH)
    sheet.y += 7
    run = exploration.run
    sheet.fields(
        [
            *((named(model.name), f"SHA-256 {model.sha256}") for model in exploration.models),
            ("device", run.device),
            ("started", run.started),
            ("took", figures.duration(exploration.seconds)),
            ("versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        ],
        x=LEFT, width=WIDTH, label=40,
    )  # fmt: skip
    for note in exploration.notes:
        sheet.paragraph(printable(note.text, 600), CAPTION, most=6)
    sheet.paragraph(
        "The search ascends gradients of the models lowered to JAX (Pei et al., DeepXplore, SOSP "
        "2017). What it finds is stored, read again and run by onnxruntime: only what holds there "
        "is counted as found. That models disagree says that at least one of them is wrong, or "
        "that the image is of no class; look at the images.",
        CAPTION,
        most=8,
    )
