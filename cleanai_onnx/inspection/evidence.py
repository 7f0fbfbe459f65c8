"""What a pass over the images has gathered, and the tables of scores that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.inspection.claims import Claim, columns_of, groups_of
from cleanai_onnx.inspection.kept import KeptValues
from cleanai_onnx.inspection.measure import (
    Columns,
    LayerMeasure,
    MapMeasure,
    Measure,
    MomentMeasure,
    OrderMeasure,
    Settings,
)
from cleanai_onnx.inspection.moments import CrossMoments
from cleanai_onnx.inspection.overlap import Overlaps
from cleanai_onnx.inspection.ranks import Ordered
from cleanai_onnx.inspection.scores import Confidence, Scores

__all__ = ["Evidence", "Scored", "claims_for", "score"]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was gathered of the neurons of a model.

    Attributes
    ----------
    claims
        All of them.
    layers
        Which neurons belong to each layer.
    moments
        Of the neurons and the claims at `linear`; None where no measure needs them.
    linear
        The numbers of the binary and numeric claims.
    kept
        The values of single images; None where no measure needs them.
    overlaps
        By the number of the layer, for layers that have maps.
    """

    claims: Sequence[Claim]
    layers: Sequence[range]
    moments: CrossMoments | None
    linear: Sequence[int]
    kept: KeptValues | None
    overlaps: Mapping[int, Overlaps]


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of one measure.

    Attributes
    ----------
    measure
    claims
        The numbers of its claims.
    scores
        A row for each neuron (NaN for neurons it says nothing of), or for each layer if it is a
        joint measure.
    """

    measure: Measure
    claims: Sequence[int]
    scores: Scores


def claims_for(measure: Measure, claims: Sequence[Claim]) -> list[int]:
    """Return the numbers of the claims that a measure takes."""
    return [number for number, claim in enumerate(claims) if claim.kind in measure.takes]


def score(
    evidence: Evidence,
    measures: Sequence[Measure],
    confidence: Confidence,
    settings: Settings,
    done: Callable[[], None] = lambda: None,
) -> tuple[Scored, ...]:
    """Return what each measure says; measures that suit no claim are left out.

    Values that were kept are read once for all measures of single neurons. `done` is called after
    each fit to a layer: fits are what may take long.
    """
    ordered = [one for one in measures if isinstance(one, OrderMeasure)]
    found = _by_order(evidence, ordered, confidence, settings)
    for measure in measures:
        if isinstance(measure, MomentMeasure):
            found[measure.id] = _by_moments(evidence, measure, confidence)
        elif isinstance(measure, LayerMeasure):
            found[measure.id] = _by_layer(evidence, measure, confidence, settings, done)
        elif isinstance(measure, MapMeasure):
            found[measure.id] = _by_maps(evidence, measure, confidence, settings)
    scored = ((one, claims_for(one, evidence.claims)) for one in measures)
    return tuple(Scored(one, claims, found[one.id]) for one, claims in scored if claims)


def _by_moments(evidence: Evidence, measure: MomentMeasure, confidence: Confidence) -> Scores:
    assert evidence.moments is not None
    wanted = claims_for(measure, evidence.claims)
    places = [evidence.linear.index(number) for number in wanted]
    return measure.of(evidence.moments.of_claims(places), confidence)


def _by_order(
    evidence: Evidence,
    measures: Sequence[OrderMeasure],
    confidence: Confidence,
    settings: Settings,
) -> dict[str, Scores]:
    claims = evidence.claims
    neurons = evidence.layers[-1].stop
    wanted = {one.id: claims_for(one, claims) for one in measures}
    found = {one.id: _unknown(neurons, len(wanted[one.id])) for one in measures}
    if evidence.kept is None or not any(wanted.values()):
        return found
    columns = columns_of(claims, evidence.kept.hypotheses)
    for rows, places in groups_of(columns):
        first = 0
        asked = {
            one.id: [number for number in places if number in wanted[one.id]] for one in measures
        }
        for values in evidence.kept.blocks(rows) if any(asked.values()) else ():
            ordered = Ordered(values)
            block = slice(first, first + len(values))
            first = block.stop
            for one in measures:
                if asked[one.id]:
                    part = _columns(claims, columns, rows, asked[one.id])
                    scores = one.of(ordered, part, confidence, settings)
                    put = [wanted[one.id].index(number) for number in asked[one.id]]
                    _put(found[one.id], block, put, scores)
    return found


def _by_layer(
    evidence: Evidence,
    measure: LayerMeasure,
    confidence: Confidence,
    settings: Settings,
    done: Callable[[], None],
) -> Scores:
    wanted = claims_for(measure, evidence.claims)
    found = _unknown(len(evidence.layers), len(wanted))
    if evidence.kept is None or not wanted:
        return found
    columns = columns_of(evidence.claims, evidence.kept.hypotheses)
    for rows, places in groups_of(columns[:, wanted]):
        part = _columns(evidence.claims, columns, rows, [wanted[place] for place in places])
        for number, layer in enumerate(evidence.layers):
            values = evidence.kept.layer(rows, layer)
            # A neuron that is not finite has no say.
            values = np.where(np.isfinite(values).all(axis=0), values, np.float32(0))
            scores = measure.of(values, part, confidence, settings)
            _put(found, slice(number, number + 1), places, scores)
            done()
    return found


def _by_maps(
    evidence: Evidence, measure: MapMeasure, confidence: Confidence, settings: Settings
) -> Scores:
    wanted = claims_for(measure, evidence.claims)
    found = _unknown(evidence.layers[-1].stop, len(wanted))
    for number, overlaps in evidence.overlaps.items():
        layer = evidence.layers[number]
        scores = measure.of(overlaps, confidence, settings)
        _put(found, slice(layer.start, layer.stop), list(range(len(wanted))), scores)
    return found


def _columns(
    claims: Sequence[Claim], columns: Floats, rows: npt.NDArray[np.int64], numbers: list[int]
) -> Columns:
    return Columns([claims[number] for number in numbers], columns[rows][:, numbers])


def _unknown(rows: int, columns: int) -> Scores:
    fields = {name: np.full((rows, columns), np.nan) for name in ("score", "low", "high", "p")}
    return Scores(**fields, inputs=np.zeros(columns, np.int64))


def _put(found: Scores, rows: slice, places: Sequence[int], scores: Scores) -> None:
    for name in ("score", "low", "high", "p"):
        getattr(found, name)[rows, places] = getattr(scores, name)
    found.inputs[places] = scores.inputs
