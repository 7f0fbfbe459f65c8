"""Gates judged: whether a result keeps its limits, and in words why not.

Everything is compared as exact fractions. What cannot be computed has not passed.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import GateOutcome, Result, View
from cleanai_onnx.validation.gate import PROFILED, Gate
from cleanai_onnx.validation.matching import match_layers
from cleanai_onnx.validation.readings import (
    Kind,
    Measure,
    Number,
    Reading,
    exact,
    measures_of,
    of_firing,
)
from cleanai_onnx.validation.settings import differing_measure, differing_suites

__all__ = ["judge"]

_NAMED = 3
"""So many layers are named in a sentence."""
_NEEDS_A_PAIR = frozenset({"sc", "sc-strict", "vc", "ss", "sv", "vs", "vv"})
_SUBJECTS = {
    ("dead-channels", "count"): "the number of channels that never fired",
    ("dead-channels", "ratio"): "the share of channels that never fired",
    ("skipped-images", "count"): "the number of images that were skipped",
    ("skipped-images", "ratio"): "the share of images that were skipped",
    ("parity", "value"): "the largest difference that the model's record of its conversion claims",
}
_SURPRISE = frozenset({"lsa", "dsa", "mdsa"})


class _UnknownError(Exception):
    """What a gate looks at cannot be computed; the text says why, as the end of a sentence."""


class _Held(NamedTuple):
    """A number held against its limit; `baseline` is None where the gate compares with none."""

    reading: Reading
    number: Number
    limit: Number
    baseline: Number | None
    passed: bool


def judge(
    result: Result, gates: Iterable[Gate], baseline: Result | None = None
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
    """
    return tuple(_judged(result, gate, baseline) for gate in gates)


def _judged(result: Result, gate: Gate, baseline: Result | None) -> GateOutcome:
    view = gate.view
    held: list[_Held] = []
    try:
        measure = _measure(result, gate)
        view = measure.view
        readings = _readings(result, gate, measure)
        olds = _baselines(result, gate, measure, readings, baseline)
        for reading, old in zip(readings, olds, strict=True):
            held.append(_held(result, gate, reading, old))
        text = _sentence(result, gate, measure, held)
        if gate.is_relative and baseline is not None:
            text += differing_suites(baseline, result)
    except _UnknownError as unknown:
        held = []
        text = f"{_subject(gate, view)} could not be judged: {unknown}"
    worst = min(held, key=lambda one: _margin(gate, one), default=None)
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


def _measure(result: Result, gate: Gate) -> Measure:
    """Return the numbers that a gate looks at."""
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
            remark = result.model.conversion_remark
            raise _UnknownError(remark or "the model has no record of a conversion by cleanai-onnx")
        claimed = record.parity.maximum
        known = None if math.isnan(claimed) else exact(claimed)
        return _of_model(gate, known, "the claim is not a number")
    tables = [table for table in result.tables if table.metric == gate.metric]
    # Units where nothing else is said, as `Result.table` has it.
    wanted: Sequence[View] = (gate.view,) if gate.view else ("unit", "channel")
    for view in wanted:
        for table in tables:
            if table.view == view:
                (measure,) = measures_of(table)
                return measure
    if tables:
        raise _UnknownError(f"it was measured of {tables[0].view}s only")
    raise _UnknownError(_why_not_measured(result, gate))


def _of_model(gate: Gate, number: Number | None, why: str) -> Measure:
    reading = Reading((), "", number, why)
    return Measure(gate.metric, None, gate.kind, reading, (), {})


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
        titles = [_title(row, result) for row in measure.rows]
        raise _UnknownError(
            f"no layer that it is measured in matches {_name(gate.layers)!r}; there "
            f"{'is' if len(titles) == 1 else 'are'} {_listed(titles) or 'none'}"
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
                f"the baseline has no layer that corresponds to {_title(reading, result)}"
            )
        found.append(row)
    return tuple(found)


# How it is judged


def _held(result: Result, gate: Gate, reading: Reading, old: Reading | None) -> _Held:
    """Hold a number against its limit."""
    number = _known(result, reading, "")
    before = None if old is None else _known(result, old, "of the baseline, ")
    limit = _limit(gate, before)
    passed = number >= limit if gate.at_least else number <= limit
    return _Held(reading, number, limit, before, bool(passed))


def _known(result: Result, reading: Reading, whose: str) -> Number:
    if reading.number is None:
        place = f" in {_title(reading, result)}" if reading.layers else ""
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


def _margin(gate: Gate, held: _Held) -> tuple[bool, Number]:
    """Order by how well a limit is kept: first what falls short most."""
    if held.number == held.limit:
        return held.passed, Fraction(0)
    margin = held.number - held.limit
    return held.passed, margin if gate.at_least else -margin


# How it is said


def _sentence(result: Result, gate: Gate, measure: Measure, held: Sequence[_Held]) -> str:
    """Return what came of the gate, without a stop at the end."""
    subject, kind = _subject(gate, measure.view), gate.kind
    worst = min(held, key=lambda one: _margin(gate, one))
    short = [one for one in held if not one.passed]
    asked = _asked(gate, worst)
    if gate.layers is None:
        value = _shown(worst.number, kind, beside=worst.limit)
        text = f"{subject} is {value}, {asked}"
        weakest = _weakest(result, gate, measure) if short else ""
        return f"{text}; {weakest}" if weakest else text
    where = f"the {len(held):,} layers" if len(held) > 1 else "the layer"
    where += f" that match{'es' if len(held) == 1 else ''} {_name(gate.layers)}"
    if not short:
        extreme = "lowest" if gate.at_least else "highest"
        value = _shown(worst.number, kind, beside=worst.limit)
        return f"{subject}, {extreme} in {_title(worst.reading, result)}, is {value}, {asked} in {where}"
    short.sort(key=lambda one: _margin(gate, one))
    pieces = []
    for one in short:
        piece = f"{_title(one.reading, result)} ({_shown(one.number, kind, beside=one.limit)}"
        if gate.is_relative:
            piece += f" after {_shown(one.baseline, kind)}"
        pieces.append(piece + ")")
    fails = "falls short" if gate.at_least else "is too high"
    return f"{subject} {fails} in {len(short):,} of {where}, {asked}: {_listed(pieces)}"


def _subject(gate: Gate, view: View | None) -> str:
    known = _SUBJECTS.get((gate.metric, gate.kind))
    if known is not None:
        return known
    of = " of the most surprising image" if gate.metric in _SURPRISE else ""
    return f"{gate.metric}{of}" + (f" ({view}s)" if view else "")


def _asked(gate: Gate, worst: _Held) -> str:
    """Say what the limit is, and what it comes from."""
    word = "at least" if gate.at_least else "at most"
    kind = gate.kind
    if not gate.is_relative:
        return f"{word} {_shown(gate.limit, kind, tidy=True)} is asked for"
    relative = "relative" in gate.bound
    change = _shown(gate.limit, "ratio" if relative else kind, tidy=True)
    if kind == "ratio" and not relative:
        change = f"{change.removesuffix(' %')} percentage points"
    if gate.layers is not None:
        of = " of the baseline" if relative else ""
        return f"a {'drop' if gate.at_least else 'rise'} of at most {change}{of} is allowed"
    limit = _shown(worst.limit, kind, beside=worst.number)
    return (
        f"{word} {limit} is asked for: the baseline's {_shown(worst.baseline, kind)} "
        f"{'less' if gate.at_least else 'plus'} {change}{' of it' if relative else ''}"
    )


def _weakest(result: Result, gate: Gate, measure: Measure) -> str:
    """Name the layers that a number of the whole model suffers from."""
    known = [row for row in measure.rows if row.number is not None]
    if len(known) < 2:
        return ""
    known.sort(key=lambda row: row.number or 0, reverse=not gate.at_least)
    if not gate.at_least:
        known = [row for row in known if row.number]
    pieces = [f"{_title(row, result)} ({_shown(row.number, gate.kind)})" for row in known[:_NAMED]]
    return f"{'lowest' if gate.at_least else 'highest'} in {', '.join(pieces)}" if pieces else ""


def _shown(
    number: Number | None, kind: Kind, *, beside: Number | None = None, tidy: bool = False
) -> str:
    """Return a number in words, with digits enough to tell it from the one that it stands beside.

    `tidy` leaves out zeros at the end: a limit is shown as it was written.
    """
    if number is None or not isinstance(number, Fraction):
        return figures.value(number)
    if kind == "count":
        return figures.count(int(number)) if number.denominator == 1 else f"{float(number):,g}"
    if kind == "value":
        text = figures.value(float(number))
        differs = beside is not None and beside != number
        if differs and text == figures.value(float(beside or 0)):
            return f"{float(number):.12g}"
        return text
    if tidy:
        return f"{float(100 * number):.10g} %"
    text = figures.percent(float(number))
    if isinstance(beside, Fraction) and beside != number:
        digits = 2
        while digits < 15 and _percent(number, digits) == _percent(beside, digits):
            digits += 1
        if digits > 2:
            return _percent(number, digits)
    return text


def _percent(number: Fraction, digits: int) -> str:
    return f"{float(100 * number):,.{digits}f} %"


def _listed(pieces: Sequence[str]) -> str:
    shown = ", ".join(pieces[:_NAMED])
    more = len(pieces) - _NAMED
    return shown + (f" and {more:,} more" if more > 0 else "")


def _title(reading: Reading, result: Result) -> str:
    return _name(reading.title({layer.name: layer.label for layer in result.layers}))


def _name(text: str) -> str:
    return printable(named(text), 60)


def _float(number: Number | None) -> float | None:
    return None if number is None else float(number)
