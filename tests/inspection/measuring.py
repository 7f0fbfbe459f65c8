"""Measures on arrays, without a model: the same evidence that a pass gathers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from cleanai_onnx.inspection import MEASURES, Settings
from cleanai_onnx.inspection.claims import Claim, columns_of
from cleanai_onnx.inspection.evidence import Evidence, score
from cleanai_onnx.inspection.kept import KeptValues
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.scores import Confidence, Scores

EVERY = tuple(name for name in MEASURES if name != "iou")


def scores(
    x: np.ndarray,
    y: np.ndarray,
    claims: Sequence[Claim],
    measures: Iterable[str] = EVERY,
    *,
    blocks: Sequence[int] = (),
    layers: Sequence[range] | None = None,
    confidence: Confidence | None = None,
    quantile: float | None = None,
) -> dict[str, Scores]:
    """Score neurons ``(n, N)`` against the values of hypotheses ``(n, H)``, fed in blocks."""
    linear = [number for number, one in enumerate(claims) if one.kind in ("binary", "numeric")]
    moments = CrossMoments.none(x.shape[1], len(linear))
    kept = KeptValues(x.shape[1], y.shape[1], len(x))
    edges = [0, *blocks, len(x)]
    for first, last in pairwise(edges):
        columns = columns_of(claims, y[first:last])[:, linear]
        moments = moments.merged(CrossMoments.of(x[first:last], columns))
        kept.add(x[first:last], y[first:last], range(first, last), None)
    evidence = Evidence(claims, layers or [range(x.shape[1])], moments, linear, kept, {})
    found = score(
        evidence,
        [MEASURES[name] for name in measures],
        confidence or Confidence(),
        Settings(quantile),
    )
    kept.close()
    return {one.measure.id: one.scores for one in found}


def binary(*names: str) -> list[Claim]:
    return [Claim(name, "binary", number) for number, name in enumerate(names)]


def neurons(seed: int, count: int, width: int, shape: str = "rectified") -> np.ndarray:
    """Return ``(count, width)`` float32 values as activations have them; rounded with ties."""
    random = np.random.default_rng(seed)
    x = random.normal(0.3, 1, (count, width)) * random.uniform(0.1, 30, width)
    if shape != "normal":
        x = np.maximum(x, 0)
    if shape == "rounded":
        x = np.round(x)
    return x.astype(np.float32)
