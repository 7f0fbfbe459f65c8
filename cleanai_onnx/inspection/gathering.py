"""What a pass gathers: the statistics that the measures asked for, fed block by block."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inspection.claims import Claim, columns_of
from cleanai_onnx.inspection.evidence import Evidence
from cleanai_onnx.inspection.exciting import Exciting
from cleanai_onnx.inspection.kept import KeptValues
from cleanai_onnx.inspection.measure import (
    LayerMeasure,
    MapMeasure,
    Measure,
    MomentMeasure,
    OrderMeasure,
)
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.overlap import Overlaps, shares_of
from cleanai_onnx.inspection.result import map_size
from cleanai_onnx.profiles.sample import image_keys
from cleanai_onnx.result import LayerFacts, View
from cleanai_onnx.runtime import available_memory

__all__ = ["Gathering", "maps_of"]

Floats: TypeAlias = npt.NDArray[np.float64]

BLOCK = 64
"""Images whose values are added to the statistics at once."""
EXCITING = 6
"""Images that are kept for each neuron."""


class Gathering:
    """Statistics of neurons and claims.

    Parameters
    ----------
    claims, measures
    masks : int
        How many of the hypotheses are masks.
    layers, view
        The neurons.
    capacity : int
        The values of at most so many images are kept.
    most : int, optional
        How many images there will be, if that is known.

    Raises
    ------
    UsageError
        If the statistics would not fit into memory.
    """

    def __init__(
        self,
        claims: Sequence[Claim],
        measures: Sequence[Measure],
        masks: int,
        layers: Sequence[LayerFacts],
        view: View,
        capacity: int,
        most: int | None,
    ) -> None:
        ends = np.cumsum([layer.size(view) for layer in layers]).tolist()
        starts = [0, *ends[:-1]]
        self.ranges = [range(*edges) for edges in zip(starts, ends, strict=True)]
        self._claims, self._layers = claims, layers
        self._linear = [
            number for number, one in enumerate(claims) if one.kind in ("binary", "numeric")
        ]
        joint, order, maps, linear = (
            any(isinstance(one, kind) for one in measures)
            for kind in (LayerMeasure, OrderMeasure, MapMeasure, MomentMeasure)
        )
        mapped = [place for place, one in enumerate(layers) if maps and map_size(one) is not None]
        fitted = min(capacity, capacity if most is None else most) if joint else 0
        self._check_memory(mapped, masks, fitted)
        neurons = ends[-1]
        self._moments = CrossMoments.none(neurons, len(self._linear)) if linear else None
        self.exciting = Exciting.none(neurons, EXCITING)
        self._overlaps = {place: Overlaps.none(layers[place].channels, masks) for place in mapped}
        hypotheses = 1 + max(one.hypothesis for one in claims)
        self.kept = KeptValues(neurons, hypotheses, capacity) if joint or order else None
        # Only where there may be more images than are kept, one has to be chosen.
        self._sampled = most is None or most > capacity
        self._waiting: list[tuple[npt.NDArray[np.float32], Floats, list[int]]] = []
        self._keys: list[npt.NDArray[np.uint64]] = []

    def _check_memory(self, mapped: Sequence[int], masks: int, fitted: int) -> None:
        neurons = self.ranges[-1].stop
        # Twice for what merging needs besides, and the values of a block.
        needed = 2 * 8 * neurons * (len(self._linear) + 4) + 12 * neurons * (EXCITING + BLOCK)
        needed += sum(2 * Overlaps.bytes_for(self._layers[one].channels, masks) for one in mapped)
        # The values of a layer in double precision, and what its fit makes of them.
        needed += 3 * 8 * fitted * max(len(layer) for layer in self.ranges)
        room = available_memory()
        if needed > room:
            raise UsageError(
                f"the statistics of {neurons:,} neurons and {len(self._claims):,} claims take "
                f"{needed / 2**30:.1f} GiB of memory, and {room / 2**30:.1f} GiB are left: choose "
                "fewer layers with --layers, fewer hypotheses, or a smaller --keep."
            )

    @property
    def mapped(self) -> Mapping[int, Overlaps]:
        """The layers whose maps are counted, by their number."""
        return self._overlaps

    def add(
        self,
        data: npt.NDArray[Any],
        values: npt.NDArray[np.float32],
        hypotheses: Floats,
        indexes: list[int],
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        data
            ``(B, ...)``, the inputs, whose content decides whether their values are kept.
        values, hypotheses
            ``(B, N)`` of the neurons and ``(B, H)`` of the hypotheses.
        indexes
            Which images these are.
        """
        if self.kept is not None and self._sampled:
            self._keys.append(image_keys(data))
        self._waiting.append((values, hypotheses, indexes))
        if sum(len(block) for block, _, _ in self._waiting) >= BLOCK:
            self.flush()

    def add_maps(
        self,
        activations: Mapping[int, npt.NDArray[np.float32]],
        pixels: Sequence[npt.NDArray[np.float32]],
    ) -> None:
        """Count the maps of a batch.

        Parameters
        ----------
        activations
            ``(B, units)`` of each layer of `mapped`.
        pixels
            Of each mask ``(B, height, width)``.
        """
        shares: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        for place, overlaps in self._overlaps.items():
            layer = self._layers[place]
            grid = map_size(layer)
            assert grid is not None
            if grid not in shares:
                shares[grid] = np.stack([shares_of(one, grid) for one in pixels])
            overlaps.add(maps_of(activations[place], layer), shares[grid])

    def flush(self) -> None:
        """Add the values that wait to the statistics."""
        if not self._waiting:
            return
        values, hypotheses, indexes = (
            np.concatenate(parts) for parts in zip(*self._waiting, strict=True)
        )
        self._waiting.clear()
        if self._moments is not None:
            columns = columns_of(self._claims, hypotheses)[:, self._linear]
            self._moments = self._moments.merged(CrossMoments.of(values, columns))
        self.exciting = self.exciting.with_block(values, indexes)
        if self.kept is not None:
            keys = np.concatenate(self._keys) if self._keys else None
            self._keys.clear()
            self.kept.add(values, hypotheses, indexes, keys)

    def write(self, stream: IO[bytes]) -> None:
        """Write everything to a stream, for `merge` in another process."""
        self.flush()
        statistics = self._moments, self.exciting, self._overlaps
        pickle.dump(statistics, stream, pickle.HIGHEST_PROTOCOL)
        if self.kept is not None:
            self.kept.write(stream)

    def merge(self, stream: IO[bytes], first: int) -> None:
        """Add what `write` wrote of a part of the suite whose first image is `first`.

        It reads what only this program has written: pickle would run what another has.
        """
        moments, exciting, overlaps = pickle.load(stream)
        if self._moments is not None:
            self._moments = self._moments.merged(moments)
        self.exciting = self.exciting.merged(exciting.later(first))
        self._overlaps = {
            place: one.merged(overlaps[place]) for place, one in self._overlaps.items()
        }
        if self.kept is not None:
            self.kept.merge(stream, first)

    def evidence(self) -> Evidence:
        """Return what was gathered of all batches so far."""
        self.flush()
        return Evidence(
            self._claims, self.ranges, self._moments, self._linear, self.kept, self._overlaps
        )

    def close(self) -> None:
        """Remove the values that were kept."""
        if self.kept is not None:
            self.kept.close()


def maps_of(values: npt.NDArray[np.float32], layer: LayerFacts) -> npt.NDArray[np.float32]:
    """Return the activations of a layer as ``(B, channels, height, width)``."""
    shaped = values.reshape(len(values), *layer.shape)
    return np.moveaxis(shaped, layer.channel_axis + 1, 1)
