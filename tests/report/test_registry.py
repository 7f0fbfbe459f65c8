from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report import FORMATS, render, write
from tests.report.results import tiny_result


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_renders_and_writes(name: str, tmp_path: Path) -> None:
    content = render(tiny_result(), name)
    assert isinstance(content, bytes)
    assert content
    path = write(tiny_result(), name, tmp_path / f"report.{name}")
    assert path.read_bytes() == content
    assert callable(import_module(FORMATS[name].module).render)


def test_a_result_writes_itself(tmp_path: Path) -> None:
    for name in ("html", "json", "pdf"):
        path = getattr(tiny_result(), f"to_{name}")(tmp_path / name)
        assert path.read_bytes() == render(tiny_result(), name)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one of attestation, "):
        write(tiny_result(), "docx", tmp_path / "report.docx")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_room_is_cheap() -> None:
    heavy = ("fpdf", "PIL", "numpy", "pandas", "rich", "fontTools")
    program = (
        "import sys, cleanai_onnx.report, cleanai_onnx.report.terminal\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"
