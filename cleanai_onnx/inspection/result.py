"""The result of an inspection: scores of one model or of several, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.claims import Claim
from cleanai_onnx.inspection.exciting import Exciting
from cleanai_onnx.inspection.scores import Scores, benjamini_hochberg
from cleanai_onnx.result import LayerFacts, Note, RunFacts, SkippedImage, View

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "AffinityTable", "Inspection", "ModelInspection", "map_size"]

COLUMNS = {
    "model": "the model",
    "layer": "the tensor of the layer",
    "kind": "what is scored: channel, unit, or the layer as a whole",
    "unit": "its number in the layer; empty for a layer as a whole",
    "hypothesis": "what it is held against; digit=3 is one category of digit",
    "measure": "how",
    "score": "the score; empty where there is none (a neuron that never changes)",
    "low": "lower end of the 95 % confidence interval of this score alone",
    "high": "its upper end",
    "p": "p-value of no relation; empty without a test",
    "q": "the same corrected for the number of neurons tested against the hypothesis "
    "(Benjamini-Hochberg): the share of false discoveries among those with a q no larger",
    "inputs": "from how many images",
}
"""The columns of the table of affinities, and what they hold."""


@dataclass(frozen=True, eq=False)
class AffinityTable:
    """What one measure says of all neurons of a model.

    Attributes
    ----------
    measure
        Its id.
    claims
        The numbers of its claims.
    joint
        Whether the rows are layers; otherwise they are neurons, one layer after the other.
    scores
    signed
        Whether a score below zero says as much as one above.
    """

    measure: str
    claims: tuple[int, ...]
    joint: bool
    scores: Scores
    signed: bool

    @cached_property
    def q(self) -> npt.NDArray[np.float64]:
        """The p-values corrected for the number of tests of each claim; as the scores."""
        return np.stack([benjamini_hochberg(column) for column in self.scores.p.T], axis=1)

    def sizes(self, claim: int) -> npt.NDArray[np.float64]:
        """Return how much each row says of a claim (by number): its score without a sign."""
        scores = self.scores.score[:, self.claims.index(claim)]
        return np.abs(scores) if self.signed else scores

    def top(self, claim: int, most: int) -> list[int]:
        """Return the rows that say most of a claim, at most so many, the best first."""
        sizes = self.sizes(claim)
        known = np.flatnonzero(~np.isnan(sizes))
        best: list[int] = known[np.argsort(-sizes[known], kind="stable")[:most]].tolist()
        return best


@dataclass(frozen=True)
class ExcitingImage:
    """An image that excites a neuron.

    Attributes
    ----------
    name
    value
        The neuron's.
    thumbnail
        PNG; None where the image cannot be shown.
    overlay
        PNG of the neuron's map over what the model sees; None where there is none.
    """

    name: str
    value: float
    thumbnail: bytes | None
    overlay: bytes | None = None


@dataclass(frozen=True)
class FeaturedNeuron:
    """One of the neurons that encode a claim best, with the images that excite it most.

    Attributes
    ----------
    claim
        Its number.
    row
        The neuron's row in the tables.
    images
    """

    claim: int
    row: int
    images: tuple[ExcitingImage, ...]


@dataclass(frozen=True, eq=False)
class ModelInspection:
    """What was found in one model.

    Attributes
    ----------
    model, sha256
    layers, view
        The neurons that were scored.
    claims
        What they were held against.
    tables
        One for each measure.
    exciting
        The images that excite each neuron most, by their number in the suite.
    inputs, kept
        How many images were seen; of how many the values were kept for measures of order and fits
        (None if none of these was asked for).
    stopped, error
        Whether it stopped early because all scores were within `error`.
    run
    featured
        What the report shows of single neurons, claim by claim.
    """

    model: str
    sha256: str
    layers: tuple[LayerFacts, ...]
    view: View
    claims: tuple[Claim, ...]
    tables: tuple[AffinityTable, ...]
    exciting: Exciting
    inputs: int
    kept: int | None
    stopped: bool
    error: float
    run: RunFacts
    featured: tuple[FeaturedNeuron, ...] = ()

    @cached_property
    def neurons(self) -> list[tuple[int, int]]:
        """The layer and the number in it of each neuron, as in the rows of the tables."""
        return [
            (place, unit)
            for place, layer in enumerate(self.layers)
            for unit in range(layer.size(self.view))
        ]

    def frame(self, called: str | None = None) -> pd.DataFrame:
        """Return all scores, a row each, with the columns `COLUMNS`.

        `called` is what the model is called in it, by default its own name.
        """
        import pandas as pd

        parts = [self._cells(number) for number in range(len(self.tables))]
        cells = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        # Of half a million rows, only the numbers of the words are written, not the words.
        words = {
            "model": (called or self.model,),
            "layer": tuple(one.name for one in self.layers),
            "kind": (self.view, "layer"),
            "hypothesis": tuple(dict.fromkeys(claim.name for claim in self.claims)),
            "measure": tuple(table.measure for table in self.tables),
        }
        columns: dict[str, Any] = dict(cells)
        for name, known in words.items():
            codes: npt.NDArray[np.int64] = cells[name]
            columns[name] = pd.Categorical.from_codes(codes, pd.Index(known))
        columns["unit"] = pd.arrays.IntegerArray(cells["unit"], cells["unit"] < 0)
        return pd.DataFrame({name: columns[name] for name in COLUMNS})

    def _cells(self, number: int) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of a table, claim by claim; words as their numbers."""
        table = self.tables[number]
        scores, count = table.scores, len(table.claims)
        layer, unit = self._rows(table)
        names = list(dict.fromkeys(claim.name for claim in self.claims))
        hypotheses = np.array([names.index(self.claims[claim].name) for claim in table.claims])
        every = len(layer) * count
        cells = {
            "model": np.zeros(every, np.int8),
            "layer": np.tile(layer, count),
            "kind": np.full(every, int(table.joint), np.int8),
            "unit": np.tile(unit, count),
            "hypothesis": np.repeat(hypotheses, len(layer)),
            "measure": np.full(every, number, np.int16),
            **{name: getattr(scores, name).T.ravel() for name in ("score", "low", "high", "p")},
            "q": table.q.T.ravel(),
            "inputs": np.repeat(scores.inputs, len(layer)),
        }
        if table.measure != "iou":
            return cells
        # Layers without maps have no overlap with a mask.
        mapped = np.array([map_size(one) is not None for one in self.layers])
        return {name: values[np.tile(mapped[layer], count)] for name, values in cells.items()}

    def _rows(self, table: AffinityTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the layer of each row, and the number of its neuron in it; -1 for a layer."""
        if table.joint:
            return np.arange(len(self.layers)), np.full(len(self.layers), -1)
        sizes = [layer.size(self.view) for layer in self.layers]
        layer = np.repeat(np.arange(len(sizes)), sizes)
        return layer, np.concatenate([np.arange(size) for size in sizes])

    def ranking(self, claim: int) -> AffinityTable | None:
        """Return the table that ranks neurons for a claim: the first measure that takes it."""
        tables = (one for one in self.tables if not one.joint and claim in one.claims)
        return next(tables, None)


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found in one model, or in several side by side.

    Attributes
    ----------
    models
        In the order in which they were given.
    names
        What each is called, all different.
    source, found, skipped
        The images: where from, how many, and which could not be used.
    notes
    """

    models: tuple[ModelInspection, ...]
    names: tuple[str, ...]
    source: str
    found: int
    skipped: tuple[SkippedImage, ...] = ()
    notes: tuple[Note, ...] = ()

    def frame(self) -> pd.DataFrame:
        """Return all scores of all models, a row each, with the columns `COLUMNS`."""
        import pandas as pd
        from pandas.api.types import union_categoricals

        parts = [one.frame(name) for one, name in zip(self.models, self.names, strict=True)]
        if len(parts) == 1:
            return parts[0]
        unions = {
            name: union_categoricals([part[name] for part in parts])
            for name in ("model", "layer", "kind", "hypothesis", "measure")
        }
        plain = pd.concat([part.drop(columns=list(unions)) for part in parts], ignore_index=True)
        return plain.assign(**unions)[list(COLUMNS)]


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names made different by numbers where they are the same."""
    found: list[str] = []
    for name in names:
        number, called = 1, name
        while called in found:
            number += 1
            called = f"{name} ({number})"
        found.append(called)
    return tuple(found)


def map_size(layer: LayerFacts) -> tuple[int, int] | None:
    """Return the height and width of a layer's feature maps; None where it has none."""
    if len(layer.shape) != 3:
        return None
    height, width = (n for axis, n in enumerate(layer.shape) if axis != layer.channel_axis)
    return height, width
