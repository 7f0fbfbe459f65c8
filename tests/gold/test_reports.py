"""Reports compared with kept ones.

After a change that is meant, write them anew with ``CLEANAI_ONNX_RENEW_GOLD=1 pytest tests/gold``
and read the difference before it is kept.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest
from rich.console import Console

from cleanai_onnx.report import json, pdf, render
from cleanai_onnx.report.terminal import summary
from cleanai_onnx.result import Result
from tests.report.results import tiny_result

FOLDER = Path(__file__).parent


def as_json(result: Result) -> str:
    return json.dumps(result)


def as_pdf_text(result: Result) -> str:
    reader = pypdf.PdfReader(io.BytesIO(pdf.render(result)))
    pages = [page.extract_text() for page in reader.pages]
    return "\n\f\n".join("\n".join(line.rstrip() for line in p.splitlines()) for p in pages) + "\n"


def as_terminal_text(result: Result) -> str:
    stream = io.StringIO()
    summary(result, Console(file=stream, width=80))
    return stream.getvalue()


def as_format(name: str) -> Callable[[Result], str]:
    # A file read back as text has no carriage returns.
    return lambda result: render(result, name).decode("utf-8").replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tiny.json", as_json),
        ("tiny.pdf.txt", as_pdf_text),
        ("tiny.terminal.txt", as_terminal_text),
        ("tiny.csv", as_format("csv")),
        ("tiny.intoto.json", as_format("attestation")),
        ("tiny.junit.xml", as_format("junit")),
        ("tiny.md", as_format("markdown")),
    ],
)
def test_report_is_as_kept(name: str, shown: Callable[[Result], str]) -> None:
    kept = FOLDER / name
    text = shown(tiny_result())
    if os.environ.get("CLEANAI_ONNX_RENEW_GOLD"):
        kept.write_text(text, encoding="utf-8")
    assert text == kept.read_text(encoding="utf-8")


def test_the_kept_json_can_still_be_read() -> None:
    assert json.read(FOLDER / "tiny.json") == tiny_result()
