"""Gates judged: whether a result keeps its limits, and in words why not.

Everything is compared as exact fractions. What cannot be computed has not passed.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from cleanai_onnx.difference import OutputAgreement
from cleanai_onnx.report.names import printable
from cleanai_onnx.result import GateOutcome, Result, View
from cleanai_onnx.validation.gate import PROFILED, Gate
from cleanai_onnx.validation.matching import match_layers
from cleanai_onnx.validation.readings import (
    Measure,
    Number,
    Reading,
    exact,
    measures_of,
    of_firing,
)
from cleanai_onnx.validation.sentences import (
    Held,
    listed,
    margin,
    sentence,
    shown_name,
    subject,
    title,
)
from cleanai_onnx.validation.settings import differing_measure, differing_suites

__all__ = ["judge"]

_NEEDS_A_PAIR = frozenset({"sc", "sc-strict", "vc", "ss", "sv", "vs", "vv"})


class _UnknownError(Exception):
    """What a gate looks at cannot be computed; the text says why, as the end of a sentence."""


def judge(
    result: Result,
    gates: Iterable[Gate],
    baseline: Result | None = None,
    outputs: OutputAgreement | None = None,
) -> tuple[GateOutcome, ...]:
    """Return what becomes of each gate.

    Parameters
    ----------
    result
        What is judged.
    gates
        See `cleanai_onnx.validation.gates_of`.
    baseline
        An earlier result, perhaps of another model, for the gates that limit a change. Without one
        they do not pass.
    outputs
        How far the model's outputs are from those of the baseline's model, for the gates of that.
    """
    return tuple(_judged(result, gate, baseline, outputs) for gate in gates)


def _judged(
    result: Result, gate: Gate, baseline: Result | None, outputs: OutputAgreement | None
) -> GateOutcome:
    view = gate.view
    held: list[Held] = []
    try:
        measure = _measure(result, gate, outputs)
        view = measure.view
        readings = _readings(result, gate, measure)
        olds = _baselines(result, gate, measure, readings, baseline)
        for reading, old in zip(readings, olds, strict=True):
            held.append(_held(result, gate, reading, old))
        text = sentence(result, gate, measure, held)
        if gate.is_relative and baseline is not None:
            text += differing_suites(baseline, result, profiled=gate.metric in PROFILED)
    except _UnknownError as unknown:
        held = []
        text = f"{subject(gate, view)} could not be judged: {unknown}"
    worst = min(held, key=lambda one: margin(gate, one), default=None)
    limit: Number | None = None if gate.is_relative else gate.limit
    if worst is not None:
        limit = worst.limit
    return GateOutcome(
        gate=gate.text,
        metric=gate.metric,
        view=view,
        layers=gate.layers,
        kind=gate.kind,
        comparison="at least" if gate.at_least else "at most",
        limit=_float(limit),
        baseline=None if worst is None else _float(worst.baseline),
        value=None if worst is None else _float(worst.number),
        passed=bool(held) and all(one.passed for one in held),
        text=f"{text}.",
        origin=gate.origin,
    )


# What is looked at


def _measure(result: Result, gate: Gate, outputs: OutputAgreement | None = None) -> Measure:
    """Return the numbers that a gate looks at."""
    if gate.metric in ("agreement", "difference", "relative-difference"):
        return _of_model(gate, *_of_outputs(gate, outputs))
    if gate.metric == "dead-channels":
        return of_firing(result, "ratio" if gate.kind == "ratio" else "count")
    if gate.metric == "skipped-images":
        skipped = len(result.images.skipped)
        tried = skipped + result.images.used
        number: Number | None = Fraction(skipped)
        if gate.kind == "ratio":
            number = Fraction(skipped, tried) if tried else None
        return _of_model(gate, number, "there were no images")
    if gate.metric == "parity":
        record = result.model.conversion
        if record is None:
            remark = printable(result.model.conversion_remark, 200)
            raise _UnknownError(remark or "the model has no record of a conversion by cleanai-onnx")
        claimed = record.parity.maximum
        known = None if math.isnan(claimed) else exact(claimed)
        return _of_model(gate, known, "the claim is not a number")
    tables = [table for table in result.tables if table.metric == gate.metric]
    # Units where nothing else is said, as `Result.table` has it.
    wanted: Sequence[View] = (gate.view,) if gate.view else ("unit", "channel")
    for view in wanted:
        for table in tables:
            measures = measures_of(table)
            if table.view == view and measures:
                return measures[0]
    if tables:
        raise _UnknownError(f"it was measured of {tables[0].view}s only")
    raise _UnknownError(_why_not_measured(result, gate))


def _of_model(gate: Gate, number: Number | None, why: str) -> Measure:
    reading = Reading((), "", number, why)
    return Measure(gate.metric, None, gate.kind, reading, (), {})


def _of_outputs(gate: Gate, outputs: OutputAgreement | None) -> tuple[Number | None, str]:
    if outputs is None:
        return None, "there are not two models whose outputs were compared (cleanai-onnx compare)"
    if gate.metric == "agreement":
        if outputs.agreeing is None or not outputs.images:
            return None, "the outputs have no classes"
        return Fraction(outputs.agreeing, outputs.images), ""
    if outputs.not_finite:
        return None, f"the outputs of {outputs.not_finite:,} images are not finite"
    found = outputs.maximum if gate.metric == "difference" else outputs.relative
    return (None, "there is none") if found is None else (exact(found), "")


def _why_not_measured(result: Result, gate: Gate) -> str:
    if gate.metric in PROFILED and result.profile is None:
        return "it needs what training images taught (--profile or --train)"
    if gate.metric in _NEEDS_A_PAIR:
        return "it compares two images, and there were not two that could be used"
    return "this result does not have it"


def _readings(result: Result, gate: Gate, measure: Measure) -> tuple[Reading, ...]:
    if gate.layers is None:
        if measure.total is None:
            raise _UnknownError("it was measured in no layer")
        return (measure.total,)
    labels = {layer.name: layer.label for layer in result.layers}
    found = tuple(
        row
        for row in measure.rows
        if any(
            fnmatch.fnmatchcase(name, gate.layers)
            for layer in row.layers
            for name in (layer, labels.get(layer, ""))
            if name
        )
    )
    if not found:
        titles = [title(row, result) for row in measure.rows]
        raise _UnknownError(
            f"no layer that it is measured in matches {shown_name(gate.layers)!r}; there "
            f"{'is' if len(titles) == 1 else 'are'} {listed(titles) or 'none'}"
        )
    return found


def _baselines(
    result: Result,
    gate: Gate,
    measure: Measure,
    readings: Sequence[Reading],
    baseline: Result | None,
) -> tuple[Reading | None, ...]:
    """Return the number of the baseline for each reading; None where the gate needs none."""
    if not gate.is_relative:
        return (None,) * len(readings)
    if baseline is None:
        raise _UnknownError("it compares with a baseline, and none was given (--baseline)")
    try:
        old = _measure(baseline, gate)
    except _UnknownError as unknown:
        raise _UnknownError(f"of the baseline, {unknown}") from None
    differs = differing_measure(baseline, old, result, measure)
    if differs:
        raise _UnknownError(f"the baseline was measured otherwise: {differs}")
    if gate.layers is None:
        if old.total is None:
            raise _UnknownError("of the baseline, it was measured in no layer")
        return (old.total,)
    old_of = match_layers(baseline.layers, result.layers).old_of
    rows = {(row.layers, row.qualifier): row for row in old.rows}
    found = []
    for reading in readings:
        row = rows.get((tuple(old_of.get(name, "") for name in reading.layers), reading.qualifier))
        if row is None:
            raise _UnknownError(
                f"the baseline has no layer that corresponds to {title(reading, result)}"
            )
        found.append(row)
    return tuple(found)


# How it is judged


def _held(result: Result, gate: Gate, reading: Reading, old: Reading | None) -> Held:
    """Hold a number against its limit."""
    number = _known(result, reading, "")
    before = None if old is None else _known(result, old, "of the baseline, ")
    limit = _limit(gate, before)
    passed = number >= limit if gate.at_least else number <= limit
    return Held(reading, number, limit, before, bool(passed))


def _known(result: Result, reading: Reading, whose: str) -> Number:
    if reading.number is None:
        place = f" in {title(reading, result)}" if reading.layers else ""
        raise _UnknownError(f"{whose}{reading.why}{place}")
    return reading.number


def _limit(gate: Gate, baseline: Number | None) -> Number:
    """Return what the value is compared with."""
    if baseline is None:
        return gate.limit
    if not isinstance(baseline, Fraction):
        return baseline  # infinite, and so is whatever is added to it
    change = gate.limit * abs(baseline) if "relative" in gate.bound else gate.limit
    return baseline - change if gate.at_least else baseline + change


def _float(number: Number | None) -> float | None:
    return None if number is None else float(number)
