"""Joint measures: what all neurons of a layer say together, on images that were held out."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.fitting import fit_lasso, fit_ridge, standardised
from cleanai_onnx.inspection.measure import Columns, LayerMeasure, Settings
from cleanai_onnx.inspection.scores import Confidence, Scores, wilson_interval

__all__ = ["LOGISTIC_L1", "PROBE", "held_out"]

Floats: TypeAlias = npt.NDArray[np.float64]
Values: TypeAlias = npt.NDArray[np.float32]

HELD_OUT = 0.3
"""The share of images that a fit does not see."""
PENALTY = 1.0
"""λ, the inverse of scikit-learn's C."""
LEAST_IMAGES = 10


def held_out(n: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which of n images are for training, and which are held out, by chance."""
    order = np.random.default_rng(seed).permutation(n)
    tested = round(HELD_OUT * n)
    return np.sort(order[tested:]), np.sort(order[:tested])


def logistic_l1(
    values: Values, columns: Columns, confidence: Confidence, settings: Settings
) -> Scores:
    """Return the F1 score of an L1-penalised logistic regression for each claim, ``(1, K)``."""
    from scipy.stats import hypergeom

    count = len(columns.claims)
    train, tested = held_out(len(columns), settings.seed)
    y, truth = columns.values[train], columns.values[tested] > 0
    # One kind alone cannot be learnt, nor found where it is not.
    possible = (y.min(axis=0, initial=1) < y.max(axis=0, initial=0)) & truth.any(axis=0)
    if len(columns) < LEAST_IMAGES or not possible.any():
        return _nothing(count, len(columns))
    known, unseen = standardised(values[train], values[tested])
    weights, intercepts = fit_lasso(known, y[:, possible], PENALTY)
    found = np.zeros(truth.shape, bool)
    found[:, possible] = unseen @ weights + intercepts > 0
    right = (found & truth).sum(axis=0)
    union = (found | truth).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap = np.where(possible, right / union, np.nan)
    # F1 = 2J / (1 + J) with J = TP / (TP + FP + FN), a share of so many trials.
    low, high = wilson_interval(overlap, confidence.effective(union, len(tested)), confidence)
    score, low, high = (2 * each / (1 + each) for each in (overlap, low, high))
    p = hypergeom.sf(right - 1, len(tested), truth.sum(axis=0), found.sum(axis=0))
    return _of_layer(score, low, high, np.where(possible, p, np.nan), len(columns))


def probe(values: Values, columns: Columns, confidence: Confidence, settings: Settings) -> Scores:
    """Return the accuracy of a linear probe for each claim, ``(1, K)``."""
    count = len(columns.claims)
    if len(columns) < LEAST_IMAGES:
        return _nothing(count, len(columns))
    train, tested = held_out(len(columns), settings.seed)
    known, unseen = standardised(values[train], values[tested])
    y, truth = columns.values[train], columns.values[tested]
    right = np.full(count, np.nan)
    possible = y.min(axis=0) < y.max(axis=0)
    binary = [
        place
        for place, one in enumerate(columns.claims)
        if one.kind == "binary" and possible[place]
    ]
    if binary:
        weights, intercepts = fit_ridge(known, y[:, binary], PENALTY, categories=False)
        found = unseen @ weights + intercepts > 0
        right[binary] = (found == (truth[:, binary] > 0)).mean(axis=0)
    for place in np.flatnonzero(possible).tolist():
        if columns.claims[place].kind == "categorical":
            kinds = np.unique(y[:, place])
            each = (y[:, place, None] == kinds).astype(np.float64)
            weights, intercepts = fit_ridge(known, each, PENALTY, categories=True)
            chosen = kinds[(unseen @ weights + intercepts).argmax(axis=1)]
            right[place] = (chosen == truth[:, place]).mean()
    trials = np.full(count, len(tested), np.float64)
    low, high = wilson_interval(right, confidence.effective(trials), confidence)
    p = _better_than_the_commonest(right, y, truth)
    return _of_layer(right, low, high, p, len(columns))


def _better_than_the_commonest(right: Floats, y: Floats, truth: Floats) -> Floats:
    """Binomial test against saying what is commonest in training, for each claim; one-sided."""
    from scipy.stats import binom

    found = np.full(len(right), np.nan)
    for place, share in enumerate(right.tolist()):
        if not np.isnan(share):
            kinds, counts = np.unique(y[:, place], return_counts=True)
            guess = float((truth[:, place] == kinds[counts.argmax()]).mean())
            hits = round(share * len(truth))
            found[place] = binom.sf(hits - 1, len(truth), guess)
    return found


def _of_layer(score: Floats, low: Floats, high: Floats, p: Floats, images: int) -> Scores:
    counts = np.full(len(score), images, np.int64)
    return Scores(score[None], low[None], high[None], p[None], counts)


def _nothing(claims: int, images: int) -> Scores:
    unknown = np.full(claims, np.nan)
    return _of_layer(unknown, unknown, unknown, unknown, images)


LOGISTIC_L1 = LayerMeasure(
    "logistic-l1",
    "F1 of L1 logistic regression on the layer",
    frozenset({"binary"}),
    "F1 on the 30 % of images held out, of a logistic regression on all neurons of the layer with "
    "L1 penalty (λ = 1) on standardised values; Wilson's interval, p by the hypergeometric "
    "distribution, one-sided.",
    signed=False,
    of=logistic_l1,
)
PROBE = LayerMeasure(
    "probe",
    "accuracy of a linear probe on the layer",
    frozenset({"binary", "categorical"}),
    "accuracy on the 30 % of images held out, of a logistic regression (multinomial for "
    "categories) on all neurons of the layer with L2 penalty (λ = 1) on standardised values; "
    "Wilson's interval, p by the binomial test against the commonest category in training, "
    "one-sided.",
    signed=False,
    of=probe,
)
