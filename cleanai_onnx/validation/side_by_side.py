"""Two results side by side: every number, the layers that correspond, what fell silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cleanai_onnx.difference import (
    ChannelChange,
    Difference,
    LayerChange,
    MetricChange,
    Side,
)
from cleanai_onnx.result import Result
from cleanai_onnx.validation.matching import Matching, match_layers
from cleanai_onnx.validation.readings import Measure, Number, Reading, measures_of
from cleanai_onnx.validation.settings import differing_measure, differing_settings

__all__ = ["diff"]


def diff(old: Result | str | Path, new: Result | str | Path) -> Difference:
    """Put two results side by side.

    Parameters
    ----------
    old, new : Result or path
        Of one model or of two. A path names the JSON of an analysis.

    Returns
    -------
    Difference
        A number that was measured otherwise in one of them is there, without a change.

    Raises
    ------
    UsageError
        If a file cannot be read, or is no result.

    Examples
    --------
    >>> cleanai_onnx.diff("v1/Analysis_net.json", "v2/Analysis_net.json").to_frame()
    """
    from cleanai_onnx.report import read

    old = read(old) if isinstance(old, str | Path) else old
    new = read(new) if isinstance(new, str | Path) else new
    matching = match_layers(old.layers, new.layers)
    metrics, layers = _numbers(old, new, matching)
    silenced, awakened = _channels(old, new, matching)
    return Difference(
        old=_side(old),
        new=_side(new),
        settings=differing_settings(old, new),
        metrics=metrics,
        layers=layers,
        pairs=matching.pairs,
        only_old=matching.only_old,
        only_new=matching.only_new,
        silenced=silenced,
        awakened=awakened,
    )


def _side(result: Result) -> Side:
    return Side(
        model=result.model.name,
        file=result.model.file,
        sha256=result.model.sha256,
        images=result.images.used,
        source=result.images.source,
        run=result.run.id,
        started=result.run.started,
        tool_version=result.run.tool_version,
    )


def _numbers(
    old: Result, new: Result, matching: Matching
) -> tuple[tuple[MetricChange, ...], tuple[LayerChange, ...]]:
    there, here = _measures(old), _measures(new)
    metrics: list[MetricChange] = []
    layers: list[LayerChange] = []
    for key in (*here, *(key for key in there if key not in here)):
        before, after = there.get(key), here.get(key)
        some = after or before
        assert some is not None
        differs = differing_measure(old, before, new, after) if before and after else ""
        if any(one is None or one.total is not None for one in (before, after)):
            metrics.append(_metric_change(some, before, after, differs))
        if before is not None and after is not None and not differs:
            layers += _layer_changes(before, after, matching)
    return tuple(metrics), tuple(layers)


def _measures(result: Result) -> dict[tuple[str, str], Measure]:
    return {
        (measure.metric, table.view): measure
        for table in result.tables
        for measure in measures_of(table)
    }


def _metric_change(
    some: Measure, old: Measure | None, new: Measure | None, differs: str
) -> MetricChange:
    before, after = (
        None if one is None or one.total is None else one.total.number for one in (old, new)
    )
    return MetricChange(
        metric=some.metric,
        view=some.view or "unit",
        kind="ratio" if some.kind == "ratio" else "value",
        old=_float(before),
        new=_float(after),
        change=None if differs else _change(before, after),
        differs=differs,
    )


def _layer_changes(old: Measure, new: Measure, matching: Matching) -> Iterator[LayerChange]:
    """Yield the rows of layers that correspond."""
    rows = {(row.layers, row.qualifier): row for row in old.rows}
    old_of: Mapping[str, str] = matching.old_of
    for row in new.rows:
        counterparts = tuple(old_of.get(name, "") for name in row.layers)
        before = rows.get((counterparts, row.qualifier))
        if before is None:
            continue
        yield LayerChange(
            metric=new.metric,
            view=new.view or "unit",
            kind="ratio" if new.kind == "ratio" else "value",
            layer=_title(row),
            old_layer=_title(before),
            old=_float(before.number),
            new=_float(row.number),
            change=_change(before.number, row.number),
        )


def _channels(
    old: Result, new: Result, matching: Matching
) -> tuple[tuple[ChannelChange, ...], tuple[ChannelChange, ...]]:
    """Return the channels that fell silent, and those that fire now."""
    fired = [
        {layer.name: counts for layer, counts in zip(result.layers, result.firing, strict=True)}
        for result in (old, new)
    ]
    silenced, awakened = [], []
    for pair in matching.pairs:
        before, after = fired[0][pair.old], fired[1][pair.new]
        if len(before) != len(after):
            continue
        changes = list(enumerate(zip(before, after, strict=True)))
        gone = tuple(channel for channel, (was, is_) in changes if was and not is_)
        come = tuple(channel for channel, (was, is_) in changes if is_ and not was)
        if gone:
            silenced.append(ChannelChange(pair.new, pair.old, gone))
        if come:
            awakened.append(ChannelChange(pair.new, pair.old, come))
    return tuple(silenced), tuple(awakened)


def _title(row: Reading) -> str:
    return row.title({})


def _change(old: Number | None, new: Number | None) -> float | None:
    """Return the change, which is exact before it becomes a float."""
    if old is None or new is None:
        return None
    return float(new - old) if old != new else 0.0


def _float(number: Number | None) -> float | None:
    return None if number is None else float(number)
