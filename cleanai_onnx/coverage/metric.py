"""What a metric is: a definition, a card, and the few questions that it asks of the activations.

A metric does not read activations itself. It states, as functions of array elements, what it counts
in each input (`counters`), what it marks on each unit (`marks`), and which units are covered in the
end (`covers`). The engine asks the questions of all metrics in the same sweeps over memory, adds up
the answers exactly, and hands them back to `tabulate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jax import Array

from cleanai_onnx.coverage.pairs import PairCounts
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import Cell, Column, Table, View

__all__ = [
    "BOTH_VIEWS",
    "Card",
    "Counter",
    "Cover",
    "Definition",
    "Evidence",
    "Facts",
    "LayerEvidence",
    "Mark",
    "Metric",
    "UnitState",
    "ratio",
]

BOTH_VIEWS: tuple[View, ...] = ("unit", "channel")


class Facts(NamedTuple):
    """What is known of each input's activations in a layer when its elements are asked about.

    Every field is float32 with one value for each input, shaped to broadcast to the elements.
    `bound_low` and `bound_high` are those of `nbc`; until they are known they are infinite.
    """

    mean: Array
    low: Array
    high: Array
    absolute_low: Array
    absolute_high: Array
    bound_low: Array
    bound_high: Array


class UnitState(NamedTuple):
    """What is known of each neuron of a layer over the suite, on the host: ``(N,)`` arrays.

    `low` and `high` are its extrema (float32; +inf and -inf without a number); `marked` has one
    array of booleans for each mark of the metric; `selected` says whether the neuron was ever among
    the k largest of its layer. `complete` counts the inputs for which every value of the layer was
    a number.
    """

    low: np.ndarray
    high: np.ndarray
    marked: tuple[np.ndarray, ...]
    selected: np.ndarray
    complete: int


Counter = Callable[[Array, Facts], Array]
"""``(B, ...)`` elements and the facts of their inputs to booleans: is the element counted?"""
Mark = Callable[[Array, Facts], Array]
"""The same form: is the neuron marked for good?"""
Cover = Callable[[UnitState, Parameters], np.ndarray]
"""State of the neurons and parameters to booleans ``(N,)``: is it covered by the suite?"""


class LayerEvidence(NamedTuple):
    """The answers for one layer in one view, exact Python integers.

    `counted` are the sums of the metric's counters over all inputs, `covered` is the number of
    units that `covers` holds for, `complete` that of the inputs for which every value was a number.
    """

    name: str
    size: int
    counted: tuple[int, ...]
    covered: int
    top_sum: float
    bound_low: float
    bound_high: float
    complete: int


class Evidence(NamedTuple):
    """The answers for all layers in one view, over `inputs` inputs.

    `after_bounds` counts the inputs that came after those that set the bounds of `nbc`;
    `pair` holds the counts of the pair metrics, a `PairCounts` for each layer, if a pair was seen.
    """

    inputs: int
    after_bounds: int
    layers: tuple[LayerEvidence, ...]
    pair: tuple[PairCounts, ...] | None
    pair_names: tuple[str, str] | None
    adjacency: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Card:
    """What a metric promises.

    Attributes
    ----------
    scope : {"input", "pair", "suite"}
        What one figure is about. Figures of an input are summed over the inputs.
    monotone : bool
        Never falls when images are added.
    order_free : bool
        Does not depend on the order of the images.
    mergeable : bool
        Two parts of a suite, measured apart, can be merged into the figure of the whole.
    needs_profile : bool
        Needs what was learnt from the training images.
    source : str
        Paper or program, section, equation.
    """

    scope: Literal["input", "pair", "suite"]
    monotone: bool
    order_free: bool
    mergeable: bool
    source: str
    needs_profile: bool = False


class TableBody(NamedTuple):
    """Columns, rows and total of a table, before it is given its heading."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Definition:
    """A metric's id, title and exact definition as in the reports, and its card."""

    id: str
    title: str
    definition: str
    card: Card

    def table(self, view: View, parameters: Mapping[str, Any], body: TableBody) -> Table:
        """Return the metric's table."""
        return Table(
            metric=self.id,
            view=view,
            title=self.title,
            definition=self.definition,
            source=self.card.source,
            parameters=parameters,
            columns=body.columns,
            rows=body.rows,
            total=body.total,
            notes=body.notes,
        )


@dataclass(frozen=True)
class Metric:
    """A coverage metric.

    Attributes
    ----------
    id, title, definition : str
        As in the reports; `definition` says exactly what is counted.
    card : Card
    tabulate : callable
        The table's body from the evidence.
    parameters : callable
        The parameters that the figure depends on, by name.
    counters, marks : callable
        The questions of the metric, for given parameters.
    covers : callable, optional
        Which units are covered in the end.
    union : bool
        Whether a suite covers exactly what its images cover one by one, so that the images can be
        told apart by it. What only a pair of images covers is no such union.
    """

    id: str
    title: str
    definition: str
    card: Card
    tabulate: Callable[[Evidence, Parameters], TableBody]
    parameters: Callable[[Parameters], Mapping[str, Any]] = lambda _: {}
    counters: Callable[[Parameters], tuple[Counter, ...]] = lambda _: ()
    marks: Callable[[Parameters], tuple[Mark, ...]] = lambda _: ()
    covers: Cover | None = None
    union: bool = False
    views: tuple[View, ...] = BOTH_VIEWS

    def table(self, view: View, evidence: Evidence, parameters: Parameters) -> Table:
        """Return the metric's table in the neuron view."""
        return Definition(self.id, self.title, self.definition, self.card).table(
            view, dict(self.parameters(parameters)), self.tabulate(evidence, parameters)
        )


def ratio(part: int, whole: int) -> float | None:
    """Return ``part / whole``, or None where there is nothing to divide by."""
    return part / whole if whole else None
