"""The outputs of two models over the same images, image by image; memory stays flat."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cleanai_onnx.difference import OutputAgreement

__all__ = ["COLUMNS", "OutputComparison", "Rows", "Worst"]

COLUMNS = ("old class", "new class", "same class", "difference", "relative difference")
"""What is known of each image; NaN where there is none."""
WORST = 10
"""So many images on which the outputs disagree most are kept."""


class Rows(NamedTuple):
    """Images that both models have seen: ``(n, N)`` float32 values of each."""

    names: Sequence[str]
    indexes: Sequence[int]
    old: npt.NDArray[np.float32]
    new: npt.NDArray[np.float32]


class Worst(NamedTuple):
    """An image, ordered by how much the outputs disagree on it; of equal ones the first is more."""

    not_finite: bool
    other_class: bool
    relative: float
    before: int
    name: str
    classes: tuple[int, int] | None
    difference: float


class OutputComparison:
    """Compares two outputs of the same shape.

    Parameters
    ----------
    old, new : str
        Their names.
    shape : tuple of int
        Of one output.
    classes : int, optional
        How many classes the output tells apart.
    """

    def __init__(self, old: str, new: str, shape: tuple[int, ...], classes: int | None) -> None:
        self._names, self._shape, self._classes = (old, new), shape, classes
        self._images = self._not_finite = self._agreeing = 0
        self._largest: tuple[float, str] = (-math.inf, "")
        self._largest_relative: tuple[float, str] = (-math.inf, "")
        self._sum = Fraction(0)
        self._magnitude = 0.0
        self._worst: list[Worst] = []

    def add(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Compare a batch, and return `COLUMNS` of each image, ``(n, 5)``."""
        old, new = rows.old.astype(np.float64), rows.new.astype(np.float64)
        scale = np.abs(old).max(axis=1, initial=0.0)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            # Two infinities of one sign are the same.
            apart = np.where(old == new, 0.0, np.abs(old - new)).max(axis=1, initial=0.0)
            relative = np.where(apart == 0, 0.0, apart / scale)
        classes = np.stack([self._classes_of(old), self._classes_of(new)], axis=1)
        same = np.where(np.isnan(classes).any(axis=1), np.nan, classes[:, 0] == classes[:, 1])
        self._sum_up(rows.names, apart, relative, scale)
        self._agreeing += int(np.nansum(same))
        for row, (name, index) in enumerate(zip(rows.names, rows.indexes, strict=True)):
            finite = bool(np.isfinite(apart[row]))
            known = not np.isnan(classes[row]).any()
            self._keep(
                Worst(
                    not_finite=not finite,
                    other_class=bool(same[row] == 0),
                    relative=float(relative[row]) if finite else math.inf,
                    before=-index,
                    name=name,
                    classes=(int(classes[row, 0]), int(classes[row, 1])) if known else None,
                    difference=float(apart[row]),
                )
            )
        return np.column_stack([classes, same, apart, relative])

    def _classes_of(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the arg max of each row; NaN where there are no classes, or a NaN among them."""
        found = np.full(len(values), np.nan)
        if self._classes is not None:
            known = ~np.isnan(values).any(axis=1)
            found[known] = values[known].argmax(axis=1)
        return found

    def _sum_up(
        self,
        names: Sequence[str],
        apart: npt.NDArray[np.float64],
        relative: npt.NDArray[np.float64],
        scale: npt.NDArray[np.float64],
    ) -> None:
        finite = np.isfinite(apart)
        self._images += len(apart)
        self._not_finite += int((~finite).sum())
        # Exact, so that it does not depend on the batches.
        self._sum += sum(map(Fraction, apart[finite].tolist()), Fraction(0))
        self._magnitude = max(self._magnitude, float(scale[np.isfinite(scale)].max(initial=0.0)))
        self._largest = _larger(self._largest, apart, names)
        self._largest_relative = _larger(self._largest_relative, relative, names)

    def _keep(self, one: Worst) -> None:
        if not (one.not_finite or one.other_class or one.difference):
            return
        if len(self._worst) < WORST:
            heapq.heappush(self._worst, one)
        else:
            heapq.heappushpop(self._worst, one)

    @property
    def worst(self) -> tuple[Worst, ...]:
        """The images on which the outputs disagree most, first the most; none that are the same."""
        return tuple(sorted(self._worst, reverse=True))

    @property
    def facts(self) -> OutputAgreement:
        """What was found."""
        finite = self._images - self._not_finite
        (largest, name), (relative, relative_name) = self._largest, self._largest_relative
        return OutputAgreement(
            old=self._names[0],
            new=self._names[1],
            shape=self._shape,
            images=self._images,
            not_finite=self._not_finite,
            classes=self._classes,
            agreeing=None if self._classes is None else self._agreeing,
            maximum=largest if math.isfinite(largest) else None,
            maximum_image=name,
            relative=relative if math.isfinite(relative) else None,
            relative_image=relative_name,
            mean=float(self._sum / finite) if finite else None,
            magnitude=self._magnitude,
        )


def _larger(
    known: tuple[float, str], values: npt.NDArray[np.float64], names: Sequence[str]
) -> tuple[float, str]:
    """Return the largest finite value so far and the image that has it, the first of equals."""
    finite = np.where(np.isfinite(values), values, -np.inf)
    place = int(finite.argmax()) if len(finite) else 0
    if len(finite) and finite[place] > known[0]:
        return float(finite[place]), names[place]
    return known
