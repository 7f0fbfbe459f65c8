"""The gates on the cover of the PDF: first those that failed."""

from __future__ import annotations

from collections.abc import Sequence

from cleanai_onnx.report.gates import headline, verdict
from cleanai_onnx.report.names import named
from cleanai_onnx.report.pdf_grid import GridColumn, draw_grid
from cleanai_onnx.report.pdf_sheet import ACCENT, CAPTION, H2, LEFT, SIGNAL, SMALL, WIDTH, Sheet
from cleanai_onnx.result import GateOutcome

__all__ = ["draw_outcomes"]

_OUTCOME, _GATE = 17.0, 52.0


def draw_outcomes(sheet: Sheet, gates: Sequence[GateOutcome]) -> None:
    """Draw what became of each gate; nothing where there was none."""
    if not gates:
        return
    sheet.room(30)
    style = H2 if all(outcome.passed for outcome in gates) else H2.colored(SIGNAL)
    sheet.text(headline(gates), LEFT, sheet.y + 3.5, style, WIDTH)
    sheet.y += 6
    heading = True
    for passed, color in ((False, SIGNAL), (True, ACCENT)):
        outcomes = [outcome for outcome in gates if outcome.passed is passed]
        if not outcomes:
            continue
        draw_grid(
            sheet,
            [
                GridColumn("Outcome", _OUTCOME, style=SMALL.bold().colored(color)),
                GridColumn("What was found", WIDTH - _OUTCOME - _GATE, lines=5),
                GridColumn("Gate, and where it stands", _GATE, lines=4, style=CAPTION),
            ],
            [
                (verdict(outcome), outcome.text, (named(outcome.gate), named(outcome.origin)))
                for outcome in outcomes
            ],
            heading=heading,
        )
        heading = False
    sheet.y += 3
