"""Cross-moments: all that linear measures need, in one matrix product for each block of images.

With the means of neurons and claims, their sums of squared distances from them, and the sums of
products of these distances, correlations and differences of means are known exactly. Blocks are
merged by the formulas of Chan, Golub and LeVeque (Updating formulae and a pairwise algorithm for
computing sample variances, 1979) and their extension to products, in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["CrossMoments"]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrossMoments:
    """What is known of N neurons and K claims.

    For a claim, only the images count for which it is known. As long as all are known for all
    claims, the moments of the neurons are the same for each and have one column.

    Attributes
    ----------
    count
        ``(K,)`` int64.
    mean_x, squares_x
        ``(N, 1)`` or ``(N, K)``: of the neurons, the mean and the sum of the squared distances.
    mean_y, squares_y
        ``(K,)``, the same of the claims.
    products
        ``(N, K)``: the sums of the products of the distances.
    """

    count: npt.NDArray[np.int64]
    mean_x: Floats
    squares_x: Floats
    mean_y: Floats
    squares_y: Floats
    products: Floats

    @staticmethod
    def none(neurons: int, claims: int) -> CrossMoments:
        """Return the moments before the first image; the identity of `merged`."""
        return CrossMoments(
            np.zeros(claims, np.int64),
            np.zeros((neurons, 1)),
            np.zeros((neurons, 1)),
            np.zeros(claims),
            np.zeros(claims),
            np.zeros((neurons, claims)),
        )

    @staticmethod
    def of(x: npt.NDArray[np.float32], y: Floats) -> CrossMoments:
        """Return the moments of a block.

        Parameters
        ----------
        x
            ``(b, N)``, the values of the neurons.
        y
            ``(b, K)``, those of the claims, NaN where they are not known.
        """
        if not len(x):
            return CrossMoments.none(x.shape[1], y.shape[1])
        known = ~np.isnan(y)
        count = known.sum(axis=0, dtype=np.int64)
        least = np.maximum(count, 1)
        mean_y = np.where(known, y, 0).sum(axis=0) / least
        from_y = np.where(known, y - mean_y, 0)
        squares_y = np.square(from_y).sum(axis=0)
        with np.errstate(invalid="ignore"):  # infinite activations have no moments
            centre = x.mean(axis=0, dtype=np.float64)
            from_x = x - centre
            products = from_x.T @ from_y
            if known.all():
                squares = np.einsum("bn,bn->n", from_x, from_x)[:, None]
                return CrossMoments(count, centre[:, None], squares, mean_y, squares_y, products)
            weights = known.astype(np.float64)
            sums = from_x.T @ weights
            squares = np.square(from_x).T @ weights - sums**2 / least
        mean_x = centre[:, None] + sums / least
        return CrossMoments(count, mean_x, np.maximum(squares, 0), mean_y, squares_y, products)

    def merged(self, other: CrossMoments) -> CrossMoments:
        """Return the moments of both."""
        count = self.count + other.count
        weight = other.count / np.maximum(count, 1)
        of_both = self.count * weight
        if self.mean_x.shape[1] == other.mean_x.shape[1] == 1:
            # All images are known for all claims.
            weight_x, of_both_x = weight[:1], of_both[:1]
        else:
            weight_x, of_both_x = weight, of_both
        with np.errstate(invalid="ignore"):
            step_x, step_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
            return CrossMoments(
                count,
                self.mean_x + step_x * weight_x,
                self.squares_x + other.squares_x + np.square(step_x) * of_both_x,
                self.mean_y + step_y * weight,
                self.squares_y + other.squares_y + np.square(step_y) * of_both,
                self.products + other.products + step_x * (step_y * of_both),
            )

    def of_claims(self, places: Sequence[int]) -> CrossMoments:
        """Return the moments of some of the claims."""
        chosen = list(places)
        shared = self.mean_x.shape[1] == 1
        return CrossMoments(
            self.count[chosen],
            self.mean_x if shared else self.mean_x[:, chosen],
            self.squares_x if shared else self.squares_x[:, chosen],
            self.mean_y[chosen],
            self.squares_y[chosen],
            self.products[:, chosen],
        )

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """``(N, 1)`` or ``(N, K)``: neurons whose spread is no more than rounding leaves."""
        count = self.count if self.squares_x.shape[1] > 1 else self.count[:1]
        return self.squares_x <= count * np.square(1e-13 * self.mean_x)
