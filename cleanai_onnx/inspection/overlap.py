"""Overlap of feature maps and masks: network dissection in one pass.

The threshold of a neuron, the top quantile of all its activations (Bau et al., Network Dissection,
CVPR 2017), is known only at the end. So that no second pass is needed, what is kept is how many
positions have an activation in each of `BINS` bins, and how many of these lie inside each concept:
the intersection over union at any edge of a bin follows from these counts. Bins are sixteenths of
an octave from 2⁻¹² to 2¹², for either sign; what is smaller or larger is in the bins at the ends.

A mask is brought to the grid of a layer as the share of each cell that shows the concept. That
counts pixels as if each activation were enlarged to its cell of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.scores import Confidence, Scores, wilson_interval

if TYPE_CHECKING:
    from cleanai_onnx.inspection.measure import Settings

__all__ = ["BINS", "Overlaps", "bin_of", "intersection_over_union", "shares_of"]

Floats: TypeAlias = npt.NDArray[np.float64]

_PARTS = 4
"""Bits of the mantissa that tell bins apart: sixteenths of an octave."""
_SMALLEST, _OCTAVES = -12, 24
_SIDE = _OCTAVES << _PARTS
BINS = 2 * _SIDE + 1


def bin_of(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Return the bin of each value; larger values are in the same or a later bin."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    # A float32 without its sign grows with its exponent and mantissa, read as one number.
    size = (bits & 0x7FFFFFFF) >> (23 - _PARTS)
    size = np.clip(size - (((127 + _SMALLEST) << _PARTS) - 1), 0, _SIDE)
    return np.where(bits < 0, _SIDE - size, _SIDE + size).astype(np.int32)


def shares_of(masks: npt.NDArray[np.float32], grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return which share of each cell of a grid is inside a mask.

    Parameters
    ----------
    masks
        ``(B, height, width)``, 1 inside.
    grid
        How many rows and columns of equal cells the picture is divided into.

    Returns
    -------
    array
        ``(B, *grid)`` float32.
    """
    down, across = (
        _averaging(length, cells) for length, cells in zip(masks.shape[1:], grid, strict=True)
    )
    shares: npt.NDArray[np.float32] = (down @ masks.astype(np.float64) @ across.T).astype(
        np.float32
    )
    return shares


def _averaging(length: int, cells: int) -> Floats:
    """Return the ``(cells, length)`` matrix that averages pixels over cells, in parts where cut."""
    edges = np.arange(cells + 1) * (length / cells)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(overlap, 0) * (cells / length)


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What is counted of C channels of a layer and M masks; mergeable by addition.

    Attributes
    ----------
    every
        ``(M, C, BINS)`` float64: positions in images for which the mask is known.
    inside
        The same of positions inside the mask, in shares of them.
    images
        ``(2, M)`` int64: images for which the mask is known, and that show the concept.
    finite
        ``(C,)``: whether all activations of a channel are finite.
    """

    every: Floats
    inside: Floats
    images: npt.NDArray[np.int64]
    finite: npt.NDArray[np.bool_]

    @staticmethod
    def none(channels: int, masks: int) -> Overlaps:
        """Return the counts before the first image; the identity of `merged`."""
        return Overlaps(
            np.zeros((masks, channels, BINS)),
            np.zeros((masks, channels, BINS)),
            np.zeros((2, masks), np.int64),
            np.ones(channels, bool),
        )

    @staticmethod
    def bytes_for(channels: int, masks: int) -> int:
        """Return how much memory the counts take."""
        return 16 * channels * masks * BINS

    def add(self, maps: npt.NDArray[np.float32], shares: npt.NDArray[np.float32]) -> None:
        """Count a batch, in place.

        Parameters
        ----------
        maps
            ``(B, C, h, w)``, the activations.
        shares
            ``(M, B, h, w)``, see `shares_of`; NaN where an image has no mask.
        """
        batch, channels = maps.shape[:2]
        flat = maps.reshape(batch, channels, -1)
        self.finite[:] &= np.isfinite(flat).all(axis=(0, 2))
        places = bin_of(flat) + (np.arange(channels, dtype=np.int32) * BINS)[:, None]
        for number, share in enumerate(shares.reshape(len(shares), batch, -1)):
            known = ~np.isnan(share[:, 0])
            self.images[:, number] += known.sum(), (share[known] > 0).any(axis=1).sum()
            for place, part in zip(places[known], share[known], strict=True):
                self.every[number] += _counted(place, None, channels)
                within = np.flatnonzero(part)
                if len(within):
                    weights = np.broadcast_to(part[within], (channels, len(within)))
                    self.inside[number] += _counted(place[:, within], weights, channels)

    def merged(self, other: Overlaps) -> Overlaps:
        """Return the counts of both."""
        return Overlaps(
            self.every + other.every,
            self.inside + other.inside,
            self.images + other.images,
            self.finite & other.finite,
        )


def _counted(
    places: npt.NDArray[np.int32], weights: npt.NDArray[np.float32] | None, channels: int
) -> Floats:
    found = np.bincount(
        places.ravel(), None if weights is None else weights.ravel(), channels * BINS
    )
    return found.reshape(channels, BINS).astype(np.float64)


def intersection_over_union(
    overlaps: Overlaps, confidence: Confidence, settings: Settings
) -> Scores:
    """Return the IoU of each channel's top activations and each mask, ``(C, M)``."""
    # How many positions lie in the bin or a later one.
    above = np.cumsum(overlaps.every[:, :, ::-1], axis=2)[:, :, ::-1]
    both = np.cumsum(overlaps.inside[:, :, ::-1], axis=2)[:, :, ::-1]
    total, area = above[:, :1, 0], both[:, :1, 0]
    wanted = area if settings.quantile is None else settings.quantile * total
    # The lowest edge above which no more positions lie than wanted; rounding must not move it.
    first = (above > (wanted * (1 + 1e-9))[:, :, None]).sum(axis=2)
    chosen = np.minimum(first, BINS - 1)[:, :, None]
    taken = np.where(first < BINS, np.take_along_axis(above, chosen, axis=2)[:, :, 0], 0)
    common = np.where(first < BINS, np.take_along_axis(both, chosen, axis=2)[:, :, 0], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = (common / (taken + area - common)).T
    score = np.where((area.T > 0) & overlaps.finite[:, None], score, np.nan)
    known, shown = overlaps.images
    trials = np.broadcast_to(confidence.effective(shown, int(known.max(initial=0))), score.shape)
    low, high = wilson_interval(score, trials, confidence)
    return Scores(score, low, high, np.full(score.shape, np.nan), known)
