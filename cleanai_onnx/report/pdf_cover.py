"""The cover of the PDF report: what was analysed, how, and the verdict of every metric."""

from __future__ import annotations

from cleanai_onnx.report import figures
from cleanai_onnx.report.digest import VIEWS, Figure, other_totals, tensors, verdicts
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_gates import draw_outcomes
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import (
    ACCENT,
    CAPTION,
    GREY,
    H2,
    INK,
    LEFT,
    RIGHT,
    SMALL,
    WIDTH,
    Sheet,
)
from cleanai_onnx.report.typesetting import Face, Style
from cleanai_onnx.result import ModelFacts, Result

__all__ = ["draw_cover"]

_GUTTER = 8.0
_COLUMN = (WIDTH - _GUTTER) / 2
_OPERATORS = 8
_NO_BREAK = "\N{NO-BREAK SPACE}"


def draw_cover(sheet: Sheet, result: Result) -> None:
    """Draw the first page; with many metrics the verdict runs on to a second."""
    model = result.model
    sheet.new_page()
    sheet.rect(0, 0, 210, 5, ACCENT)
    sheet.y = 22
    sheet.bookmark("Summary")
    sheet.text("COVERAGE REPORT", LEFT, 24, Style(Face.BOLD, 8.5, ACCENT), WIDTH)
    sheet.text(named(model.name), LEFT, 34.5, Style(Face.BOLD, 24, INK), WIDTH)
    used, layers = result.images.used, len(result.layers)
    sheet.text(
        f"How much of the network {used:,} {'image' if used == 1 else 'images'} exercised, "
        f"measured in {layers:,} {'layer' if layers == 1 else 'layers'}",
        LEFT,
        41.5,
        Style(Face.TEXT, 10.5, GREY),
        WIDTH,
    )
    sheet.line(LEFT, 46, RIGHT, 46, ACCENT, 0.5)
    _draw_facts(sheet, result)
    draw_outcomes(sheet, result.gates)
    _draw_verdict(sheet, result)
    _draw_other_totals(sheet, result)


def _draw_facts(sheet: Sheet, result: Result) -> None:
    model, run = result.model, result.run
    top = 51.0
    ends = []
    right = LEFT + _COLUMN + _GUTTER
    for x, title, pairs in (
        (LEFT, "Model", _model_facts(model, result)),
        (right, "Run", _run_facts(result)),
    ):
        sheet.y = top
        sheet.text(title, x, sheet.y + 3.5, H2, _COLUMN)
        sheet.y += 6.5
        sheet.fields(pairs, x=x, width=_COLUMN, label=23)
        ends.append(sheet.y)
    sheet.y = max(ends) + 0.5
    sheet.fields(
        [("SHA-256", model.sha256), ("Run id", run.id)],
        x=LEFT,
        width=WIDTH,
        label=23,
        most=1,
        mono=frozenset({"SHA-256", "Run id"}),
    )
    sheet.y += 3


def _model_facts(model: ModelFacts, result: Result) -> list[tuple[str, str]]:
    operators = sorted(model.operators.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{count} {name}" for name, count in operators[:_OPERATORS])
    if len(operators) > _OPERATORS:
        named += f", and {len(operators) - _OPERATORS} more types"
    units = sum(layer.units for layer in result.layers)
    channels = sum(layer.channels for layer in result.layers)
    opsets = ", ".join(
        f"{domain or 'ai.onnx'} {version}" for domain, version in model.opsets.items()
    )
    return [
        ("File", f"{model.file} ({figures.size(model.size_bytes)})"),
        ("Producer", model.producer or figures.NOTHING),
        ("Format", f"ONNX IR {model.ir_version}, opset {opsets}"),
        ("Parameters", figures.count(model.parameters)),
        ("Measured", f"{units:,} units, {channels:,} channels"),
        ("Input", tensors(model.inputs)),
        ("Output", tensors(model.outputs)),
        ("Operators", named or figures.NOTHING),
    ]


def _run_facts(result: Result) -> list[tuple[str, str]]:
    run, images = result.run, result.images
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return [
        ("Started", run.started.replace("T", " ", 1)),
        ("Duration", figures.duration(sum(run.seconds.values()))),
        ("Images", images.source),
        ("", f"{images.used:,} used, {len(images.skipped):,} skipped, {images.found:,} found"),
        ("Device", f"{run.device} ({run.provider})"),
        ("Runtime", f"{run.graph_optimization}, batches of {run.batch_size:,}"),
        ("Tool", f"cleanai-onnx {run.tool_version}"),
        ("Libraries", versions or figures.NOTHING),
        ("Platform", run.platform),
    ]


def _draw_verdict(sheet: Sheet, result: Result) -> None:
    shown = verdicts(result)
    if not shown:
        return
    sheet.room(30)
    sheet.text("Verdict", LEFT, sheet.y + 3.5, H2, WIDTH)
    sheet.y += 6
    sheet.paragraph(
        "Unit: one scalar of a layer's output. Channel: one feature map, valued by its spatial "
        "mean. Coverage says what the images exercised; it is not a score of the model's quality: "
        "see “How to read this report”.",
        CAPTION,
        after=0.5,
    )
    widths = (21.0, 25.0, 16.0, 16.5, 18.0, 16.0)
    columns = [
        GridColumn("Metric", 28),
        GridColumn("Name", WIDTH - 28 - sum(widths), lines=2),
    ]
    for number, view in enumerate(VIEWS):
        group = f"{view} view"
        covered, total, coverage = widths[3 * number : 3 * number + 3]
        columns += [
            GridColumn("covered", covered, "right", group=group),
            GridColumn("total", total, "right", group=group),
            GridColumn("coverage", coverage, "right", style=SMALL.bold(), group=group),
        ]
    draw_grid(
        sheet,
        columns,
        [
            (
                verdict.metric,
                verdict.title,
                *(cell for view in VIEWS for cell in _figure_cells(verdict.views.get(view))),
            )
            for verdict in shown
        ],
    )
    sheet.y += 3


def _figure_cells(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return (figures.NOTHING,) * 3
    return (
        figures.count(figure.covered),
        figures.count(figure.total),
        figures.percent(figure.coverage),
    )


def _draw_other_totals(sheet: Sheet, result: Result) -> None:
    tables = other_totals(result)
    if not tables:
        return
    sheet.room(18)
    rows = []
    for table in tables:
        assert table.total is not None
        described = "   ".join(
            f"{column.name.replace(' ', _NO_BREAK)}: {figures.cell_text(cell, column)}"
            for column, cell in zip(table.columns, table.total, strict=True)
            if column.kind != "text"
        )
        rows.append((table.metric, table.view, described))
    draw_grid(
        sheet,
        [
            GridColumn("Metric", 29),
            GridColumn("View", 15),
            GridColumn("Totals that are not a coverage", WIDTH - 44, lines=3),
        ],
        rows,
    )
