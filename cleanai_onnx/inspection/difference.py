"""Difference of means: what a neuron does where a concept is, beside what it does elsewhere."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.measure import MomentMeasure
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.scores import Confidence, Scores

__all__ = ["COHENS_D", "MEAN_DIFFERENCE"]

Floats: TypeAlias = npt.NDArray[np.float64]


class _Groups(NamedTuple):
    """Sizes ``(K,)``, the difference of the means and the pooled deviation ``(N, K)``."""

    ones: Floats
    zeros: Floats
    difference: Floats
    deviation: Floats


def mean_difference(moments: CrossMoments, confidence: Confidence) -> Scores:
    """Return the mean with the concept minus the mean without it."""
    from scipy.special import stdtrit

    groups = _groups(moments)
    freedom = np.maximum(moments.count - 2, 1)
    error = groups.deviation * np.sqrt(1 / _most(groups, confidence))
    half = -stdtrit(freedom, confidence.alpha / 2) * error
    difference = groups.difference
    return Scores(
        difference, difference - half, difference + half, _p(moments, groups), moments.count
    )


def cohens_d(moments: CrossMoments, confidence: Confidence) -> Scores:
    """Return the difference of the means in units of the pooled deviation."""
    groups = _groups(moments)
    with np.errstate(divide="ignore", invalid="ignore"):
        d = groups.difference / groups.deviation
    # Hedges and Olkin, Statistical Methods for Meta-Analysis, 1985: the large-sample variance.
    effective = confidence.effective(moments.count)
    with np.errstate(invalid="ignore"):
        half = confidence.z * np.sqrt(
            1 / _most(groups, confidence) + np.square(d) / (2 * effective)
        )
        low, high = d - half, d + half
    low, high = (np.where(np.isinf(d), d, end) for end in (low, high))
    return Scores(d, low, high, _p(moments, groups), moments.count)


def _groups(moments: CrossMoments) -> _Groups:
    n = moments.count.astype(np.float64)
    ones = np.rint(n * moments.mean_y)
    zeros = n - ones
    with np.errstate(divide="ignore", invalid="ignore"):
        # Σ(x - x̄)(y - ȳ) = n₁ (x̄₁ - x̄), and x̄₁ - x̄ = (x̄₁ - x̄₀) n₀ / n.
        difference = moments.products * n / (ones * zeros)
        within = moments.squares_x - np.square(difference) * ones * zeros / n
        # What is left of nothing by rounding is nothing.
        within = np.where(within < 1e-13 * moments.squares_x, 0, within)
        deviation = np.sqrt(within / (n - 2))
    known = (ones > 0) & (zeros > 0) & (n > 2) & ~moments.constant
    return _Groups(
        ones, zeros, np.where(known, difference, np.nan), np.where(known, deviation, np.nan)
    )


def _most(groups: _Groups, confidence: Confidence) -> Floats:
    """Return n₁n₀/n, for as many images as the confidence makes of them."""
    n = groups.ones + groups.zeros
    with np.errstate(divide="ignore", invalid="ignore"):
        return groups.ones * groups.zeros / n * (confidence.effective(n) / n)


def _p(moments: CrossMoments, groups: _Groups) -> npt.NDArray[np.float64]:
    """Student's t test of equal means, with equal variances."""
    from scipy.special import stdtr

    n = groups.ones + groups.zeros
    with np.errstate(divide="ignore", invalid="ignore"):
        t = groups.difference / groups.deviation * np.sqrt(groups.ones * groups.zeros / n)
    p: npt.NDArray[np.float64] = 2 * stdtr(np.maximum(moments.count - 2, 1), -np.abs(t))
    return p


_TAKES = frozenset({"binary"})
MEAN_DIFFERENCE = MomentMeasure(
    "mean-difference",
    "difference of means",
    _TAKES,  # type: ignore[arg-type]
    "mean where the concept is - mean where it is not, in the neuron's own unit; interval and p by "
    "Student's t with pooled variance.",
    signed=True,
    of=mean_difference,
)
COHENS_D = MomentMeasure(
    "cohens-d",
    "effect size (Cohen's d)",
    _TAKES,  # type: ignore[arg-type]
    "difference of means / pooled standard deviation (Cohen 1988); interval by the large-sample "
    "variance (Hedges and Olkin 1985), p by Student's t.",
    signed=True,
    of=cohens_d,
)
