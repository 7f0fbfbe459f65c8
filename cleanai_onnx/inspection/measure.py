"""What a measure is: which claims it takes, what it is computed from, and how.

A measure is an entry of the registry. Those of one kind share what they are computed from, so that
activations are looked at once, whatever is asked of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.claims import Claim
from cleanai_onnx.inspection.hypotheses import Kind
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.overlap import Overlaps
from cleanai_onnx.inspection.ranks import Ordered
from cleanai_onnx.inspection.scores import Confidence, Scores

__all__ = [
    "Columns",
    "LayerMeasure",
    "MapMeasure",
    "Measure",
    "MomentMeasure",
    "OrderMeasure",
    "Settings",
]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Choices that measures depend on.

    Attributes
    ----------
    quantile
        The share of values that are a neuron's top; None: as large a share as the claim has.
    seed
        Of what is drawn by chance: which images are held out.
    """

    quantile: float | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Columns:
    """Claims that are known for the same n images.

    Attributes
    ----------
    claims
        K of them.
    values
        ``(n, K)`` float64, see `cleanai_onnx.inspection.claims.columns_of`.
    """

    claims: Sequence[Claim]
    values: Floats

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class _Card:
    """What every measure says of itself.

    Attributes
    ----------
    id
    title
        In a few words.
    takes
        The kinds of claims that it is defined for.
    definition
        The formula, and where interval and p-value come from.
    signed
        Whether a score below zero says as much as one above.
    """

    id: str
    title: str
    takes: frozenset[Kind]
    definition: str
    signed: bool


@dataclass(frozen=True)
class MomentMeasure(_Card):
    """A measure of single neurons that needs nothing but cross-moments."""

    of: Callable[[CrossMoments, Confidence], Scores]


@dataclass(frozen=True)
class OrderMeasure(_Card):
    """A measure of single neurons that needs their values sorted; called for blocks of neurons."""

    of: Callable[[Ordered, Columns, Confidence, Settings], Scores]


@dataclass(frozen=True)
class LayerMeasure(_Card):
    """A joint measure: what all neurons of a layer, ``(n, C)``, say together."""

    of: Callable[[npt.NDArray[np.float32], Columns, Confidence, Settings], Scores]


@dataclass(frozen=True)
class MapMeasure(_Card):
    """A measure of feature maps against masks, for one layer."""

    of: Callable[[Overlaps, Confidence, Settings], Scores]


Measure: TypeAlias = MomentMeasure | OrderMeasure | LayerMeasure | MapMeasure
