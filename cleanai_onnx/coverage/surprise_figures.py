"""What is kept of the surprise of a suite: summaries of figures, and the buckets they lie in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import UnfitError, array_in, list_in, whole_in

__all__ = [
    "Buckets",
    "Summary",
    "bucket_of",
    "restored_buckets",
    "restored_summary",
    "stored_buckets",
    "stored_summary",
]


class Summary(NamedTuple):
    """What is kept of one figure of all inputs; the sum is exact, whatever the order."""

    inputs: int = 0
    finite: int = 0
    infinite: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: Fraction = Fraction(0)

    def merged(self, other: Summary) -> Summary:
        """Return the summary of both."""
        return Summary(
            self.inputs + other.inputs,
            self.finite + other.finite,
            self.infinite + other.infinite,
            min(self.low, other.low),
            max(self.high, other.high),
            self.total + other.total,
        )

    @staticmethod
    def of(values: npt.NDArray[np.float64]) -> Summary:
        """Summarise ``(B,)`` figures."""
        finite = values[np.isfinite(values)]
        return Summary(
            len(values),
            len(finite),
            int(np.isinf(values).sum()),
            float(finite.min(initial=math.inf)),
            float(finite.max(initial=-math.inf)),
            sum(map(Fraction, finite.tolist()), Fraction(0)),
        )


class Buckets(NamedTuple):
    """Which buckets were covered, ``(n,)`` booleans, and how many inputs were in none of them."""

    hit: npt.NDArray[np.bool_]
    below: int = 0
    above: int = 0


def bucket_of(values: npt.NDArray[np.float64], bound: float, count: int) -> npt.NDArray[np.int64]:
    """Return the bucket of each value, from 0; -1 at or below 0, `count` above `bound`.

    A value that is not a number has -2.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        share = np.ceil(values / bound * count) - 1
    inside = (values > 0) & (values <= bound)
    # Rounding must not move a value of the range out of it.
    found = np.clip(np.where(inside, share, 0), 0, count - 1).astype(np.int64)
    found = np.where(inside, found, np.where(values > bound, count, -1))
    return np.where(np.isnan(values), -2, found)


def stored_summary(one: Summary) -> dict[str, Any]:
    """Return a summary as a tree."""
    return {
        "counts": [one.inputs, one.finite, one.infinite],
        "extrema": np.array([one.low, one.high], np.float64),
        "total": list(one.total.as_integer_ratio()),
    }


def stored_buckets(one: Buckets) -> dict[str, Any]:
    """Return buckets as a tree."""
    return {"hit": one.hit, "outside": [one.below, one.above]}


def restored_summary(tree: Any) -> Summary:
    """Return the summary in a stored tree; raise UnfitError if there is none."""
    if not isinstance(tree, dict):
        raise UnfitError("a summary of surprise is missing")
    inputs, finite, infinite = _wholes(tree, "counts", 3)
    low, high = array_in(tree, "extrema", np.float64, 2).tolist()
    top, bottom = list_in(tree, "total", 2)
    if not isinstance(top, int):
        raise UnfitError("a sum of surprise is no number")
    total = Fraction(top, whole_in({"denominator": bottom}, "denominator", 1))
    return Summary(inputs, finite, infinite, low, high, total)


def restored_buckets(tree: Any, count: int) -> Buckets:
    """Return the `count` buckets in a stored tree; raise UnfitError if they are not there."""
    if not isinstance(tree, dict):
        raise UnfitError("buckets of surprise are missing")
    return Buckets(array_in(tree, "hit", np.bool_, count), *_wholes(tree, "outside", 2))


def _wholes(tree: Mapping[str, Any], name: str, length: int) -> list[int]:
    return [whole_in({name: value}, name) for value in list_in(tree, name, length)]
