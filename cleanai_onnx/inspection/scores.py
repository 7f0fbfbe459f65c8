"""Scores with their uncertainty: confidence intervals, and p-values corrected for their number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Confidence",
    "Scores",
    "benjamini_hochberg",
    "fisher_interval",
    "wilson_interval",
]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Confidence:
    """How sure an interval is to be, and of what.

    Attributes
    ----------
    alpha
        The probability that the interval misses.
    population
        How many images the score would be exact for, of which those seen are a random part; None
        if they stand for images without number. The more of them were seen, the narrower the
        interval; seen completely, it has no width (finite population correction, Cochran,
        Sampling Techniques, 1977, section 2.6).
    """

    alpha: float = 0.05
    population: int | None = None

    @property
    def z(self) -> float:
        """The quantile of the normal distribution for both sides."""
        from scipy.special import ndtri

        return float(-ndtri(self.alpha / 2))

    def effective(self, seen: npt.ArrayLike, all_seen: int | None = None) -> Floats:
        """Return how many images without number would tell as much as those that were `seen`.

        Parameters
        ----------
        seen
            How many were counted.
        all_seen
            How many were looked at, of which those counted are a part; by default all of them.
        """
        counts = np.asarray(seen, np.float64)
        if self.population is None:
            return counts
        looked = counts if all_seen is None else np.float64(all_seen)
        left = np.maximum(self.population - looked, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left > 0, counts * (self.population - 1) / left, np.inf)


@dataclass(frozen=True, eq=False)
class Scores:
    """What a measure says of N neurons (or one layer) and K claims.

    Attributes
    ----------
    score
        ``(N, K)`` float64, NaN where there is none (a neuron that never changes, say).
    low, high
        The ends of the confidence interval.
    p
        How likely a score so far from nothing were if there were no relation; NaN without a test.
    inputs
        ``(K,)`` int64, from how many images.
    """

    score: Floats
    low: Floats
    high: Floats
    p: Floats
    inputs: npt.NDArray[np.int64]

    @property
    def half_width(self) -> float:
        """The largest distance of an end of an interval from its score; 0 without any score."""
        known = np.isfinite(self.score)
        if not known.any():
            return 0.0
        above = self.high[known] - self.score[known]
        below = self.score[known] - self.low[known]
        largest = float(np.maximum(above, below).max())
        return math.inf if math.isnan(largest) else largest


def fisher_interval(
    r: Floats, effective: Floats, confidence: Confidence, spread: Floats | float = 1.0
) -> tuple[Floats, Floats]:
    """Return the interval of a correlation by Fisher's z transformation.

    Parameters
    ----------
    r
        The correlations.
    effective
        See `Confidence.effective`.
    confidence
    spread
        Factor of the variance of z, for ranks.

    Notes
    -----
    atanh(r) is nearly normal with the variance 1 / (n - 3) (Fisher, On the probable error of a
    coefficient of correlation, 1921).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.arctanh(np.clip(r, -1, 1))
        half = confidence.z * np.sqrt(spread / np.maximum(effective - 3, 0))
        low, high = np.tanh(z - half), np.tanh(z + half)
    # A correlation of exactly 1 leaves Fisher's z without a finite value.
    low = np.where(np.isnan(low), np.where(np.isnan(r), np.nan, np.minimum(r, 1)), low)
    high = np.where(np.isnan(high), np.where(np.isnan(r), np.nan, np.maximum(r, -1)), high)
    return low, high


def wilson_interval(share: Floats, trials: Floats, confidence: Confidence) -> tuple[Floats, Floats]:
    """Return Wilson's score interval of a share of so many trials.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. It has
    a width also where the share is 0 or 1.
    """
    z2 = confidence.z**2
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(np.isinf(trials), 0.0, z2 / trials)
        centre = (share + part / 2) / (1 + part)
        spread = np.sqrt(share * (1 - share) * part + part**2 / 4) / (1 + part)
    none = trials <= 0
    low = np.where(none, 0.0, np.maximum(centre - spread, 0.0))
    high = np.where(none, 1.0, np.minimum(centre + spread, 1.0))
    unknown = np.isnan(share)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)


def benjamini_hochberg(p: Floats) -> Floats:
    """Return p-values adjusted for their number, so that they bound the false discovery rate.

    Benjamini and Hochberg, Controlling the false discovery rate, JRSS B 1995. NaN are no tests.
    """
    from scipy.stats import false_discovery_control

    found = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        found[tested] = false_discovery_control(p[tested])
    return found
