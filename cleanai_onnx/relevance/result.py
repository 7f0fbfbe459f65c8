"""What an attribution gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Attribution", "Conservation"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Conservation:
    """Where the relevance went: one number for each image, ``(N,)``.

    In a model that moves the batch away from the first axis on its way (as torch's attention does),
    what was taken there is known for the batch and not for each image: then the sums over a batch
    hold, and those of single images do not.

    Attributes
    ----------
    started
        What the walk started with: f(x), the value of the target.
    arrived
        The sum of the input's relevance.
    biases
        What biases and other constants took.
    stabilisers
        What the ε in the denominators took, or None if that was not asked for.
    others
        What was lost where a rule conserves nothing: gradient x input, a divisor.
    """

    started: Array
    arrived: Array
    biases: Array
    stabilisers: Array | None
    others: Array

    @property
    def residual(self) -> Array:
        """What is not accounted for: rounding, and what the stabilisers took if that is None."""
        left = self.started - self.arrived - self.biases - self.others
        return np.asarray(left if self.stabilisers is None else left - self.stabilisers)

    def of(self, image: int) -> dict[str, float]:
        """Return where the relevance of one image went; the parts add up to `started`."""
        parts = {"arrived": self.arrived, "biases": self.biases, "others": self.others}
        if self.stabilisers is not None:
            parts["stabilisers"] = self.stabilisers
        return {name: float(x[image]) for name, x in (parts | {"residual": self.residual}).items()}

    @property
    def bias_share(self) -> Array:
        """What biases took as a part of f(x)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.biases / self.started)


@dataclass(frozen=True, eq=False)
class Attribution:
    """Relevance of N images.

    Attributes
    ----------
    relevance
        Of the input, ``(N, ...)`` in the layout of the model's input.
    layers
        Of the tensors that were asked for, ``(N, ...)`` each, by name.
    targets
        The classes explained, ``(N,)`` (or one for each position of a segmentation); None where
        the output itself is explained.
    values
        f(x), the values that relevance started from, ``(N,)``.
    conservation
        Where the relevance went.
    start
        The tensor that relevance started from.
    composite
        The composite's name.
    rules
        For each node on the way back, in graph order, its title and what redistributed there.
    without_rule
        The nodes that have no rule and were passed by gradient x input.
    passes
        The canonical passes that changed the graph.
    """

    relevance: Array
    layers: Mapping[str, Array]
    targets: Array | None
    values: Array
    conservation: Conservation
    start: str
    composite: str
    rules: tuple[tuple[str, str], ...]
    without_rule: tuple[str, ...]
    passes: tuple[str, ...]

    def target_of(self, image: int) -> int | None:
        """Return the class explained; None for the whole output, or a class at each position."""
        single = self.targets is not None and self.targets.ndim == 1
        return int(self.targets[image]) if self.targets is not None and single else None
