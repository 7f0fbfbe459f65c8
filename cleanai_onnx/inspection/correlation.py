"""Correlation: Pearson's from cross-moments, Spearman's from ranks."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.measure import Columns, MomentMeasure, OrderMeasure, Settings
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.ranks import Ordered
from cleanai_onnx.inspection.scores import Confidence, Scores, fisher_interval

__all__ = ["PEARSON", "SPEARMAN"]

Floats: TypeAlias = npt.NDArray[np.float64]


def pearson(moments: CrossMoments, confidence: Confidence) -> Scores:
    """Return Pearson's r of N neurons and K claims."""
    with np.errstate(divide="ignore", invalid="ignore"):
        r = moments.products / np.sqrt(moments.squares_x * moments.squares_y)
    r = np.where(moments.constant | (moments.squares_y == 0), np.nan, np.clip(r, -1, 1))
    return _scored(r, moments.count, confidence)


def spearman(
    ordered: Ordered, columns: Columns, confidence: Confidence, settings: Settings
) -> Scores:
    """Return Spearman's rho of N neurons and K claims: Pearson's r of their midranks."""
    of_claims = Ordered(np.ascontiguousarray(columns.values.T))
    n = len(columns)
    x, y = ordered.ranks - (n + 1) / 2, of_claims.ranks - (n + 1) / 2
    squares_x = np.einsum("rn,rn->r", x, x)[:, None]
    squares_y = np.einsum("kn,kn->k", y, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip((x @ y.T) / np.sqrt(squares_x * squares_y), -1, 1)
    r[~ordered.finite] = np.nan
    count = np.full(len(columns.claims), n, np.int64)
    # The variance of atanh(rho): Bonett and Wright, Psychometrika 65, 2000.
    return _scored(r, count, confidence, 1 + np.square(r) / 2)


def _scored(
    r: Floats, count: npt.NDArray[np.int64], confidence: Confidence, spread: Floats | float = 1.0
) -> Scores:
    from scipy.special import stdtr

    low, high = fisher_interval(r, confidence.effective(count), confidence, spread)
    freedom = np.maximum(count - 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(r) * np.sqrt(freedom / (1 - np.square(r)))
        p = 2 * stdtr(freedom, -t)
    # Two images correlate always, which says nothing.
    return Scores(r, low, high, np.where(freedom > 0, p, np.nan), count)


PEARSON = MomentMeasure(
    "pearson",
    "Pearson correlation",
    frozenset({"binary", "numeric"}),
    "r = Σ(x - x̄)(y - ȳ) / √(Σ(x - x̄)² Σ(y - ȳ)²); interval by Fisher's z, p by Student's t.",
    signed=True,
    of=pearson,
)
SPEARMAN = OrderMeasure(
    "spearman",
    "Spearman rank correlation",
    frozenset({"binary", "numeric"}),
    "Pearson's r of the midranks; interval by Fisher's z with the variance (1 + r²/2) / (n - 3) "
    "(Bonett and Wright 2000), p by Student's t.",
    signed=True,
    of=spearman,
)
