"""A gate: a limit that a result must keep, and how one is written.

On the command line and in Python a gate is ``metric=limit`` or ``metric/view=limit``, several of
them with commas between; in a file it is a key of the table ``gates``::

    [tool.cleanai-onnx.gates]
    nc = "30%"
    "kmnc/channel" = 0.45
    dead-channels = 0
    nc-suite = { layers = "conv*", min = 0.3, max-drop = 0.02 }
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

from cleanai_onnx.errors import UsageError, harmless
from cleanai_onnx.result import View
from cleanai_onnx.validation.readings import Kind, exact

__all__ = [
    "KEYS",
    "METRICS",
    "PROFILED",
    "Bound",
    "Gate",
    "gates_of",
    "gates_of_table",
    "gates_of_text",
]

Bound = Literal["min", "max", "max-drop", "max-relative-drop", "max-rise", "max-relative-rise"]

_COVERAGES = (
    "nc", "tc", "nbc", "sc", "sc-strict", "vc", "ss", "sv", "vs", "vv",
    "nc-suite", "nc-suite-scaled", "nc-suite-scaled-abs", "tknc-suite", "sc-suite", "vc-suite",
)  # fmt: skip
_PROFILED_COVERAGES = (
    "nbc-suite", "snac", "kmnc", "idc", "idc-classes", "idc-deepimportance-2020", "lsc", "dsc",
)  # fmt: skip
_SURPRISE = ("lsa", "dsa", "mdsa")
_OF_TWO_MODELS = ("difference", "relative-difference")
PROFILED = frozenset((*_PROFILED_COVERAGES, *_SURPRISE))
"""Metrics that need what training images taught."""

METRICS: Mapping[str, Kind | None] = {
    **dict.fromkeys((*_COVERAGES, *_PROFILED_COVERAGES, "agreement"), "ratio"),
    **dict.fromkeys(("tknc", *_SURPRISE, "parity", *_OF_TWO_MODELS), "value"),
    **dict.fromkeys(("dead-channels", "skipped-images"), None),
}
"""What a gate can look at, and the kind of its number; None: a count or a share, as the limit is
written."""

_AT_MOST = frozenset((*_SURPRISE, *_OF_TWO_MODELS, "parity", "dead-channels", "skipped-images"))
"""For these a limit without further words is the largest value allowed."""
_WITHOUT_LAYERS = frozenset(("agreement", *_OF_TWO_MODELS, "skipped-images", "parity"))
_WITHOUT_VIEW = _WITHOUT_LAYERS | {"dead-channels"}
_WITHOUT_BASELINE = frozenset(("agreement", *_OF_TWO_MODELS))
_BOUNDS: tuple[Bound, ...] = get_args(Bound)
KEYS = ("metric", "view", "layers", *_BOUNDS)
"""Of a gate in a file."""
_LONGEST = 200


@dataclass(frozen=True)
class Gate:
    """A limit that a result must keep.

    Attributes
    ----------
    metric
        One of `METRICS`.
    view
        The neuron view; None for units, or what the metric has.
    layers
        A pattern of layer names or labels, as of `fnmatch`. Each layer that matches must keep the
        limit; None for the model as a whole.
    bound
        ``min`` and ``max`` are of the value; the others of its change against a baseline, absolute
        or as a part of the baseline's value.
    limit
        Exactly as written: ``30%`` is 3/10.
    kind
        Of the value.
    text, origin
        As it was written, and where.
    """

    metric: str
    view: View | None
    layers: str | None
    bound: Bound
    limit: Fraction
    kind: Kind
    text: str
    origin: str

    @property
    def is_relative(self) -> bool:
        """Whether it compares with a baseline."""
        return self.bound not in ("min", "max")

    @property
    def at_least(self) -> bool:
        """Whether the value must be at least something, not at most."""
        return self.bound in ("min", "max-drop", "max-relative-drop")


def gates_of(given: str | Mapping[str, Any] | Sequence[Gate | str]) -> tuple[Gate, ...]:
    """Return the gates of whatever a caller in Python gives; see `cleanai_onnx.Result.judged`."""
    if isinstance(given, str):
        return gates_of_text(given, "gates", "Python")
    if isinstance(given, Mapping):
        return gates_of_table(given, "gates", "Python")
    found: list[Gate] = []
    for one in given:
        found += [one] if isinstance(one, Gate) else gates_of_text(one, "gates", "Python")
    return tuple(found)


def gates_of_text(items: str | Iterable[str], where: str, origin: str) -> tuple[Gate, ...]:
    """Return the gates that ``nc=30%,kmnc/channel=45%`` stands for.

    Parameters
    ----------
    items
        One text or several, each with one gate or several between commas.
    where
        What to call the place in an error, such as ``--fail-under``.
    origin
        What the outcomes say of it, such as ``command line``.

    Raises
    ------
    UsageError
        If a metric is unknown, or a limit cannot be one; the nearest known name is given.
    """
    texts = [items] if isinstance(items, str) else list(items)
    parts = [part.strip() for text in texts for part in text.split(",")]
    found = []
    for part in filter(None, parts):
        name, equals, limit = (piece.strip() for piece in part.rpartition("="))
        if not equals or not name or not limit:
            raise UsageError(f"{where} must be METRIC=LIMIT such as nc=30%, not {_shown(part)!r}.")
        found.append(_gate(name, None, None, None, limit, part, f"{where} {_shown(name)}", origin))
    if not found:
        raise UsageError(f"{where} is empty: give METRIC=LIMIT such as nc=30%.")
    return tuple(found)


def gates_of_table(table: Any, where: str, origin: str) -> tuple[Gate, ...]:
    """Return the gates of a table as a TOML file has it, or of a list of such tables.

    Parameters
    ----------
    table
        Name to limit, to a table of `metric`, `view`, `layers` and bounds, or to a list of either.
        The name is the metric, unless a table names its own.
    where, origin
        As for `gates_of_text`.

    Raises
    ------
    UsageError
        If a name or a key is unknown, or a value cannot be used.
    """
    if isinstance(table, Mapping):
        entries = [(str(name), entry) for name, entry in table.items()]
    elif isinstance(table, list | tuple):
        entries = [("", entry) for entry in table]
    else:
        raise UsageError(f"{where} must be a table of gates.")
    found: list[Gate] = []
    for name, entry in entries:
        for one in entry if isinstance(entry, list | tuple) else [entry]:
            found += _entry(name, one, where, origin)
    return tuple(found)


def _entry(name: str, entry: Any, where: str, origin: str) -> Iterator[Gate]:
    """Yield the gates of one entry: a limit, or a table with several bounds."""
    here = f"{where}: {_shown(name)}" if name else where
    if not isinstance(entry, Mapping):
        if not name:
            raise UsageError(f'{where} must be tables, such as {{ metric = "nc", min = 0.3 }}.')
        yield _gate(name, None, None, None, entry, f"{name} = {_toml(entry)}", here, origin)
        return
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key)[:40], KEYS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(KEYS)}."
            raise UsageError(f"{here}: {_shown(str(key))} is not a key of a gate; {hint}")
    metric, view, layers = (_text_of(entry, key, here) for key in ("metric", "view", "layers"))
    if not metric and not name:
        raise UsageError(f"{here}: a gate needs the key metric, which names one.")
    bounds = [bound for bound in _BOUNDS if bound in entry]
    if not bounds:
        raise UsageError(f"{here} sets no limit: give it one of {', '.join(_BOUNDS)}.")
    scope = [f"{key} = {_toml(entry[key])}" for key in ("metric", "view", "layers") if key in entry]
    for bound in bounds:
        written = ", ".join([*scope, f"{bound} = {_toml(entry[bound])}"])
        text = f"{name} = {{ {written} }}" if name else f"{{ {written} }}"
        yield _gate(metric or name, view, layers, bound, entry[bound], text, here, origin)


def _gate(
    name: str,
    view: str | None,
    layers: str | None,
    bound: Bound | None,
    limit: Any,
    text: str,
    where: str,
    origin: str,
) -> Gate:
    metric, slash, suffix = name.partition("/")
    if metric not in METRICS:
        raise UsageError(f"{where}: {_unknown(metric)}")
    if slash:
        if view not in (None, suffix):
            raise UsageError(f"{where} names two views, {_shown(suffix)} and {_shown(view)}.")
        view = suffix
    if view is not None and metric in _WITHOUT_VIEW:
        raise UsageError(f"{where}: {metric} has no neuron view: leave it out.")
    if view is not None and view not in get_args(View):
        raise UsageError(f"{where}: the view must be unit or channel, not {_shown(view)!r}.")
    if layers is not None and metric in _WITHOUT_LAYERS:
        raise UsageError(f"{where}: {metric} has no layers: leave them out.")
    bound = bound or ("max" if metric in _AT_MOST else "min")
    if metric in _WITHOUT_BASELINE and bound not in ("min", "max"):
        raise UsageError(f"{where}: {metric} compares two models itself: give it min or max.")
    number, kind = _limit(limit, metric, bound, where)
    found: View | None = None if view is None else ("unit" if view == "unit" else "channel")
    return Gate(metric, found, layers, bound, number, kind, text[:_LONGEST], origin)


def _limit(value: Any, metric: str, bound: Bound, where: str) -> tuple[Fraction, Kind]:
    """Return a limit exactly, and the kind of the number that it is for."""
    number, share = _number(value, where)
    relative = "relative" in bound
    kind = METRICS[metric]
    if kind is None:
        # The way in which it is written says what is limited: 3 channels, or 3 % of them.
        kind = "ratio" if share and not relative else "count"
    if relative or kind == "ratio":
        most = math.inf if relative else 1
        if not 0 <= number <= most:
            advice = "from 0 % to 100 %, written as 30% or 0.3" if not relative else "of 0 or more"
            raise UsageError(f"{where} must be a share {advice}, not {_shown(str(value))}.")
    elif share and "%" in str(value):
        raise UsageError(f"{where}: {metric} is no share, so its limit cannot be in per cent.")
    elif number < 0 and (kind == "count" or bound not in ("min", "max")):
        raise UsageError(f"{where} must not be negative, as {_shown(str(value))} is.")
    return number, kind


def _number(value: Any, where: str) -> tuple[Fraction, bool]:
    """Return a number exactly as it is written, and whether it is written as a share."""
    try:
        if isinstance(value, str):
            text = value.strip()
            number = exact(float(text.removesuffix("%")))
            share = not text.lstrip("+-").isdecimal()
            if text.endswith("%"):
                number /= 100
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        else:
            number, share = exact(value), isinstance(value, float)
        if isinstance(number, float):  # not finite
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{where} must be a number, or one in per cent such as 30%, not {_shown(str(value))!r}."
        ) from None
    return number, share


def _unknown(metric: str) -> str:
    if metric == "mnc":
        return "mnc has a number for each interval and none for a gate."
    near = difflib.get_close_matches(metric[:40], METRICS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(METRICS)}."
    return f"{_shown(metric)} is not a metric that a gate knows; {hint}"


def _text_of(entry: Mapping[str, Any], key: str, where: str) -> str | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= _LONGEST):
        raise UsageError(f"{where}: {key} must be text of 1 to {_LONGEST} characters.")
    return value


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _shown(text: str) -> str:
    return harmless(text[:60]) + "…" * (len(text) > 60)
