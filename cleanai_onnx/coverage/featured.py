"""Which images a report shows: those with the lowest and the highest coverage."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cleanai_onnx.coverage.scores import RANKED_BY, Scores

__all__ = ["Extremes", "Ranked"]

LOWEST = "lowest coverage"
HIGHEST = "highest coverage"


@dataclass(frozen=True, eq=False)
class Ranked:
    """An image with its score and everything that the report says of it."""

    score: float
    index: int
    name: str
    model: np.ndarray
    layers: np.ndarray

    def __lt__(self, other: Ranked) -> bool:
        """Rank none before the other: only a position that was given twice asks."""
        return False


class Extremes:
    """Keeps the `count` images with the lowest and the `count` with the highest score.

    Of images with equal scores the earlier one ranks first. An image without a score (NaN) is not
    ranked. Memory does not grow with the number of images.
    """

    def __init__(self, names: Sequence[str], count: int) -> None:
        self._column = list(names).index(RANKED_BY)
        self._count = count
        self._low: list[tuple[float, int, Ranked]] = []
        self._high: list[tuple[float, int, Ranked]] = []

    def add(self, names: Sequence[str], indexes: Sequence[int], scores: Scores) -> None:
        """Rank the images of a batch."""
        for row, (name, index) in enumerate(zip(names, indexes, strict=True)):
            score = float(scores.model[row, self._column])
            if np.isnan(score):
                continue
            model, layers = scores.model[row], scores.layers[row]
            self.offer(Ranked(score, index, name, model, layers))

    def offer(self, ranked: Ranked) -> None:
        """Keep an image if it is among those with the lowest or the highest scores."""
        for heap, key in ((self._low, -ranked.score), (self._high, ranked.score)):
            if len(heap) < self._count or (key, -ranked.index) > heap[0][:2]:
                # Copies: a row would keep the scores of its whole batch for as long as it is kept.
                own = replace(ranked, model=ranked.model.copy(), layers=ranked.layers.copy())
                heapq.heappush(heap, (key, -ranked.index, own))
                if len(heap) > self._count:
                    heapq.heappop(heap)

    @property
    def kept(self) -> tuple[Ranked, ...]:
        """The images that are kept; offered to another object, they are kept there."""
        return tuple({image.index: image for *_, image in (*self._low, *self._high)}.values())

    def ranked(self) -> list[tuple[str, Ranked]]:
        """Return (role, image), the lowest first and then the highest, none of them twice."""
        low = [entry[2] for entry in sorted(self._low, key=_order, reverse=True)]
        high = [entry[2] for entry in sorted(self._high, key=_order, reverse=True)]
        # A small suite would show an image on both sides: each goes to the side it is nearer to.
        total = {image.index: image for image in (*low, *high)}
        if len(total) < len(low) + len(high):
            order = sorted(total.values(), key=lambda image: (image.score, image.index))
            half = len(order) // 2
            low = order[:half]
            high = sorted(order[half:], key=lambda image: (-image.score, image.index))
        return [(LOWEST, image) for image in low] + [(HIGHEST, image) for image in high]


def _order(entry: tuple[float, int, Ranked]) -> tuple[float, int]:
    return entry[:2]
