"""The projection on the page on scaling is what its script prints, and the formula beside it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the script; it lies beside those that it imports."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("scale")


def test_the_page_has_the_tables_of_the_script(
    scale: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scale.py", "--project", "250", "1000", "4000"])
    scale.main()
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    first = PAGE.index(printed[2]) - 2
    assert [line for line in PAGE[first:] if line.startswith("|")] == printed


def test_the_formula_by_hand(scale: Any) -> None:
    figures = scale.Figures(
        start=10, listing=1e-3, decoding=0.1, row=2e-3, merge=3, state=2.5e9, memory=1e9
    )
    of = scale.projected(20, 4, images=1000, figures=figures)
    # 1000 / 4 / 20, 10 + 2 * 1000 / 1000, 4 * (3 + 2.5e9 / 1.25e9), 1000 * 2 / 1000
    assert of[1:] == (12.5, 12, 20, 2, 4e9) and of.total == 46.5
    # Eight cores decode 80 images a second.
    assert scale.projected(1000, 4, images=1000, figures=figures).measuring == 250 / 80
