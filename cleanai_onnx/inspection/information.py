"""Mutual information of a neuron and a concept, of any kind."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.measure import Columns, OrderMeasure, Settings
from cleanai_onnx.inspection.ranks import Ordered
from cleanai_onnx.inspection.scores import Confidence, Scores

__all__ = ["BINS", "MUTUAL_INFORMATION", "bins_of"]

Floats: TypeAlias = npt.NDArray[np.float64]

BINS = 8
"""Bins of a neuron's values and of a numeric claim's, of equal frequency as far as ties allow."""


def mutual_information(
    ordered: Ordered, columns: Columns, confidence: Confidence, settings: Settings
) -> Scores:
    """Return the plug-in estimate in nats."""
    neurons = bins_of(ordered)
    found = [
        _of_claim(neurons, _categories(columns, place), confidence)
        for place in range(len(columns.claims))
    ]
    score, low, high, p = (np.stack(each, axis=1) for each in zip(*found, strict=True))
    unknown = ~ordered.finite
    for each in (score, low, high, p):
        each[unknown] = np.nan
    count = np.full(len(columns.claims), len(columns), np.int64)
    return Scores(score, low, high, p, count)


def bins_of(ordered: Ordered) -> npt.NDArray[np.int8]:
    """Return the bin of each value, ``(N, n)``: how many of the inner edges lie below it.

    The edges are the values at ⌈n·b/8⌉ of the sorted ones, b from 1 to 7; equal values are in one
    bin.
    """
    n = ordered.values.shape[1]
    found = np.zeros(ordered.values.shape, np.int8)
    for number in range(1, BINS):
        edge = -(-n * number // BINS) - 1
        found += ordered.values > ordered.sorted[:, max(edge, 0), None]
    return found


def _categories(columns: Columns, place: int) -> npt.NDArray[np.float64]:
    """Return a claim as one column for each of its categories, ``(n, m)`` of 0 and 1."""
    values = columns.values[:, place]
    if columns.claims[place].kind == "numeric":
        values = bins_of(Ordered(values[None]))[0]  # type: ignore[arg-type]
    kinds = np.unique(values)
    return (values[:, None] == kinds).astype(np.float64)


def _of_claim(
    neurons: npt.NDArray[np.int8], claim: Floats, confidence: Confidence
) -> tuple[Floats, Floats, Floats, Floats]:
    from scipy.special import chdtrc

    n = len(claim)
    joint = np.stack([(neurons == number) @ claim for number in range(BINS)], axis=1) / n
    of_neuron, of_claim = joint.sum(axis=2), claim.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(joint / (of_neuron[:, :, None] * of_claim))
    ratio = np.where(joint > 0, ratio, 0)
    found = (joint * ratio).sum(axis=(1, 2))
    # Both variables must vary: otherwise nothing can be said.
    freedom = ((of_neuron > 0).sum(axis=1) - 1.0) * (claim.shape[1] - 1)
    score = np.where(freedom > 0, np.maximum(found, 0), np.nan)
    p = np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), 2 * n * np.maximum(found, 0)), np.nan)
    # The delta method, which sees no variance at independence, and what is then known: 2n times the
    # estimate has the chi-square distribution, with its mean (the bias, Miller 1955) and variance.
    variance = (joint * np.square(ratio)).sum(axis=(1, 2)) - np.square(found)
    effective = confidence.effective(n)
    spread = np.maximum(variance, 0) / effective + freedom / (2 * np.square(effective))
    half = confidence.z * np.sqrt(spread) + freedom / (2 * effective)
    return score, np.maximum(score - half, 0), score + half, p


MUTUAL_INFORMATION = OrderMeasure(
    "mutual-information",
    "mutual information",
    frozenset({"binary", "numeric", "categorical"}),
    "Σ p(x, y) ln(p(x, y) / p(x)p(y)) in nats, the neuron and a numeric claim in 8 bins of equal "
    "frequency, not corrected for bias; interval by the delta method and the bias (Miller 1955), p "
    "by the G test.",
    signed=False,
    of=mutual_information,
)
