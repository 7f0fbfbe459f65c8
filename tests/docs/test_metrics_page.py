"""docs/metrics.md says what the registry says."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_is_current() -> None:
    script = runpy.run_path(str(DOCS / "make_metrics.py"))
    written = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert written == script["page"](), "run python docs/make_metrics.py"
