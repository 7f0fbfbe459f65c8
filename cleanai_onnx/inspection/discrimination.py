"""How well a neuron alone tells images with a concept from others: AUC and Jaccard index."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.measure import Columns, OrderMeasure, Settings
from cleanai_onnx.inspection.ranks import Ordered
from cleanai_onnx.inspection.scores import Confidence, Scores, wilson_interval

__all__ = ["AUC", "JACCARD"]

Floats: TypeAlias = npt.NDArray[np.float64]


def auc(ordered: Ordered, columns: Columns, confidence: Confidence, settings: Settings) -> Scores:
    """Return how often a neuron is larger for an image with the concept than for one without."""
    from scipy.special import ndtr

    n = len(columns)
    ones = columns.values.sum(axis=0)
    zeros = n - ones
    with np.errstate(divide="ignore", invalid="ignore"):
        # Wilcoxon's rank sum, less what the ones have among themselves.
        u = ordered.ranks @ columns.values - ones * (ones + 1) / 2
        score = u / (ones * zeros)
        # The normal approximation with ties: Lehmann, Nonparametrics, 1975, section 1.4.
        variance = ones * zeros / 12 * (n + 1 - ordered.ties[:, None] / (n * (n - 1)))
        z = np.abs(u - ones * zeros / 2) / np.sqrt(variance)
    p = 2 * ndtr(-z)
    score = _known(score, ordered)
    # No AUC has a larger variance than a share of min(n₁, n₀) trials: Birnbaum and Klose, Annals of
    # Mathematical Statistics 28, 1957.
    trials = confidence.effective(np.minimum(ones, zeros), n)
    low, high = wilson_interval(score, np.broadcast_to(trials, score.shape), confidence)
    p = np.where(variance > 0, p, np.nan)
    return Scores(score, low, high, np.where(np.isnan(score), np.nan, p), _count(columns))


def jaccard(
    ordered: Ordered, columns: Columns, confidence: Confidence, settings: Settings
) -> Scores:
    """Return the overlap of a neuron's top images and the images with the concept."""
    from scipy.stats import hypergeom

    n = len(columns)
    ones = columns.values.sum(axis=0)
    score = np.empty((len(ordered.values), len(columns.claims)))
    union, p = np.empty_like(score), np.empty_like(score)
    for place, count in enumerate(ones.astype(np.int64).tolist()):
        chosen = count if settings.quantile is None else int(settings.quantile * n)
        top = above_top(ordered, chosen)
        both = top @ columns.values[:, place]
        size = top.sum(axis=1)
        union[:, place] = size + count - both
        with np.errstate(divide="ignore", invalid="ignore"):
            score[:, place] = both / union[:, place]
        p[:, place] = hypergeom.sf(both - 1, n, count, size)
    score = _known(np.where((ones > 0) & (ones < n), score, np.nan), ordered)
    low, high = wilson_interval(score, confidence.effective(union, n), confidence)
    return Scores(score, low, high, np.where(np.isnan(score), np.nan, p), _count(columns))


def above_top(ordered: Ordered, chosen: int) -> npt.NDArray[np.bool_]:
    """Return which images are above the (chosen + 1)-th largest value of a neuron, ``(N, n)``.

    Where no two values are equal, these are the `chosen` images with the largest values; of images
    that share a value with one that is not among them, none is.
    """
    n = ordered.values.shape[1]
    if chosen >= n:
        return np.ones(ordered.values.shape, bool)
    return ordered.values > ordered.sorted[:, n - 1 - chosen, None]


def _known(score: Floats, ordered: Ordered) -> Floats:
    return np.where(ordered.finite[:, None], score, np.nan)


def _count(columns: Columns) -> npt.NDArray[np.int64]:
    return np.full(len(columns.claims), len(columns), np.int64)


AUC = OrderMeasure(
    "auc",
    "area under the ROC curve",
    frozenset({"binary"}),
    "the share of pairs of an image with and one without the concept in which the first has the "
    "larger value, ties half; Wilson's interval with as many trials as there are images of the "
    "rarer kind, p by the Mann-Whitney test with ties.",
    signed=False,
    of=auc,
)
JACCARD = OrderMeasure(
    "jaccard",
    "Jaccard index of the top images",
    frozenset({"binary"}),
    "images in A and B / images in A or B, A the ones above the top quantile of the neuron (by "
    "default the share that the concept has), B those with the concept; Wilson's interval with as "
    "many trials as images in A or B, p by the hypergeometric distribution, one-sided.",
    signed=False,
    of=jaccard,
)
