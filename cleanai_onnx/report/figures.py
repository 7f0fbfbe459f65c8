"""Numbers as a reader sees them: one place decides on separators, digits and rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cleanai_onnx.result import Cell, Column

__all__ = [
    "NOTHING",
    "cell_text",
    "count",
    "duration",
    "parameter",
    "percent",
    "rounded",
    "share",
    "size",
    "value",
]

NOTHING = "—"
"""Shown where there is no number."""


def count(number: float | int | None) -> str:
    """Return an exact count with thousands separators."""
    if number is None:
        return NOTHING
    return f"{number:,}" if isinstance(number, int) else value(number)


def rounded(number: int | None) -> str:
    """Return a count exactly up to 9,999,999, and larger ones with one decimal and a unit."""
    if number is None or abs(number) < 10_000_000:
        return count(number)
    amount = float(number)
    for unit in ("M", "G", "T", "P"):  # 10^6, 10^9, 10^12, 10^15
        amount /= 1_000_000 if unit == "M" else 1_000
        if abs(amount) < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{number:.1e}"


def percent(ratio: float | int | None) -> str:
    """Return a ratio in 0..1 in per cent with two decimals.

    Only what is nothing prints as 0.00 %, and only what is complete prints as 100.00 %.
    """
    if ratio is None:
        return NOTHING
    if not math.isfinite(ratio):
        return value(ratio)
    if 0 < ratio < 0.00005:
        return "<0.01 %"
    if 0.99995 <= ratio < 1:
        return ">99.99 %"
    return f"{100 * ratio:,.2f} %"


def share(part: float, whole: float) -> str:
    """Return a signed part of a whole in per cent; it may be more than all."""
    ratio = part / whole if whole else math.nan
    return f"{100 * ratio:,.1f} %" if math.isfinite(ratio) else NOTHING


def value(number: float | int | None) -> str:
    """Return a float with six significant digits."""
    if number is None:
        return NOTHING
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return f"{number:,.6g}"


def cell_text(cell: Cell, column: Column) -> str:
    """Return a table's cell as its column's kind says. Text is returned as it is."""
    if isinstance(cell, str):
        return cell
    if column.kind == "ratio":
        return percent(cell)
    if column.kind == "count":
        return count(cell)
    if column.kind == "value":
        return value(cell)
    return NOTHING if cell is None else str(cell)


def size(number: int) -> str:
    """Return a number of bytes in a unit that suits it."""
    if number < 1024:
        return f"{number:,} bytes"
    for exponent, unit in ((1, "KiB"), (2, "MiB")):
        if number < 1024 ** (exponent + 1):
            return f"{number / 1024**exponent:,.1f} {unit}"
    return f"{number / 1024**3:,.1f} GiB"


def duration(seconds: float) -> str:
    """Return a duration in seconds with a precision that suits it."""
    if not math.isfinite(seconds):
        return value(seconds)
    return f"{seconds:,.3f} s" if seconds < 1 else f"{seconds:,.1f} s"


def parameter(setting: object) -> str:
    """Return the value of a parameter or option in words; sequences keep their nesting."""
    if setting is None or setting in ("", (), [], {}):
        return "none"
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    if isinstance(setting, float):
        return value(setting)
    if isinstance(setting, Mapping):
        return ", ".join(f"{key} = {parameter(item)}" for key, item in setting.items())
    if isinstance(setting, list | tuple):
        return ", ".join(
            f"[{parameter(item)}]" if isinstance(item, list | tuple) else parameter(item)
            for item in setting
        )
    return str(setting)
