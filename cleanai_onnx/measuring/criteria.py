"""The coverages whose items a subset has to keep: which there are, and how many items each has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cleanai_onnx import coverage
from cleanai_onnx.coverage import ADDS, PROFILED, UNIONS, Learnt
from cleanai_onnx.errors import UsageError
from cleanai_onnx.result import View

__all__ = ["Criterion", "find_criteria"]


@dataclass(frozen=True)
class Criterion:
    """A coverage whose items the subset has to keep.

    Attributes
    ----------
    metric, view
        As in the tables.
    parts
        How many items there are, in one part or several.
    family
        The number of its family in `PROFILED`; None for a metric that needs no profile.
    """

    metric: str
    view: View
    parts: tuple[int, ...]
    family: int | None = None

    @property
    def name(self) -> str:
        """Its name in tables: metric and view."""
        return f"{self.metric}/{self.view}"

    @property
    def score(self) -> str | None:
        """The name of the score of an image that counts which of these items it adds, if any.

        That of ``idc`` counts the combinations of the first m neurons, which are some of them.
        """
        if self.family is None:
            return ADDS + self.name
        return None if self.metric == "idc" else ADDS + self.metric


def find_criteria(
    wanted: Sequence[str], state: coverage.State, against: Sequence[Any], learnt: Learnt | None
) -> tuple[Criterion, ...]:
    """Return the criteria that the names in `wanted` mean; without a name all, of channels.

    Parameters
    ----------
    wanted
        Metrics, or metric/view. The view is that of channels by default, as in the papers; a
        metric that needs a profile has the one that the profile was learnt in.
    state
        Of the run, for its layers.
    against, learnt
        The states of `PROFILED`, and what they are measured against; empty and None without a
        profile.

    Raises
    ------
    UsageError
        If there is no such criterion, or its items are too many.
    """
    known: dict[str, Criterion] = {}
    for view in ("channel", "unit"):
        size = sum(layer.size(view) for layer in state.layers)
        known |= {f"{metric}/{view}": Criterion(metric, view, (size,)) for metric in UNIONS}
    profiled = {metric.id for family in PROFILED for metric in family.metrics}
    for number, (family, of_family) in enumerate(zip(PROFILED, against, strict=False)):
        assert learnt is not None
        for metric, parts in family.items(of_family).items():
            view = "channel" if metric == "idc" else learnt.view
            if any(parts):
                known[f"{metric}/{view}"] = Criterion(metric, view, parts, number)
    if not wanted:
        found = [one for one in known.values() if one.view == "channel" or one.family is not None]
    else:
        found = [_named(name, known, profiled, learnt) for name in wanted]
    return tuple(dict.fromkeys(found))


def _named(
    name: str, known: dict[str, Criterion], profiled: set[str], learnt: Learnt | None
) -> Criterion:
    for spelt in (name, f"{name}/channel", f"{name}/unit"):
        if spelt in known:
            return known[spelt]
    metric = name.partition("/")[0]
    if metric in profiled and learnt is None:
        raise UsageError(f"--subset-metrics {metric} needs --profile or --train.")
    if metric == "idc" and learnt is not None and not learnt.relevance:
        raise UsageError(f"--subset-metrics idc: not computed, {learnt.without_relevance}.")
    metrics = ", ".join(sorted({one.metric for one in known.values()}))
    raise UsageError(
        f"--subset-metrics {name[:100]}: no such criterion; choose from {metrics}, each of "
        "channels, or of units with /unit where the metric has them."
    )
