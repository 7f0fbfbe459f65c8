"""The images that excite each neuron most, kept while they pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Exciting"]


@dataclass(frozen=True, eq=False)
class Exciting:
    """The k largest values of N neurons, in descending order.

    Attributes
    ----------
    values
        ``(N, k)`` float32, -inf before there were so many images.
    images
        ``(N, k)`` int64, the number of the image of each; of equal values the earlier image.
    """

    values: npt.NDArray[np.float32]
    images: npt.NDArray[np.int64]

    @staticmethod
    def none(neurons: int, most: int) -> Exciting:
        """Return what is known before the first image; the identity of `merged`."""
        return Exciting(
            np.full((neurons, most), -np.inf, np.float32), np.full((neurons, most), -1, np.int64)
        )

    def with_block(
        self, values: npt.NDArray[np.float32], images: npt.NDArray[np.int64]
    ) -> Exciting:
        """Return the same after further images: ``(b, N)`` and ``(b,)``."""
        # Most neurons have no new image among their largest; only the others are sorted.
        values = np.where(np.isnan(values), -np.inf, values)
        changed = np.flatnonzero(values.max(axis=0) > self.values[:, -1])
        if not len(changed):
            return self
        block = Exciting(values[:, changed].T, np.broadcast_to(images, (len(changed), len(images))))
        found = Exciting(self.values[changed], self.images[changed])._merged(block)
        all_values, all_images = self.values.copy(), self.images.copy()
        all_values[changed], all_images[changed] = found.values, found.images
        return Exciting(all_values, all_images)

    def later(self, first: int) -> Exciting:
        """Return the same where the first image has the number `first`."""
        return Exciting(self.values, np.where(self.images < 0, -1, self.images + first))

    def merged(self, other: Exciting) -> Exciting:
        """Return what is known of both."""
        return self._merged(other)

    def _merged(self, other: Exciting) -> Exciting:
        values = np.concatenate([self.values, other.values], axis=1)
        images = np.concatenate([self.images, other.images], axis=1)
        most = self.values.shape[1]
        first = np.lexsort((images, -values), axis=1)[:, :most]
        return Exciting(
            np.take_along_axis(values, first, axis=1), np.take_along_axis(images, first, axis=1)
        )
