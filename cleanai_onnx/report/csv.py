"""CSV: every number of every table, a line each (RFC 4180, UTF-8).

Counts are exact integers, other numbers have all their digits (``nan``, ``inf`` and ``-inf`` among
them); an empty value is none.
"""

from __future__ import annotations

import csv
import io

from cleanai_onnx.report.tidy import Line, lines_of
from cleanai_onnx.result import Cell, Result

__all__ = ["render", "text_of"]


def render(result: Result) -> bytes:
    """Return the tables of `result` as the bytes of a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(Line._fields)
    writer.writerows((*line[:-1], text_of(line.value)) for line in lines_of(result))
    return text.getvalue().encode("utf-8")


def text_of(value: Cell) -> str:
    """Return a value as it stands in the file."""
    if value is None:
        return ""
    return value if isinstance(value, str) else repr(value)
