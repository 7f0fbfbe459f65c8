from __future__ import annotations

import math

import pytest

from cleanai_onnx.report import figures
from cleanai_onnx.result import Column


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0.0, "0.00 %"),
        (1e-9, "<0.01 %"),
        (0.00005, "0.01 %"),
        (0.35601, "35.60 %"),
        (0.99994, "99.99 %"),
        (0.999999, ">99.99 %"),
        (1.0, "100.00 %"),
        (1, "100.00 %"),
        (None, "—"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
    ],
)
def test_percent(ratio: float | None, text: str) -> None:
    assert figures.percent(ratio) == text


def test_counts_are_exact_at_any_scale() -> None:
    assert figures.count(10**14 + 1) == "100,000,000,000,001"
    assert figures.count(None) == "—"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (9_999_999, "9,999,999"),
        (10_000_000, "10.0 M"),
        (614_957_056, "615.0 M"),
        (999_950_000, "1.0 G"),
        (2_012_845_965_312, "2.0 T"),
        (10**30, "1.0e+30"),
        (None, "—"),
    ],
)
def test_rounded(number: int | None, text: str) -> None:
    assert figures.rounded(number) == text


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        (1234567, "count", "1,234,567"),
        (0.5, "ratio", "50.00 %"),
        (1234.56789, "value", "1,234.57"),
        (None, "value", "—"),
        (None, "text", "—"),
        ("total", "count", "total"),
        ("relu", "text", "relu"),
        (7, "text", "7"),
    ],
)
def test_cells_follow_their_column(cell: object, kind: str, text: str) -> None:
    assert figures.cell_text(cell, Column("c", kind)) == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (102_443_008, "97.7 MiB"),
        (5 * 1024**4, "5,120.0 GiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert figures.size(number) == text


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (None, "none"),
        (True, "yes"),
        (0.75, "0.75"),
        (((0.0, 0.1), (0.1, 0.2)), "[0, 0.1], [0.1, 0.2]"),
        (("a.png", "b.png"), "a.png, b.png"),
        ({"k": 3, "pair": None}, "k = 3, pair = none"),
    ],
)
def test_parameter(setting: object, text: str) -> None:
    assert figures.parameter(setting) == text
