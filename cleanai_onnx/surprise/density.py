"""The density of the traces of one class, and distances that take their covariance into account.

Everything is float64, and densities are logarithms throughout: a density of 100 dimensions
underflows where nothing is unusual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_VARIANCE", "RIDGE", "ClassDensity", "varying_columns"]

LEAST_VARIANCE = 1e-5
"""Columns that vary less within some class are left out (Kim et al.'s program: var_threshold)."""
SINGULAR = 1e-10
"""A covariance is singular if an eigenvalue is this small a part of the largest one, or smaller.

Traces are float32: in a direction in which they spread 1e-5 times as much as in the widest one, the
rounding of their values is a part of what is seen. And a density through the covariance, in
float64, is no longer right to 1e-4: at 1e-10 scipy's and ours are 6e-6 off, at 1e-12 1e-3 and more.
"""
RIDGE = 1e-6
"""What a singular covariance gets on its diagonal, as a part of the mean variance."""
_ROWS = 32
"""Traces are looked at in blocks of so many rows: the rounding of a product depends on its shape,
and a figure must not depend on the size of a batch."""


def varying_columns(
    traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.intp]:
    """Return the columns that vary within every class.

    One choice for all classes, as in Kim et al.'s program: densities in spaces of different
    dimensions cannot be compared. Classes with a single trace have no say.

    Parameters
    ----------
    traces
        ``(n, C)``.
    classes
        ``(n,)``.
    """
    kept = np.ones(traces.shape[1], np.bool_)
    for label in np.unique(classes):
        own = traces[classes == label]
        if len(own) > 1:
            kept &= own.var(axis=0, dtype=np.float64) >= LEAST_VARIANCE
    return np.flatnonzero(kept)


@dataclass(frozen=True, eq=False)
class ClassDensity:
    """The traces of one class, of d columns, as a density and as a centre with a spread.

    Attributes
    ----------
    mean
        ``(d,)``.
    whitening
        ``(d, d)``: ``(x - mean) @ whitening`` has the identity as its covariance over the class.
    points
        ``(n, d)``: the whitened traces, over the bandwidth.
    bandwidth
        Scott's factor, n ** (-1 / (d + 4)).
    constant
        log(n) + d/2 log(2 pi) + 1/2 log det(bandwidth**2 covariance).
    regularised
        Whether the covariance was singular, and got a ridge.
    """

    mean: npt.NDArray[np.float64]
    whitening: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]
    bandwidth: float
    constant: float
    regularised: bool

    @staticmethod
    def of(traces: npt.NDArray[np.floating]) -> ClassDensity | None:
        """Return the density of ``(n, d)`` traces; None where they do not vary, or are too few."""
        n, d = traces.shape
        if n < 2 or d == 0:
            return None
        traces = traces.astype(np.float64)
        mean = traces.mean(axis=0)
        covariance = np.atleast_2d(np.cov(traces, rowvar=False))
        eigenvalues, vectors = np.linalg.eigh(covariance)
        if not eigenvalues[-1] > 0:
            return None
        regularised = bool(eigenvalues[0] <= SINGULAR * eigenvalues[-1])
        if regularised:
            eigenvalues = np.maximum(eigenvalues, 0) + RIDGE * np.trace(covariance) / d
        whitening = vectors / np.sqrt(eigenvalues)
        bandwidth = n ** (-1 / (d + 4))
        constant = (
            np.log(n)
            + d / 2 * np.log(2 * np.pi)
            + d * np.log(bandwidth)
            + np.log(eigenvalues).sum() / 2
        )
        points = (traces - mean) @ whitening / bandwidth
        return ClassDensity(mean, whitening, points, bandwidth, float(constant), regularised)

    def surprise(
        self, traces: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return likelihood-based and Mahalanobis surprise of ``(B, d)`` traces, ``(B,)`` each.

        LSA is -log of a Gaussian kernel density estimate with Scott's bandwidth (Kim et al.,
        section 3.2, equations 1 and 2); MDSA is the distance from the mean of the class with its
        covariance (Kim, Ju, Feldt, Yoo: Reducing DNN Labelling Cost Using Surprise Adequacy, FSE
        2020, section 2.3). NaN for a trace that is not finite.
        """
        found = [
            self._block(traces[first : first + _ROWS]) for first in range(0, len(traces), _ROWS)
        ]
        if not found:
            return np.zeros(0), np.zeros(0)
        likelihood, distance = zip(*found, strict=True)
        return np.concatenate(likelihood), np.concatenate(distance)

    def _block(
        self, traces: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        block = np.zeros((_ROWS, traces.shape[1]))
        block[: len(traces)] = traces
        finite = np.isfinite(block).all(axis=1)
        block[~finite] = 0
        whitened = (block - self.mean) @ self.whitening
        distance = np.sqrt((whitened**2).sum(axis=1))
        exponents = -_squared_distances(whitened / self.bandwidth, self.points) / 2
        largest = exponents.max(axis=1)
        density = largest + np.log(np.exp(exponents - largest[:, None]).sum(axis=1))
        undefined = np.where(finite, 0, np.nan)[: len(traces)]
        return (
            self.constant - density[: len(traces)] + undefined,
            distance[: len(traces)] + undefined,
        )


def _squared_distances(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the squared distances of the rows of ``(A, d)`` and ``(B, d)``: ``(A, B)``."""
    products: npt.NDArray[np.float64] = a @ b.T
    lengths = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
    squared: npt.NDArray[np.float64] = np.maximum(lengths - 2 * products, 0)
    return squared
