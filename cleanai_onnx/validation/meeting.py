"""Where the outputs of two models for the same image meet, in whatever batches they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cleanai_onnx.report.per_image import ImageTable
from cleanai_onnx.result import LayerFacts
from cleanai_onnx.validation.outputs import OutputComparison, Rows

__all__ = ["Meeting"]


class Meeting:
    """Where the outputs of two models for the same image meet, in whatever batches they come.

    An image that one of them skipped is left out once both have gone past it, so that no more is
    kept than a few batches.
    """

    def __init__(self, table: ImageTable | None) -> None:
        self._table = table
        self._waiting: tuple[dict[int, np.ndarray], dict[int, np.ndarray]] = ({}, {})
        self._names: dict[int, str] = {}
        self._last = [-1, -1]
        self.comparison: OutputComparison | None = None
        self.remark = ""

    def begin(
        self, first: LayerFacts | None, second: LayerFacts | None, classes: int | None
    ) -> None:
        """Learn what the outputs are, and how many classes the first tells apart."""
        if first is None or second is None:
            which = "both models" if first is second else "a model"
            self.remark = f"the first output of {which} is not one of numbers that can be measured"
        elif _without_ones(first.shape) != _without_ones(second.shape):
            self.remark = (
                f"the first outputs have different shapes, {list(first.shape)} and "
                f"{list(second.shape)}"
            )
        else:
            self.comparison = OutputComparison(first.name, second.name, first.shape, classes)

    def old(self, values: np.ndarray, indexes: Sequence[int]) -> None:
        """Take outputs of the old model."""
        self._take(0, values, indexes)

    def new(self, values: np.ndarray, indexes: Sequence[int]) -> None:
        """Take outputs of the new model."""
        self._take(1, values, indexes)

    def _take(self, side: int, values: np.ndarray, indexes: Sequence[int]) -> None:
        if self.comparison is not None:
            # A copy, because the next run overwrites the values.
            self._waiting[side].update(zip(indexes, np.array(values), strict=True))

    def passed(self, side: int, names: Sequence[str], indexes: Sequence[int]) -> None:
        """Learn the names of images that a side has seen; it sees none before them any more."""
        self._names.update(zip(indexes, names, strict=True))
        self._last[side] = indexes[-1]

    def compare(self) -> None:
        """Compare what both have, and forget what cannot come any more."""
        old, new = self._waiting
        both = sorted(old.keys() & new.keys())
        if both:
            assert self.comparison is not None
            rows = Rows(
                [self._names[index] for index in both],
                both,
                np.stack([old[index] for index in both]),
                np.stack([new[index] for index in both]),
            )
            found = self.comparison.add(rows)
            if self._table is not None:
                self._table.add(rows.names, rows.indexes, found)
        past = min(self._last)
        for kept in (old, new, self._names):
            for index in [index for index in kept if index <= past]:
                del kept[index]


def _without_ones(shape: Sequence[int]) -> list[int]:
    """Return a shape as it is for whom (10, 1, 1) and (10,) hold the same values."""
    return [length for length in shape if length != 1]
