"""Inputs of several batches, gathered for the metrics that are faster on many at once.

A search for the nearest of thousands of training traces costs several times as much for each of 32
inputs as for each of a thousand. What such metrics look at, and what else is known of the inputs,
waits until there are enough of them; their order stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cleanai_onnx.coverage import PROFILED, Observed, Scores

__all__ = ["MOST_BYTES", "MOST_ROWS", "Rows", "Waiting", "measure"]

MOST_ROWS = 1024
"""Inputs that wait at most, but for those of one batch."""
MOST_BYTES = 1 << 25
"""What the channels of the inputs that wait may take."""


class Rows(NamedTuple):
    """What is known of the inputs of one batch.

    `observed` has their channels for the metrics that gather; `found` are the scores
    ``(B, scores)`` of each other family, by its number in `PROFILED`.
    """

    observed: Observed
    found: dict[int, np.ndarray]
    scores: Scores
    names: Sequence[str]
    indexes: Sequence[int]
    hashes: Sequence[str]


class Waiting:
    """The batches that wait to be measured by the metrics that gather."""

    def __init__(self) -> None:
        self._rows: list[Rows] = []
        self._inputs = self._bytes = 0

    def add(self, rows: Rows) -> None:
        """Let a batch wait. Its arrays are kept: they must not be memory that is used again."""
        self._rows.append(rows)
        self._inputs += len(rows.names)
        self._bytes += rows.observed.channels.nbytes

    def __len__(self) -> int:
        return self._inputs

    @property
    def is_enough(self) -> bool:
        """Whether no further batch should wait."""
        return self._inputs >= MOST_ROWS or self._bytes >= MOST_BYTES

    def measured(self, states: list[Any]) -> list[tuple[Rows, np.ndarray]]:
        """Measure all that wait, and no longer keep them.

        Parameters
        ----------
        states
            Of `PROFILED`; they are replaced by those after the inputs.

        Returns
        -------
        list
            Each batch and the scores ``(B, scores)`` of its inputs, in the order of `PROFILED`.
        """
        rows, self._rows = self._rows, []
        self._inputs = self._bytes = 0
        if not rows:
            return []
        channels = np.concatenate([one.observed.channels for one in rows])
        classes = [one.observed.classes for one in rows if one.observed.classes is not None]
        together = Observed(channels, channels, np.concatenate(classes) if classes else None)
        ends = np.cumsum([len(one.names) for one in rows])[:-1]
        late = {
            number: np.split(found, ends)
            for number, found in measure(states, together, gathered=True).items()
        }
        measured = []
        for place, one in enumerate(rows):
            scores = one.found | {number: parts[place] for number, parts in late.items()}
            measured.append((one, np.concatenate([scores[n] for n in sorted(scores)], axis=1)))
        return measured


def measure(states: list[Any], observed: Observed, *, gathered: bool) -> dict[int, np.ndarray]:
    """Measure inputs by the families of `PROFILED` that gather, or by those that do not.

    Parameters
    ----------
    states
        Of `PROFILED`; they are replaced by those after the inputs.
    observed
        The inputs.
    gathered
        Which families are meant.

    Returns
    -------
    dict
        The scores ``(B, scores)`` of each of these families, by its number.
    """
    found = {}
    for number, family in enumerate(PROFILED):
        if family.gathered is gathered:
            states[number], found[number] = family.update(states[number], observed)
    return found
