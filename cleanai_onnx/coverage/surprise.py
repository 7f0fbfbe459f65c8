"""Surprise adequacy: how far an input's activation trace is from those of the training images.

Kim, Feldt, Yoo: Guiding Deep Learning System Testing Using Surprise Adequacy (ICSE 2019). A trace
is what the channels of one layer did; the training traces are those of the images that the model
puts in the same class. Measured for each input are `lsa`, `dsa` and `mdsa`; the suite covers, of
equal buckets from 0 to an upper bound, those that the surprise of one of its inputs lies in
(section 3.4, equation 6): `lsc` and `dsc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import list_in
from cleanai_onnx.coverage.metric import Card, Definition, TableBody, ratio
from cleanai_onnx.coverage.profiled import (
    Items,
    Learnt,
    Observed,
    ProfiledMetric,
    ProfileParameters,
)
from cleanai_onnx.coverage.surprise_figures import (
    Buckets,
    Summary,
    bucket_of,
    restored_buckets,
    restored_summary,
    stored_buckets,
    stored_summary,
)
from cleanai_onnx.coverage.surprise_subject import Subject, subject_of
from cleanai_onnx.result import Cell, Column, Table
from cleanai_onnx.surprise import RIDGE

__all__ = ["SURPRISE", "SurpriseState"]

_KIM = "Kim et al., Guiding Deep Learning System Testing Using Surprise Adequacy (ICSE 2019)"
_BUCKETS = (
    "Of equal buckets (U (i - 1)/n, U i/n] of surprise from 0 to the upper bound U, those that the "
    "{} of at least one image lies in, over n. Images at or below 0 and above U are counted apart."
)
_LSC = Definition(
    "lsc",
    "Likelihood-based surprise coverage",
    _BUCKETS.format("lsa"),
    Card("suite", True, True, True, f"{_KIM}, section 3.4", needs_profile=True),
)
_DSC = Definition(
    "dsc",
    "Distance-based surprise coverage",
    _BUCKETS.format("dsa"),
    Card("suite", True, True, True, f"{_KIM}, section 3.4", needs_profile=True),
)
_LSA = Definition(
    "lsa",
    "Likelihood-based surprise adequacy",
    "Per image: -log of the density of its trace among those of the training images of the same "
    "predicted class, a Gaussian kernel density estimate with Scott's bandwidth over the channels "
    "whose variance is at least 1e-5 in every class.",
    Card("input", False, True, True, f"{_KIM}, section 3.2", needs_profile=True),
)
_DSA = Definition(
    "dsa",
    "Distance-based surprise adequacy",
    "Per image: the distance of its trace from the nearest training trace of the same predicted "
    "class, over the distance from that one to the nearest training trace of another class.",
    Card("input", False, True, True, f"{_KIM}, section 3.3", needs_profile=True),
)
_MDSA = Definition(
    "mdsa",
    "Mahalanobis-distance surprise adequacy",
    "Per image: the Mahalanobis distance of its trace from the mean of the training traces of the "
    "same predicted class, over the channels whose variance is at least 1e-5 in every class.",
    Card(
        "input",
        False,
        True,
        True,
        "Kim et al., Reducing DNN Labelling Cost Using Surprise Adequacy (FSE 2020), section 2.3",
        needs_profile=True,
    ),
)
_EACH = (_LSA, _DSA, _MDSA)
_NAMED = 5
"""Classes that a note names."""
_ADDED = ("adds lsc", "adds dsc")


@dataclass(frozen=True, eq=False)
class SurpriseState:
    """What was seen: for each layer the summaries of lsa, dsa and mdsa, and two rows of buckets."""

    learnt: Learnt
    parameters: ProfileParameters
    subjects: tuple[Subject, ...]
    summaries: tuple[tuple[Summary, ...], ...]
    buckets: tuple[tuple[Buckets, Buckets], ...]


def names(learnt: Learnt) -> tuple[str, ...]:
    """Return the names of the scores; with several layers they say of which layer."""
    several = len(learnt.traces) > 1
    return (
        *(
            f"{metric.id} {layer.name}" if several else metric.id
            for layer in learnt.traces
            for metric in _EACH
        ),
        *_ADDED,
    )


def init(learnt: Learnt, parameters: ProfileParameters) -> SurpriseState:
    """Return the state before the first input."""
    none = Buckets(np.zeros(parameters.surprise_buckets, np.bool_))
    return SurpriseState(
        learnt,
        parameters,
        tuple(subject_of(layer) for layer in learnt.traces),
        tuple((Summary(),) * len(_EACH) for _ in learnt.traces),
        tuple((none, none) for _ in learnt.traces),
    )


def _buckets_of(
    state: SurpriseState, surprise: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the buckets of lsc and of dsc of each input, given ``(B, 3)``."""
    count = state.parameters.surprise_buckets
    lsc, dsc = (
        bucket_of(surprise[:, place], bound, count)
        for place, bound in enumerate(state.parameters.surprise_bounds)
    )
    return lsc, dsc


def update(
    state: SurpriseState, observed: Observed
) -> tuple[SurpriseState, npt.NDArray[np.float64]]:
    """Measure a batch; the scores are those of `names`."""
    each, added = [], np.zeros((len(observed.channels), len(_ADDED)))
    summaries, buckets = [], []
    for subject, before, rows in zip(state.subjects, state.summaries, state.buckets, strict=True):
        surprise = subject.surprise(observed)
        each.append(surprise)
        summaries.append(
            tuple(one.merged(Summary.of(surprise[:, i])) for i, one in enumerate(before))
        )
        after = []
        for place, (old, found) in enumerate(zip(rows, _buckets_of(state, surprise), strict=True)):
            inside = (found >= 0) & (found < len(old.hit))
            new, first = np.unique(found[inside], return_index=True)
            added[np.flatnonzero(inside)[first[~old.hit[new]]], place] += 1
            hit = old.hit.copy()
            hit[new] = True
            above = int((found == len(old.hit)).sum())
            after.append(Buckets(hit, old.below + int((found == -1).sum()), old.above + above))
        buckets.append((after[0], after[1]))
    new_state = replace(state, summaries=tuple(summaries), buckets=tuple(buckets))
    return new_state, np.concatenate([*each, added], axis=1)


def items(state: SurpriseState) -> dict[str, tuple[int, ...]]:
    """Return how many buckets each layer has."""
    parts = (state.parameters.surprise_buckets,) * len(state.subjects)
    return {_LSC.id: parts, _DSC.id: parts}


def covered_by_each(state: SurpriseState, observed: Observed) -> dict[str, tuple[Items, ...]]:
    """Return the bucket of each input, for each layer."""
    parts: tuple[list[Items], list[Items]] = ([], [])
    for subject in state.subjects:
        for part, found in zip(parts, _buckets_of(state, subject.surprise(observed)), strict=True):
            inside = (found >= 0) & (found < state.parameters.surprise_buckets)
            part.append([found[i : i + 1][inside[i : i + 1]] for i in range(len(found))])
    return {_LSC.id: tuple(parts[0]), _DSC.id: tuple(parts[1])}


def merge(a: SurpriseState, b: SurpriseState) -> SurpriseState:
    """Return the state of both suites together."""

    def joined(one: Buckets, other: Buckets) -> Buckets:
        return Buckets(one.hit | other.hit, one.below + other.below, one.above + other.above)

    return replace(
        a,
        summaries=tuple(
            tuple(one.merged(other) for one, other in zip(x, y, strict=True))
            for x, y in zip(a.summaries, b.summaries, strict=True)
        ),
        buckets=tuple(
            (joined(x[0], y[0]), joined(x[1], y[1]))
            for x, y in zip(a.buckets, b.buckets, strict=True)
        ),
    )


def compute(state: SurpriseState) -> tuple[Table, ...]:
    """Return the tables of `lsc`, `dsc`, `lsa`, `dsa` and `mdsa`."""
    parameters, tables = state.parameters, []
    for place, metric in enumerate((_LSC, _DSC)):
        bound, count = parameters.surprise_bounds[place], parameters.surprise_buckets
        rows: list[tuple[Cell, ...]] = []
        for subject, rows_of_layer in zip(state.subjects, state.buckets, strict=True):
            if not _is_defined(subject, place):
                continue
            found = rows_of_layer[place]
            hit = int(found.hit.sum())
            rows.append((subject.layer.name, hit, count, hit / count, found.below, found.above))
        hit, total, below, above = (sum(int(row[i] or 0) for row in rows) for i in (1, 2, 4, 5))
        body = TableBody(
            _COVERED,
            tuple(rows),
            ("all layers", hit, total, ratio(hit, total), below, above),
            _notes(state, place),
        )
        tables.append(metric.table("channel", {"n": count, "U": bound}, body))
    for place, metric in enumerate(_EACH):
        body = TableBody(
            _SUMMARY,
            tuple(
                _summary_row(subject, summaries[place])
                for subject, summaries in zip(state.subjects, state.summaries, strict=True)
                if _is_defined(subject, place)
            ),
            None,
            _notes(state, place),
        )
        tables.append(metric.table("channel", {}, body))
    return tuple(tables)


_COVERED = (
    Column("layer", "text"),
    Column("covered", "count"),
    Column("buckets", "count"),
    Column("coverage", "ratio"),
    Column("at or below 0", "count"),
    Column("above U", "count"),
)
_SUMMARY = (
    Column("layer", "text"),
    Column("images", "count"),
    Column("undefined", "count"),
    Column("infinite", "count"),
    Column("minimum", "value"),
    Column("mean", "value"),
    Column("maximum", "value"),
)


def _summary_row(subject: Subject, summary: Summary) -> tuple[Cell, ...]:
    undefined = summary.inputs - summary.finite - summary.infinite
    figures: tuple[float | None, ...] = (None, None, None)
    if summary.finite:
        figures = summary.low, float(summary.total / summary.finite), summary.high
    return (subject.layer.name, summary.inputs, undefined, summary.infinite, *figures)


def _is_defined(subject: Subject, place: int) -> bool:
    """Return whether a layer has dsa (place 1), or lsa and mdsa (0 and 2)."""
    return subject.nearest is not None if place == 1 else bool(subject.densities)


def _notes(state: SurpriseState, place: int) -> tuple[str, ...]:
    """Return what is to be said of the figures of lsa, dsa or mdsa."""
    learnt = state.learnt
    if not state.subjects:
        return ("Not computed: the profile has no activation traces.",)
    notes = list(learnt.remarks)
    for subject in state.subjects:
        name = subject.layer.name
        if subject.not_finite:
            notes.append(
                f"{name}: {subject.not_finite:,} training traces are not finite and were left out."
            )
        if place == 1:
            if not learnt.has_classes:
                notes.append(f"{name}: not computed, the model has no classes to be told apart.")
            elif subject.nearest is None:
                notes.append(
                    f"{name}: not computed, the training images are all of one predicted class."
                )
            continue
        channels = subject.layer.traces.shape[1]
        if len(subject.kept) < channels:
            notes.append(
                f"{name}: {channels - len(subject.kept):,} of {channels:,} channels hardly vary "
                "within some class and were left out."
            )
        if not subject.densities:
            notes.append(
                f"{name}: not computed, no class has two training traces that differ in a channel."
            )
            continue
        without = [label for label in subject.classes if label not in subject.densities]
        if without:
            notes.append(
                f"{name}: {_classes(without, subject)} have too few training traces; the "
                "figures of their images are undefined."
            )
        singular = [label for label, of in subject.densities.items() if of.regularised]
        if singular:
            whose = f" of {_classes(singular, subject)}" if learnt.has_classes else ""
            notes.append(
                f"{name}: the covariance{whose} is singular; {RIDGE:.0e} of its mean variance was "
                "added to its diagonal."
            )
    return tuple(notes)


def _classes(labels: Sequence[int], subject: Subject) -> str:
    """Return how many of the classes these are, and which ones, of many the first few."""
    named = ", ".join(map(str, labels[:_NAMED])) + (", …" if len(labels) > _NAMED else "")
    return f"{len(labels):,} of {len(subject.classes):,} classes ({named})"


def named_parameters(parameters: ProfileParameters) -> dict[str, object]:
    """Return what the figures depend on."""
    return {"n": parameters.surprise_buckets, "U": list(parameters.surprise_bounds)}


def stored(state: SurpriseState) -> dict[str, Any]:
    """Return the summaries and the buckets."""
    return {
        "summaries": [stored_summary(one) for of_layer in state.summaries for one in of_layer],
        "buckets": [stored_buckets(one) for of_layer in state.buckets for one in of_layer],
    }


def restored(state: SurpriseState, tree: Mapping[str, Any]) -> SurpriseState:
    """Return the state with the summaries and buckets that `stored` returned."""
    layers, count = len(state.subjects), state.parameters.surprise_buckets
    of_figures = iter(list_in(tree, "summaries", layers * len(_EACH)))
    of_coverages = iter(list_in(tree, "buckets", 2 * layers))
    return replace(
        state,
        summaries=tuple(
            tuple(restored_summary(next(of_figures)) for _ in _EACH) for _ in range(layers)
        ),
        buckets=tuple(
            (
                restored_buckets(next(of_coverages), count),
                restored_buckets(next(of_coverages), count),
            )
            for _ in range(layers)
        ),
    )


SURPRISE = ProfiledMetric(
    metrics=(_LSC, _DSC, *_EACH),
    parameters=named_parameters,
    scores=names,
    init=init,
    update=update,
    merge=merge,
    compute=compute,
    items=items,
    covered_by_each=covered_by_each,
    stored=stored,
    restored=restored,
    gathered=True,
)
