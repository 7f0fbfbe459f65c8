"""What every metric of the registry promises on its card, checked for all of them at once."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx import coverage
from cleanai_onnx.coverage import METRICS, Parameters
from cleanai_onnx.coverage.metric import BOTH_VIEWS
from cleanai_onnx.result import Table
from tests.coverage.measuring import (
    PARAMETERS,
    assert_sound,
    by_name,
    measured,
    numbers_of,
    pair_of,
)
from tests.coverage.suites import TINY, activations, layer, small_suites, thorough

ALL = sorted(METRICS)
MERGEABLE = [metric for metric in ALL if METRICS[metric].card.mergeable]
MONOTONE = [metric for metric in ALL if METRICS[metric].card.monotone]
Figures = dict[tuple[str, str], list]


def figures(state: coverage.State, metrics: list[str] = MERGEABLE) -> Figures:
    """Return what the tables say, floats to the last bits of a sum in another order."""
    found = {}
    for table in coverage.compute(state):
        if table.metric in metrics:
            rows = [*numbers_of(table), table.total[1:]]
            found[table.metric, table.view] = [pytest.approx(row, rel=1e-12) for row in rows]
    return found


def equal(a: Figures, b: Figures) -> bool:
    return set(a) == set(b) and all(
        [one.expected for one in a[key]] == [pytest.approx(other.expected) for other in b[key]]
        for key in a
    )


def part(arrays: list[np.ndarray], first: int, last: int) -> coverage.State:
    return measured(TINY, [a[first:last] for a in arrays])[0]


@st.composite
def parts_of_a_suite(draw: st.DrawFn) -> tuple[list[np.ndarray], list[int]]:
    arrays = draw(small_suites(least=3))
    cuts = sorted(draw(st.integers(0, len(arrays[0]))) for _ in range(2))
    return arrays, [0, *cuts, len(arrays[0])]


# Merging.


@thorough(15)
@given(parts_of_a_suite())
def test_merging_is_associative_and_commutative_and_equals_one_pass(suite) -> None:
    arrays, cuts = suite

    def states() -> list[coverage.State]:
        return [part(arrays, *ends) for ends in pairwise(cuts)]

    whole = figures(part(arrays, 0, cuts[-1]))
    assert {metric for metric, _ in whole} == set(MERGEABLE)
    a, b, c = states()
    left = coverage.merge(coverage.merge(a, b), c)
    right = coverage.merge(a, coverage.merge(b, c))
    turned = coverage.merge(c, coverage.merge(b, a))
    for merged in (left, right, turned):
        assert merged.inputs == cuts[-1]
        assert equal(figures(merged), whole)
        assert merged.nan_values == left.nan_values


@thorough(10)
@given(small_suites())
def test_init_is_the_identity_of_merge(arrays: list[np.ndarray]) -> None:
    state = part(arrays, 0, len(arrays[0]))
    alone = figures(state, ALL)
    nothing = coverage.init(TINY, PARAMETERS)
    assert equal(figures(coverage.merge(state, nothing), ALL), alone)
    assert equal(figures(coverage.merge(nothing, state), ALL), alone)


def test_merging_nothing_with_nothing_is_nothing() -> None:
    nothing = coverage.init(TINY, PARAMETERS)
    merged = coverage.merge(nothing, coverage.init(TINY, PARAMETERS))
    assert merged.inputs == 0 and equal(figures(merged, ALL), figures(nothing, ALL))


def test_what_cannot_be_merged_is_left_out_of_a_merged_state() -> None:
    arrays = [activations(np.random.default_rng(1), of.shape, "any", 4) for of in TINY]
    merged = coverage.merge(part(arrays, 0, 2), part(arrays, 2, 4))
    tables = coverage.compute(merged)
    pairs = {metric for metric in ALL if METRICS[metric].card.scope == "pair"}
    assert {table.metric for table in tables} == set(MERGEABLE) | pairs
    # A pair is no part of the state: it is compared anew, if it is there.
    assert all(not table.rows for table in tables if table.metric in pairs)
    compared = coverage.compute(merged, pair_of(merged, arrays, 0, 1))
    whole = coverage.compute(part(arrays, 0, 4), pair_of(merged, arrays, 0, 1))
    for metric in pairs:
        assert [one for one in compared if one.metric == metric] == [
            one for one in whole if one.metric == metric
        ]
    assert {table.metric for table in coverage.compute(part(arrays, 0, 4))} == set(ALL)


def test_a_merged_state_can_be_fed_further() -> None:
    arrays = [activations(np.random.default_rng(2), of.shape, "any", 6) for of in TINY]
    merged = coverage.merge(part(arrays, 0, 2), part(arrays, 2, 3))
    state, _ = measured(TINY, [a[3:] for a in arrays], state=merged)
    assert equal(figures(state), figures(part(arrays, 0, 6)))


def test_states_of_different_measurements_are_not_merged() -> None:
    state = coverage.init(TINY, PARAMETERS)
    for other in (
        coverage.init(TINY[:2], PARAMETERS),
        coverage.init(TINY, replace(PARAMETERS, top_k=4)),
        coverage.init((*TINY[:4], layer("tokens", (9, 2), 0)), PARAMETERS),
    ):
        with pytest.raises(ValueError, match="different layers or parameters"):
            coverage.merge(state, other)


# Growing suites.


@thorough(10)
@given(small_suites(least=2))
def test_monotone_metrics_never_fall(arrays: list[np.ndarray]) -> None:
    state = coverage.init(TINY, PARAMETERS)
    before: dict[tuple[str, str], list[int]] = {}
    for index in range(len(arrays[0])):
        state, _ = measured(TINY, [a[[index]] for a in arrays], state=state)
        tables = by_name(coverage.compute(state))
        for key in ((metric, view) for metric in MONOTONE for view in BOTH_VIEWS):
            covered = [row[0] for row in numbers_of(tables[key])]
            assert all(now >= then for now, then in zip(covered, before.get(key, covered)))  # noqa: B905
            before[key] = covered


@pytest.mark.parametrize("metric", MONOTONE)
def test_monotone_metrics_never_fall_when_a_nan_comes(metric: str) -> None:
    arrays = [np.zeros((3, *of.shape), np.float32) for of in TINY]
    for a in arrays:
        a[2].reshape(-1)[-1] = math.nan
    first, _ = measured(TINY, [a[:2] for a in arrays])
    both = [by_name(coverage.compute(first))]
    state, _ = measured(TINY, [a[2:] for a in arrays], state=first)
    both.append(by_name(coverage.compute(state)))
    for view in BOTH_VIEWS:
        then, now = ([row[0] for row in numbers_of(tables[metric, view])] for tables in both)
        assert all(a <= b for a, b in zip(then, now, strict=True)), (view, then, now)


@pytest.mark.parametrize(
    "metric", [metric for metric in ALL if METRICS[metric].card.scope == "input"]
)
def test_averages_over_inputs_are_rightly_not_called_monotone(metric: str) -> None:
    assert metric not in MONOTONE
    arrays = [np.zeros((4, *of.shape), np.float32) for of in TINY]
    for a in arrays:
        a[1] = 1
        a[2].reshape(-1)[:1] = 2

    def average(inputs: int) -> float:
        state, _ = measured(TINY, [a[:inputs] for a in arrays])
        table = by_name(coverage.compute(state))[metric, "unit"]
        columns = [column.name for column in table.columns]
        if metric == "mnc":
            return table.total[columns.index("[0.5, 9]")] / table.total[-1]
        return table.total[columns.index("mean" if metric == "tknc" else "coverage")]

    assert average(4) < average(3)


# Tables.


@thorough(10)
@given(small_suites(least=2))
def test_computing_twice_gives_the_same_tables(arrays: list[np.ndarray]) -> None:
    state = part(arrays, 0, len(arrays[0]))
    pair = pair_of(state, arrays, 0, 1)
    first, second = coverage.compute(state, pair), coverage.compute(state, pair)
    assert first == second
    state, _ = measured(TINY, arrays, state=state)
    assert state.inputs == 2 * len(arrays[0])


@pytest.fixture(scope="module")
def tables() -> tuple[Table, ...]:
    arrays = [activations(np.random.default_rng(3), of.shape, "saturated", 4) for of in TINY]
    state = part(arrays, 0, 4)
    return coverage.compute(state, pair_of(state, arrays, 0, 3))


def test_every_metric_has_a_table_in_each_of_its_views(tables: tuple[Table, ...]) -> None:
    assert [(table.metric, table.view) for table in tables] == [
        (metric.id, view) for metric in METRICS.values() for view in metric.views
    ]


def test_tables_are_sound(tables: tuple[Table, ...]) -> None:
    for table in tables:
        assert_sound(table, TINY)
        interaction = table.metric in ("ss", "sv", "vs", "vv")
        assert len(table.rows) == len(TINY) - interaction
        assert all(len(row) == len(table.columns) for row in (*table.rows, table.total))
        if any(column.kind == "ratio" for column in table.columns):
            assert table.coverage is not None


def test_tables_say_what_they_count(tables: tuple[Table, ...]) -> None:
    for table in tables:
        metric = METRICS[table.metric]
        assert (table.title, table.definition) == (metric.title, metric.definition)
        assert table.source == metric.card.source
        # A threshold that the definition speaks of is among the parameters, and the other way.
        for name, word in (("t", r"\bt\b"), ("k", r"\bk\b"), ("n", r"\bn\b")):
            assert (name in table.parameters) == bool(re.search(word, table.definition)), (
                table.metric,
                name,
            )


@pytest.mark.parametrize("metric", ALL)
def test_every_metric_has_a_definition_a_source_and_a_card(metric: str) -> None:
    found = METRICS[metric]
    assert found.id == metric and re.fullmatch(r"[a-z]+(-[a-z]+)*", metric)
    assert len(found.definition) > 20 and found.definition.endswith(".")
    assert found.title and not found.title.endswith(".")
    card = found.card
    assert len(card.source) > 5
    assert card.scope in ("input", "pair", "suite")
    # A pair metric is of two images: not of a suite that grows, is shuffled or comes in parts.
    if card.scope == "pair":
        assert not (card.monotone or card.order_free or card.mergeable)
    if card.scope == "suite":
        assert found.covers is not None and card.monotone and card.order_free and card.mergeable
    if card.mergeable:
        assert card.order_free
    assert found.views == BOTH_VIEWS
    assert not card.needs_profile


def test_titles_and_definitions_are_different() -> None:
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)
    assert len({metric.definition for metric in METRICS.values()}) == len(METRICS)


def test_parameters_in_the_tables_are_those_in_use() -> None:
    parameters = Parameters(
        threshold=0.1, value_threshold=0.2, top_k=7, intervals=((0, 1),), bounds_from=4
    )
    state = coverage.init(TINY, parameters)
    used = {table.metric: dict(table.parameters) for table in coverage.compute(state)}
    assert used["tc"] == used["nc-suite"] == used["nc-suite-scaled"] == {"t": 0.1}
    assert used["vc"] == used["vc-suite"] == used["sv"] == used["vs"] == {"t": 0.2}
    assert used["tknc-suite"] == {"k": 7}
    assert used["nbc"] == {"n": 4}
    assert used["mnc"] == {"intervals": [[0, 1]]}
    assert used["nc"] == used["sc"] == used["ss"] == {}
