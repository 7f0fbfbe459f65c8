"""When enough images were seen: scores that all lie within the error wanted, at once.

Scores are estimates of what they would be on all images of the suite, of which those seen are a
random part. The error of all of them together, at every look, is to be exceeded in one run of
twenty at most, so the probability of missing is shared equally among them (Bonferroni): with
100,000 scores and four looks that takes 2.8 times the width of a single 95 % interval. What it
gains is that the suite is finite: the width goes to nothing as its end comes near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cleanai_onnx.inspection.evidence import Scored
from cleanai_onnx.inspection.scores import Confidence

__all__ = ["MISSED", "Stopping"]

MISSED = 0.05
"""The probability that any score misses the error wanted."""
GROWTH = 1.5
"""Each look comes after so many times as many images: together they cost three times the last."""


@dataclass(frozen=True)
class Stopping:
    """The rule for a run.

    Attributes
    ----------
    error
        The largest distance from the score on all images; 0 for exact scores.
    least
        How many images are seen at least.
    population
        How many there are; None if that is not known.
    """

    error: float
    least: int
    population: int | None

    def first_look(self) -> int | None:
        """Return after how many images to look for the first time; None for never."""
        if not self.error or (self.population is not None and self.least >= self.population):
            return None
        return self.least

    def next_look(self, seen: int) -> int:
        """Return after how many images to look again."""
        return int(np.ceil(seen * GROWTH))

    def confidence(self, scores: int) -> Confidence:
        """Return what the intervals of so many scores must have."""
        looks = 20 if self.population is None else self._looks(self.population)
        return Confidence(MISSED / max(scores * looks, 1), self.population)

    def satisfied(self, scored: Sequence[Scored]) -> bool:
        """Return whether every interval is within the error."""
        return all(one.scores.half_width <= self.error for one in scored)

    def _looks(self, population: int) -> int:
        looks, seen = 0, self.least
        while seen < population:
            looks, seen = looks + 1, self.next_look(seen)
        return max(looks, 1)
