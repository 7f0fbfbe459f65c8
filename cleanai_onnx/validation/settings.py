"""What two results do not share besides their numbers: settings, models, images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cleanai_onnx.difference import SettingChange
from cleanai_onnx.report import figures
from cleanai_onnx.report.names import named, printable
from cleanai_onnx.result import Result
from cleanai_onnx.validation.readings import Measure

__all__ = ["differing_measure", "differing_settings", "differing_suites"]

_OF_ADJACENT_LAYERS = frozenset({"ss", "sv", "vs", "vv"})
_RUN_ONLY = frozenset({"batch size", "threads", "relevance", "strict", "subset", "per image"})
"""Options that change no number of a metric."""
_SHORT = 60
_MOST = 4
"""So many differences are named in a sentence."""


def differing_measure(old_result: Result, old: Measure, new_result: Result, new: Measure) -> str:
    """Return why a number of two results cannot be compared; empty if it can.

    Besides the parameters of the metric these are the neuron view, what was tapped, and which
    layers are next to each other where the metric asks.
    """
    if old.view != new.view:
        return f"of {old.view}s there and of {new.view}s here"
    names = ["taps"] + (["adjacency"] if new.metric in _OF_ADJACENT_LAYERS else [])
    there, here = (
        {name: result.run.options.get(name) for name in names}
        for result in (old_result, new_result)
    )
    return _said((*_changes(old.parameters, new.parameters), *_changes(there, here)))


def differing_suites(old: Result, new: Result, *, profiled: bool) -> str:
    """Say as the end of a sentence what is not the same though the numbers can be compared.

    `profiled` says that they are measured against training images.
    """
    parts = []
    if old.model.sha256 != new.model.sha256:
        parts.append(f"of another model ({printable(named(old.model.name), _SHORT)})")
    if old.images.used != new.images.used:
        parts.append(f"over {old.images.used:,} images instead of {new.images.used:,}")
    fields = [_words(change.name) for change in _preprocessing(old, new)][:_MOST]
    if fields:
        parts.append(f"with other preprocessing ({', '.join(fields)})")
    if profiled:
        parts += [
            f"against other training images ({_words(one.old)})" for one in _profiles(old, new)
        ]
    return f" (the baseline is {', '.join(parts)})" if parts else ""


def differing_settings(old: Result, new: Result) -> tuple[SettingChange, ...]:
    """Return every setting that two results do not share and that may change their numbers."""
    # What only one of them has did not apply to the other, or was not known to its program.
    both = (old.run.options.keys() & new.run.options.keys()) - _RUN_ONLY
    options = (
        {name: value for name, value in result.run.options.items() if name in both}
        for result in (old, new)
    )
    return (
        *_preprocessing(old, new),
        *(
            SettingChange(name, _words(theirs), _words(ours))
            for name, theirs, ours in _changes(*options)
        ),
        *_profiles(old, new),
    )


def _preprocessing(old: Result, new: Result) -> Iterator[SettingChange]:
    there, here = (
        {field.name: field.value for field in result.preprocessing} for result in (old, new)
    )
    for name, theirs, ours in _changes(there, here):
        yield SettingChange(name, _words(theirs), _words(ours))


def _profiles(old: Result, new: Result) -> Iterator[SettingChange]:
    there, here = (
        None
        if result.profile is None
        else f"{result.profile.images:,} images of " + ", ".join(result.profile.sources)
        for result in (old, new)
    )
    if there != here:
        yield SettingChange("training images", _words(there), _words(here))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the names whose values are not the same, and both values; None where one has none."""
    for name in {**old, **new}:
        theirs, ours = old.get(name), new.get(name)
        if _plain(theirs) != _plain(ours):
            yield name, theirs, ours


def _said(changes: Iterable[tuple[str, Any, Any]]) -> str:
    """Return the first of several changes in words."""
    return "; ".join(
        f"{_words(name)} is {_words(theirs)} there and {_words(ours)} here"
        for name, theirs, ours in list(changes)[:_MOST]
    )


def _plain(value: Any) -> Any:
    """Return a value in which lists and tuples are the same: JSON knows only one of them."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _words(value: Any) -> str:
    return printable(figures.parameter(value), _SHORT)
