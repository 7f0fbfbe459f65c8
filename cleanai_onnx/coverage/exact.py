"""Sums of float32 numbers that do not depend on the order, nor on how the numbers were split.

A finite float32 number is a whole multiple of 2^-149, the smallest subnormal, so sums are kept as
Python integers of that unit and rounded once, when they are read.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["Exact", "exact_sums", "rounded"]

UNIT = 2**149
"""So many units are 1."""

Exact = int | float
"""A sum in units; a float only where it is not finite."""


def exact_sums(values: npt.NDArray[np.float32]) -> tuple[Exact, ...]:
    """Return the sum of each column of ``(B, N)``."""
    # A product with a power of two is exact, and float64 has room for it.
    scaled = values.astype(np.float64) * float(UNIT)
    return tuple(sum(map(_whole, column)) for column in scaled.T.tolist())


def _whole(units: float) -> Exact:
    return int(units) if math.isfinite(units) else units


def rounded(total: Exact) -> float:
    """Return a sum as the nearest float64."""
    return total / UNIT
