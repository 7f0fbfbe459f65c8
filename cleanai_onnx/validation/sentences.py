"""What came of a gate, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import Result, View
from cleanai_onnx.validation.gate import Gate
from cleanai_onnx.validation.readings import Kind, Measure, Number, Reading

__all__ = ["Held", "listed", "margin", "sentence", "shown_name", "subject", "title"]

_NAMED = 3
"""So many layers are named in a sentence."""
_SUBJECTS = {
    ("dead-channels", "count"): "the number of channels that never fired",
    ("dead-channels", "ratio"): "the share of channels that never fired",
    ("skipped-images", "count"): "the number of images that were skipped",
    ("skipped-images", "ratio"): "the share of images that were skipped",
    ("agreement", "ratio"): "the share of images on which both models have the same arg max",
    ("difference", "value"): "the largest difference of the two models' outputs",
    ("relative-difference", "value"): "the largest relative difference of the two models' outputs",
    ("parity", "value"): "the largest difference that the model's record of its conversion claims",
}
_SURPRISE = frozenset({"lsa", "dsa", "mdsa"})


class Held(NamedTuple):
    """A number held against its limit; `baseline` is None where the gate compares with none."""

    reading: Reading
    number: Number
    limit: Number
    baseline: Number | None
    passed: bool


def margin(gate: Gate, held: Held) -> tuple[bool, Number]:
    """Order by how well a limit is kept: first what falls short most."""
    if held.number == held.limit:
        return held.passed, Fraction(0)
    above = held.number - held.limit
    return held.passed, above if gate.at_least else -above


def sentence(result: Result, gate: Gate, measure: Measure, held: Sequence[Held]) -> str:
    """Return what came of the gate, without a stop at the end."""
    what, kind = subject(gate, measure.view), gate.kind
    worst = min(held, key=lambda one: margin(gate, one))
    short = [one for one in held if not one.passed]
    asked = _asked(gate, worst)
    if gate.layers is None:
        value = _shown(worst.number, kind, beside=worst.limit)
        text = f"{what} is {value}, {asked}"
        weakest = _weakest(result, gate, measure) if short else ""
        return f"{text}; {weakest}" if weakest else text
    where = f"the {len(held):,} layers" if len(held) > 1 else "the layer"
    where += f" that match{'es' if len(held) == 1 else ''} {shown_name(gate.layers)}"
    if not short:
        extreme = "lowest" if gate.at_least else "highest"
        value = _shown(worst.number, kind, beside=worst.limit)
        place = title(worst.reading, result)
        return f"{what}, {extreme} in {place}, is {value}, {asked} in {where}"
    short.sort(key=lambda one: margin(gate, one))
    pieces = []
    for one in short:
        piece = f"{title(one.reading, result)} ({_shown(one.number, kind, beside=one.limit)}"
        if gate.is_relative:
            piece += f" after {_shown(one.baseline, kind)}"
        pieces.append(piece + ")")
    fails = "falls short" if gate.at_least else "is too high"
    return f"{what} {fails} in {len(short):,} of {where}, {asked}: {listed(pieces)}"


def subject(gate: Gate, view: View | None) -> str:
    """Return what a gate looks at."""
    known = _SUBJECTS.get((gate.metric, gate.kind))
    if known is not None:
        return known
    of = " of the most surprising image" if gate.metric in _SURPRISE else ""
    return f"{gate.metric}{of}" + (f" ({view}s)" if view else "")


def _asked(gate: Gate, worst: Held) -> str:
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
    pieces = [f"{title(row, result)} ({_shown(row.number, gate.kind)})" for row in known[:_NAMED]]
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
    if tidy:
        return f"{float(100 * number):.12g} %" if kind == "ratio" else f"{float(number):,.12g}"
    if kind == "value":
        text = figures.value(float(number))
        differs = beside is not None and beside != number
        if differs and text == figures.value(float(beside or 0)):
            return f"{float(number):.12g}"
        return text
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


def listed(pieces: Sequence[str]) -> str:
    """Return the first of several pieces, and how many more there are."""
    shown = ", ".join(pieces[:_NAMED])
    more = len(pieces) - _NAMED
    return shown + (f" and {more:,} more" if more > 0 else "")


def title(reading: Reading, result: Result) -> str:
    """Return what to call a reading: the labels of its layers, where the exporter left them."""
    return shown_name(reading.title({layer.name: layer.label for layer in result.layers}))


def shown_name(text: str) -> str:
    """Return a name from outside as it may stand in a sentence."""
    return printable(named(text), 60)
