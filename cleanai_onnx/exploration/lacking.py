"""What a suite lacks: the items of a coverage that no image covers, and goals that reach for them.

Which items an input covers is for the metrics to say (`cleanai_onnx.coverage`). Here an item that
is lacking becomes the box of neuron values that covers it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.coverage import ImportanceState
from cleanai_onnx.coverage.corners import CornerState
from cleanai_onnx.coverage.sections import SectionState, section_of
from cleanai_onnx.exploration.goals import Box
from cleanai_onnx.result import LayerFacts

__all__ = ["REACHABLE", "Covered", "boxes_for", "least_of"]

REACHABLE = ("nc-suite", "nc-suite-scaled", "nbc-suite", "snac", "kmnc", "idc")
"""Coverages whose items are boxes."""
NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softplus"})
"""Activations whose values are never below 0."""
MOST_FLAGS = 2**28
"""Items of a part are marked in memory up to so many; of more, those that are covered are kept."""
MOST_LISTED = 2**16
"""So many combinations that are lacking are looked at for each batch of seeds."""


class Covered:
    """The items that are covered so far, in one part or several.

    Parameters
    ----------
    parts : sequence of int
        How many items each part has.

    Attributes
    ----------
    count : int
        How many items are covered.
    """

    def __init__(self, parts: Sequence[int]) -> None:
        self.parts = tuple(parts)
        # Of combinations there can be more than any memory has bytes, but images cover few.
        self._flags: tuple[npt.NDArray[np.bool_] | set[int], ...] = tuple(
            np.zeros(size, np.bool_) if size <= MOST_FLAGS else set() for size in parts
        )
        self.count = 0

    @property
    def items(self) -> int:
        """How many items there are."""
        return sum(self.parts)

    def add(self, found: Iterable[npt.NDArray[np.int64]]) -> int:
        """Cover the items of one input, an array for each part; return how many are new."""
        before = self.count
        for flags, numbers in zip(self._flags, found, strict=True):
            new = _new(flags, numbers)
            self.count += len(new)
            if isinstance(flags, set):
                flags.update(new.tolist())
            else:
                flags[new] = True
        return self.count - before

    def would_add(self, found: Iterable[npt.NDArray[np.int64]]) -> bool:
        """Return whether one input covers something new."""
        return any(
            len(_new(flags, numbers)) for flags, numbers in zip(self._flags, found, strict=True)
        )

    def lacking(self, part: int, most: int | None = None) -> npt.NDArray[np.int64]:
        """Return the numbers of items that are not covered, ascending; the first `most`."""
        flags, size = self._flags[part], self.parts[part]
        if not isinstance(flags, set):
            return np.flatnonzero(~flags)[:most]
        # Among the first numbers there are enough, however many items there are.
        most = MOST_LISTED if most is None else most
        return _new(flags, np.arange(min(size, len(flags) + most)))[:most]


def _new(
    flags: npt.NDArray[np.bool_] | set[int], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the numbers, each once, that are not covered yet."""
    numbers = np.unique(numbers)
    if isinstance(flags, set):
        return np.array([number for number in numbers.tolist() if number not in flags], np.int64)
    return numbers[~flags[numbers]]


@dataclass(frozen=True, eq=False)
class _Seeds:
    """The seeds for which goals are wanted: their channels, ``(n, C)``, and the chance."""

    channels: npt.NDArray[np.float32]
    chance: np.random.Generator


def boxes_for(
    metric: str,
    covered: Covered,
    state: Any,
    threshold: float,
    channels: npt.NDArray[np.float32],
    chance: np.random.Generator,
    least: npt.NDArray[np.float64] | None = None,
) -> list[Box | None]:
    """Choose for each seed an item that is lacking, and return its box.

    Parameters
    ----------
    metric
        One of `REACHABLE`.
    covered
        What is covered so far.
    state
        Of the metric's family in `coverage.PROFILED`; None for one that needs no profile.
    threshold
        t of `nc-suite` and `nc-suite-scaled`.
    channels
        ``(n, C)``, the values of the seeds' channels, all layers one after the other.
    chance
        What is drawn is drawn from here.
    least
        ``(C,)``, values that no channel can be below; None: nothing is known.

    Returns
    -------
    list of Box or None
        None for every seed where nothing is lacking.
    """
    seeds = _Seeds(channels, chance)
    if isinstance(state, SectionState):
        return _sections(covered, state, seeds)
    if isinstance(state, ImportanceState):
        return _combinations(covered, state, seeds)
    if isinstance(state, CornerState):
        return _shared(seeds, _corners(metric, covered, state, least))
    inf = math.inf

    def above(neuron: int) -> Box:
        return Box((neuron,), (threshold,), (inf,), (inf,), (1.0,))

    return _shared(seeds, [(neuron, above) for neuron in covered.lacking(0).tolist()])


def least_of(layers: Iterable[LayerFacts]) -> npt.NDArray[np.float64]:
    """Return ``(C,)``, values that the channels of the layers cannot be below."""
    ends = [
        np.full(layer.channels, 0.0 if layer.op in NOT_NEGATIVE else -math.inf) for layer in layers
    ]
    return np.concatenate([np.empty(0), *ends])


Made = tuple[int, Callable[[int], Box]]


def _shared(seeds: _Seeds, made: Sequence[Made]) -> list[Box | None]:
    """Deal the items out in a random order, again and again if there are more seeds."""
    if not made:
        return [None] * len(seeds.channels)
    order = seeds.chance.permutation(len(made))
    chosen = (made[order[seed % len(made)]] for seed in range(len(seeds.channels)))
    return [box(item) for item, box in chosen]


def _corners(
    metric: str, covered: Covered, state: CornerState, least: npt.NDArray[np.float64] | None
) -> list[Made]:
    learnt, inf = state.learnt, math.inf
    width = state.margin * learnt.deviation

    def below(neuron: int) -> Box:
        limit = float(learnt.low[neuron] - width[neuron])
        return Box((neuron,), (-inf,), (limit,), (-inf,), (1.0,))

    def above(neuron: int) -> Box:
        limit = float(learnt.high[neuron] + width[neuron])
        return Box((neuron,), (limit,), (inf,), (inf,), (1.0,))

    sides = (below, above) if metric == "nbc-suite" else (above,)
    known = learnt.low <= learnt.high
    # Most neurons after a ReLU were 0 for some image: nothing is below.
    possible = known if least is None else known & (learnt.low - width > least)
    return [
        (neuron, side)
        for part, side in enumerate(sides)
        for neuron in covered.lacking(part).tolist()
        if (possible if side is below else known)[neuron]
    ]


def _sections(covered: Covered, state: SectionState, seeds: _Seeds) -> list[Box | None]:
    """Take a neuron by chance, and of the sections that it lacks the nearest to the seed's."""
    lacking, k = covered.lacking(0), state.sections
    if not len(lacking):
        return [None] * len(seeds.channels)
    of_neuron: dict[int, npt.NDArray[np.int64]] = {}
    positions, first = np.unique(lacking // k, return_index=True)
    for position, sections in zip(positions, np.split(lacking % k, first[1:]), strict=True):
        of_neuron[int(position)] = sections
    learnt, boxes = state.learnt, list[Box | None]()
    for values, position in zip(
        seeds.channels, seeds.chance.choice(positions, len(seeds.channels)), strict=True
    ):
        neuron = int(state.neurons[position])
        low, high = learnt.low[neuron], learnt.high[neuron]
        value = np.clip(values[neuron], low, high)
        now = int(section_of(value[None, None], low[None], high[None], k)[0, 0])
        sections = of_neuron[int(position)]
        section = int(sections[np.abs(sections - now).argmin()])
        width = (float(high) - float(low)) / k
        start = float(low) + section * width
        boxes.append(Box((neuron,), (start,), (start + width,), (start + width / 2,), (1.0,)))
    return boxes


def _combinations(covered: Covered, state: ImportanceState, seeds: _Seeds) -> list[Box | None]:
    """Take for each seed the nearest combination that no seed before it took."""
    part = int(seeds.chance.integers(len(state.subjects)))
    subject = state.subjects[part]
    lacking = covered.lacking(part, MOST_LISTED)
    if not len(lacking):
        return [None] * len(seeds.channels)
    clusters = np.stack(np.unravel_index(lacking, subject.sizes), axis=1)
    neurons = [subject.layer.columns.start + neuron.index for neuron in subject.neurons]
    spreads = np.array(
        [
            max(float(np.ptp(n.centroids)), 1e-6) if len(n.centroids) > 1 else 1.0
            for n in subject.neurons
        ]
    )
    centres = np.stack(
        [n.centroids[c] for n, c in zip(subject.neurons, clusters.T, strict=True)], axis=1
    )
    free, boxes = np.ones(len(lacking), np.bool_), list[Box | None]()
    for values in seeds.channels:
        if not free.any():
            free[:] = True
        away = (np.abs(values[neurons] - centres) / spreads).sum(axis=1)
        chosen = int(np.where(free, away, np.inf).argmin())
        free[chosen] = False
        ends = [(-math.inf, *neuron.borders.tolist(), math.inf) for neuron in subject.neurons]
        cluster = clusters[chosen].tolist()
        low = [of[c] for of, c in zip(ends, cluster, strict=True)]
        high = [of[c + 1] for of, c in zip(ends, cluster, strict=True)]
        boxes.append(Box(neurons, low, high, centres[chosen].tolist(), (1 / spreads).tolist()))
    return boxes
