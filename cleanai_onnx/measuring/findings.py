"""What a measurement found: from the states of all metrics to the parts of a `Result`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cleanai_onnx import coverage
from cleanai_onnx.coverage import PROFILED
from cleanai_onnx.result import ImportantLayerFacts, Note, Table

__all__ = ["Findings", "find"]


@dataclass(frozen=True)
class Findings:
    """The members of a `Result` of the same names; `notes` are those on the figures."""

    tables: tuple[Table, ...]
    firing: tuple[tuple[int, ...], ...]
    importance: tuple[ImportantLayerFacts, ...]
    notes: tuple[Note, ...]


def find(
    state: coverage.State,
    against: Sequence[Any],
    pair: coverage.PairEvidence | None,
    adjacency: tuple[tuple[int, int], ...] | None,
    *,
    pair_is_missing: bool = False,
) -> Findings:
    """Return what was found.

    Parameters
    ----------
    state
        Of the metrics that need no profile.
    against
        The states of `PROFILED`; none without a profile.
    pair
        How two images differ.
    adjacency
        Which layers are next to each other; see `coverage.compute`.
    pair_is_missing
        Whether an image of the pair that was asked for did not come.
    """
    tables = coverage.compute(state, pair, adjacency)
    for family, of_family in zip(PROFILED, against, strict=False):
        tables += tuple(family.compute(of_family))
    return Findings(
        tables,
        coverage.firing(state),
        next(
            (
                coverage.important_layers(one)
                for one in against
                if isinstance(one, coverage.ImportanceState)
            ),
            (),
        ),
        tuple(_notes(state, pair_is_missing)),
    )


def _notes(state: coverage.State, pair_is_missing: bool) -> Iterator[Note]:
    affected = [
        (layer.name, count)
        for layer, count in zip(state.layers, state.nan_values, strict=True)
        if count
    ]
    if affected:
        total = sum(count for _, count in affected)
        yield Note(
            "not-a-number",
            f"{total:,} activations in {len(affected)} layers (first in {affected[0][0]}) are "
            "not a number; they count as not covered, and a layer's mean that is not a number "
            "covers nothing.",
        )
    if pair_is_missing:
        yield Note(
            "pair-not-used",
            "The pair metrics were not computed, because an image of --pair was skipped.",
        )
    if not state.one_sequence:
        yield Note(
            "parts-without-bounds",
            "nbc was not computed: its bounds are those of the first images, and the other parts "
            "of the suite were measured without knowing them.",
        )
    elif state.before + state.inputs <= state.parameters.bounds_from:
        yield Note(
            "no-image-after-bounds",
            f"nbc was not computed: it needs more than the {state.parameters.bounds_from} "
            "images that set its bounds (--bounds-from).",
        )
