"""Gates on the terminal and on the cover."""

from __future__ import annotations

import io

import pypdf
import pytest

from cleanai_onnx.report import pdf
from cleanai_onnx.report.gates import headline, worst_first
from cleanai_onnx.result import GateOutcome, Result
from tests.report.results import GATES, hostile_result, small_result, tiny_result
from tests.report.test_terminal import printed

PASSED, FAILED = GATES[0], GATES[1]


@pytest.mark.parametrize(
    ("gates", "text"),
    [
        ((), ""),
        ((PASSED,), "The gate passed"),
        ((PASSED, PASSED), "All 2 gates passed"),
        ((FAILED,), "1 of 1 gate failed"),
        ((PASSED, FAILED, PASSED), "1 of 3 gates failed"),
    ],
)
def test_headline(gates: tuple[GateOutcome, ...], text: str) -> None:
    assert headline(gates) == text


def test_what_failed_comes_first_in_the_order_of_the_gates() -> None:
    assert worst_first(GATES) == (GATES[1], GATES[2], GATES[3], GATES[0])


def test_the_terminal_says_every_outcome() -> None:
    text = " ".join(printed(small_result()).split())
    assert "3 of 4 gates failed" in text
    for outcome in GATES:
        assert f"{'passed' if outcome.passed else 'failed'}: {outcome.text}" in text
    assert "gate" not in printed(tiny_result())


def pages(result: Result) -> list[str]:
    reader = pypdf.PdfReader(io.BytesIO(pdf.render(result)))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def test_the_cover_says_every_outcome() -> None:
    cover = pages(small_result())[0]
    assert "3 of 4 gates failed" in cover
    for outcome in GATES:
        assert outcome.text[:40] in cover
        assert outcome.origin in cover
    assert cover.index("failed nc-suite") < cover.index("passed nc (units)")
    assert "gates" not in pages(tiny_result())[0]


def test_hostile_gates_can_be_drawn() -> None:
    assert "1 of 2 gates failed" in " ".join(pages(hostile_result())[:2])
