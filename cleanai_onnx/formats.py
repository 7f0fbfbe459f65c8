"""The formats of reports: their names, what renders them, and how their files are called.

No import of ours is needed to know them, which keeps the help of the command line fast.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["FORMATS", "Format", "nearest_format"]


class Format(NamedTuple):
    """The module that renders a format, and how the name of its file ends."""

    module: str
    ending: str


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "attestation": Format("cleanai_onnx.report.attestation", ".intoto.json"),
        "csv": Format("cleanai_onnx.report.csv", "_tables.csv"),
        "html": Format("cleanai_onnx.report.html", ".html"),
        "json": Format("cleanai_onnx.report.json", ".json"),
        "junit": Format("cleanai_onnx.report.junit", ".junit.xml"),
        "markdown": Format("cleanai_onnx.report.markdown", ".md"),
        "parquet": Format("cleanai_onnx.report.parquet", "_tables.parquet"),
        "pdf": Format("cleanai_onnx.report.pdf", ".pdf"),
    }
)
"""The formats by name."""


def nearest_format(name: str) -> str | None:
    """Return the format that `name` may have meant: one that is written alike, or its file type."""
    alike = {**{known: known for known in FORMATS}, "md": "markdown", "xml": "junit"}
    near = difflib.get_close_matches(name[:40].lower(), alike, n=1)
    return alike[near[0]] if near else None
