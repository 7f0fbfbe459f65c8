"""Every metric, in both views, against brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx import coverage
from cleanai_onnx.coverage import METRICS, Parameters
from tests.coverage import brute_force
from tests.coverage.measuring import (
    PARAMETERS,
    assert_equal,
    assert_sound,
    by_name,
    expected,
    measured,
    numbers_of,
    pair_of,
)
from tests.coverage.suites import (
    GARBAGE,
    LARGE,
    PACKED,
    TINY,
    activations,
    large_suites,
    layer,
    small_suites,
    thorough,
)

SKIPS_NAN = ("sc-suite",)
"""Can be a lower bound where a layer holds a NaN; tested by itself."""


def skipped(arrays: list[np.ndarray]) -> tuple[str, ...]:
    return SKIPS_NAN if any(np.isnan(a).any() for a in arrays) else ()


@thorough(40)
@given(small_suites(), st.sampled_from([1, 3, 8]), GARBAGE, st.data())
def test_small_layers(
    arrays: list[np.ndarray], batch: int, garbage: float, data: st.DataObject
) -> None:
    inputs = len(arrays[0])
    pair = tuple(data.draw(st.integers(0, inputs - 1)) for _ in range(2))
    state, _ = measured(TINY, arrays, batch=batch, garbage=garbage)
    tables = by_name(coverage.compute(state, pair_of(state, arrays, *pair)))
    figures = expected(TINY, arrays, pair=(pair[0], pair[1]))
    assert set(figures) == set(tables), "a metric is not compared"
    assert_equal(tables, figures, skip=skipped(arrays))
    for table in tables.values():
        assert_sound(table, TINY)


@thorough(12, shrink=False)
@given(large_suites(PACKED, most=5), GARBAGE)
def test_packed_layers(suite: tuple[list[np.ndarray], list[str]], garbage: float) -> None:
    arrays, _ = suite
    pair = (0, len(arrays[0]) - 1)
    state, _ = measured(PACKED, arrays, batch=3, garbage=garbage)
    tables = by_name(coverage.compute(state, pair_of(state, arrays, *pair)))
    figures = expected(PACKED, arrays, pair=pair, interactions=False)
    assert_equal(tables, figures, skip=skipped(arrays))


@thorough(2, shrink=False)
@given(large_suites(LARGE, most=4), GARBAGE)
def test_large_layers(suite: tuple[list[np.ndarray], list[str]], garbage: float) -> None:
    arrays, _ = suite
    state, _ = measured(LARGE, arrays, batch=3, garbage=garbage)
    tables = by_name(coverage.compute(state))
    assert_equal(tables, expected(LARGE, arrays), skip=skipped(arrays))


@pytest.mark.parametrize("kinds", [("with NaN", "rectified"), ("constant", "ties")])
def test_large_layers_of_chosen_kinds(kinds: tuple[str, str]) -> None:
    generator = np.random.default_rng(3)
    arrays = [
        activations(generator, of.shape, kind, 2) for of, kind in zip(LARGE, kinds, strict=True)
    ]
    state, _ = measured(LARGE, arrays, batch=3, garbage=math.nan)
    tables = by_name(coverage.compute(state))
    assert_equal(tables, expected(LARGE, arrays), skip=skipped(arrays))


def any_floats(seed: int, inputs: int, layers: tuple = TINY) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((inputs, *of.shape)).astype(np.float32) for of in layers]


@thorough(10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_batch_size_changes_no_figure(seed: int, inputs: int) -> None:
    # Any floats, so that sums do round.
    arrays = any_floats(seed, inputs)
    tables = []
    for batch in (1, 3, 8):
        state, figures = measured(TINY, arrays, batch=batch)
        tables.append([numbers_of(table) for table in coverage.compute(state)])
        means = np.concatenate([of_batch.mean["channel"] for of_batch in figures])
        if batch == 1:
            first = means
        np.testing.assert_array_equal(means, first)
    for other in tables[1:]:
        for ours, theirs in zip(other, tables[0], strict=True):
            assert ours == [pytest.approx(row, rel=1e-12) for row in theirs]


@thorough(15)
@given(small_suites(least=2), st.randoms(use_true_random=False))
def test_order_changes_no_figure_of_an_order_free_metric(arrays, random) -> None:
    order = list(range(len(arrays[0])))
    random.shuffle(order)
    first, _ = measured(TINY, arrays)
    second, _ = measured(TINY, [a[order] for a in arrays])
    for one, other in zip(coverage.compute(first), coverage.compute(second), strict=True):
        if METRICS[one.metric].card.order_free:
            assert numbers_of(one) == [pytest.approx(row) for row in numbers_of(other)]


def test_figures_of_single_inputs_are_those_of_a_suite_of_one() -> None:
    generator = np.random.default_rng(8)
    arrays = [activations(generator, of.shape, "any", 5) for of in TINY]
    _, figures = measured(TINY, arrays, batch=3, garbage=math.nan)
    names = coverage.engine.counter_names(PARAMETERS)
    for view in brute_force.VIEWS:
        counts = np.concatenate([of_batch.counts[view] for of_batch in figures])
        sums = np.concatenate([of_batch.top_sum[view] for of_batch in figures])
        assert counts.shape == (5, len(TINY), len(names))
        for index in range(5):
            alone = expected(TINY, [a[[index]] for a in arrays])
            for number in range(len(TINY)):
                *intervals, _ = alone["mnc", view][number]
                wanted = {
                    ("nc", 0): alone["nc", view][number][0],
                    ("tc", 0): alone["tc", view][number][0],
                    **{("mnc", place): count for place, count in enumerate(intervals)},
                }
                found = dict(zip(names, counts[index, number].tolist(), strict=True))
                assert wanted.items() <= found.items()
                assert sums[index, number] == pytest.approx(alone["tknc", view][number][0])


def test_means_of_layers_are_reported() -> None:
    arrays = [activations(np.random.default_rng(4), of.shape, "any", 3) for of in TINY]
    _, (figures,) = measured(TINY, arrays, batch=3)
    for number, a in enumerate(arrays):
        wanted = brute_force.layer_means(a)
        np.testing.assert_allclose(figures.mean["unit"][:, number], wanted, rtol=1e-6)
        np.testing.assert_allclose(figures.mean["channel"][:, number], wanted, rtol=1e-6)


# Values that are not numbers, and large ones.


def test_nan_is_never_covered() -> None:
    nothing = [np.full((4, *of.shape), np.nan, np.float32) for of in TINY]
    state, _ = measured(TINY, nothing)
    pair = pair_of(state, nothing, 0, 1)
    for table in coverage.compute(state, pair):
        for row in table.rows:
            cells = dict(zip((column.name for column in table.columns), row, strict=True))
            counts = [
                value
                for column, value in zip(table.columns, row, strict=True)
                if column.kind == "count" and column.name not in ("total", "selected")
            ]
            assert not any(counts), (table.metric, table.view, cells)
    assert state.nan_values == tuple(4 * of.units for of in TINY)


@pytest.mark.parametrize("other", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nan_is_no_change_from_anything(other: float, order: tuple[int, int]) -> None:
    a = np.stack([np.full(18, np.nan), np.full(18, other)]).astype(np.float32)
    state, _ = measured((layer("vector", (18,)),), [a])
    evidence = pair_of(state, [a], *order)
    assert evidence.units[0][1:] == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("place", [0, 1, 15, 16, 2000, 4828, 4829])
def test_nan_anywhere_in_a_layer_spoils_only_the_mean(place: int) -> None:
    generator = np.random.default_rng(place)
    arrays = [activations(generator, of.shape, "any", 3) for of in PACKED]
    for a in arrays:
        a[1].reshape(-1)[place] = np.nan
    state, figures = measured(PACKED, arrays)
    assert_equal(by_name(coverage.compute(state)), expected(PACKED, arrays), skip=SKIPS_NAN)
    assert state.nan_values == (1,) * len(PACKED)
    assert np.isnan(figures[0].mean["unit"]).tolist() == [
        [False] * len(PACKED), [True] * len(PACKED), [False] * len(PACKED)
    ]  # fmt: skip


@thorough(25)
@given(small_suites(layers=(layer("one", (1,)),), least=2, elements=(0, 1, -1)))
def test_nan_in_a_model_of_one_unit(arrays: list[np.ndarray]) -> None:
    layers = (layer("one", (1,)),)
    state, _ = measured(layers, arrays)
    assert_equal(by_name(coverage.compute(state)), expected(layers, arrays), skip=SKIPS_NAN)


@thorough(20)
@given(small_suites(least=2))
def test_nan_makes_sc_suite_a_lower_bound_at_worst(arrays: list[np.ndarray]) -> None:
    state, _ = measured(TINY, arrays)
    tables = by_name(coverage.compute(state))
    figures = expected(TINY, arrays)
    for view in brute_force.VIEWS:
        ours = numbers_of(tables["sc-suite", view])
        for of, a, (count, _), (exact, _) in zip(
            TINY, arrays, ours, figures["sc-suite", view], strict=True
        ):
            values = brute_force.neurons(a, of.channel_axis, view)
            zeros_and_nan = (np.isnan(values) | (values == 0)).all(axis=0)
            of_input = np.isnan(a.reshape(len(a), -1)).any(axis=1)
            doubtful = int(zeros_and_nan.sum()) if (~of_input).sum() < 2 else 0
            assert exact - doubtful <= count <= exact
            if count < exact:
                assert "lower bound" in " ".join(tables["sc-suite", view].notes)


BIG = 3e38


@thorough(25)
@given(
    small_suites(
        layers=(layer("vector", (18,)),), nan=False, least=2, elements=(-BIG, -1e30, 0, 1e30, BIG)
    )
)
def test_large_values(arrays: list[np.ndarray]) -> None:
    layers = (layer("vector", (18,)),)
    state, _ = measured(layers, arrays)
    tables = by_name(coverage.compute(state, pair_of(state, arrays, 0, 1)))
    figures = expected(layers, arrays, pair=(0, 1), interactions=False)
    # The sums overflow float32, so that there is no mean to compare with.
    assert_equal(tables, figures, skip=("nc", "tknc", "nc-suite-scaled", "nc-suite-scaled-abs"))


def test_large_values_of_one_sign_against_the_mean() -> None:
    layers = (layer("vector", (18,)), layer("nchw", (2, 3, 3)))
    arrays = [np.full((2, *of.shape), 1 / 64, np.float32) for of in layers]
    for a in arrays:
        a[0].reshape(-1)[[2, 3, 17]] = 2.0**40
        a[1].reshape(-1)[[2, 3, 17]] = -(2.0**40)
    state, _ = measured(layers, arrays)
    assert_equal(by_name(coverage.compute(state)), expected(layers, arrays))


# Constant layers: the mean is every value, and rounding must not put the values above it.


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, -0.7, 1 / 3, 1e-3, 12345.678])
def test_a_constant_layer_covers_nothing_above_its_mean(value: float) -> None:
    for layers in (TINY, PACKED):
        arrays = [np.full((2, *of.shape), value, np.float32) for of in layers]
        state, _ = measured(layers, arrays)
        tables = by_name(coverage.compute(state))
        for metric in ("nc", "nc-suite-scaled", "nc-suite-scaled-abs"):
            for view in brute_force.VIEWS:
                assert tables[metric, view].total[1] == 0, (metric, view)


@pytest.mark.parametrize("size", [3, 41, 4830])
def test_the_mean_itself_is_not_above_the_mean(size: int) -> None:
    """A half, one and a half, and ones: the sum is exact, and so must the division be."""
    row = np.ones(size, np.float32)
    row[0], row[1] = 0.5, 1.5
    layers = (layer("vector", (size,)),)
    state, _ = measured(layers, [row[None]], batch=1)
    assert by_name(coverage.compute(state))["nc", "unit"].total[1] == 1


@pytest.mark.parametrize("spatial", [7])
def test_the_mean_of_a_constant_channel_is_its_value(spatial: int) -> None:
    """A channel of 0.75 throughout is not above 0.75, and lies in [0.75, 0.75]."""
    a = np.full((1, 2, spatial), 0.75, np.float32)
    layers = (layer("channels", (2, spatial)),)
    state, _ = measured(layers, [a], batch=1)
    tables = by_name(coverage.compute(state))
    assert tables["tc", "channel"].total[1] == 0
    assert tables["nc-suite", "channel"].total[1] == 0


# The edges of the engine.


def test_a_suite_of_no_input_has_empty_tables() -> None:
    state = coverage.init(TINY, PARAMETERS)
    for table in coverage.compute(state):
        counts = [
            row[place]
            for row in table.rows
            for place, column in enumerate(table.columns)
            if column.kind == "count" and column.name not in ("total",)
        ]
        assert not any(counts)


def test_k_beyond_the_size_of_a_layer_selects_the_whole_layer() -> None:
    parameters = replace(PARAMETERS, top_k=50)
    arrays = [activations(np.random.default_rng(5), of.shape, "any", 3) for of in TINY]
    state, _ = measured(TINY, arrays, parameters)
    tables = by_name(coverage.compute(state))
    assert_equal(tables, expected(TINY, arrays, parameters))
    suite = tables["tknc-suite", "unit"].total
    assert suite[1] == suite[2]


def test_compat_divides_by_k_for_each_layer() -> None:
    parameters = replace(PARAMETERS, cleanai_compat=True)
    arrays = [activations(np.random.default_rng(5), of.shape, "any", 2) for of in TINY]
    state, _ = measured(TINY, arrays, parameters)
    ours = by_name(coverage.compute(state))["tknc", "unit"]
    assert [row[2] for row in ours.rows] == [2 * 3] * len(TINY)
    assert ours.total[2] == 2 * 3 * len(TINY)
    assert ours.total[3] == pytest.approx(ours.total[1] / ours.total[2])


def test_default_parameters_are_cleanais() -> None:
    assert Parameters() == Parameters(
        threshold=0.75,
        value_threshold=0.75,
        top_k=3,
        intervals=((0.0, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5)),
        bounds_from=10,
        cleanai_compat=False,
    )


def test_rows_of_are_copies_of_one_input() -> None:
    import jax.numpy as jnp

    arrays = [activations(np.random.default_rng(6), of.shape, "any", 3) for of in TINY]
    state = coverage.init(TINY, PARAMETERS)
    rows = coverage.rows_of(state, [jnp.asarray(a) for a in arrays], 1)
    for row, a in zip(rows, arrays, strict=True):
        np.testing.assert_array_equal(np.asarray(row).reshape(-1), a[1].reshape(-1))


def test_adjacency_other_than_row_order() -> None:
    arrays = [activations(np.random.default_rng(7), of.shape, "saturated", 2) for of in TINY]
    arrays[0][:] = [[1], [-1]]
    state, _ = measured(TINY, arrays)
    evidence = pair_of(state, arrays, 0, 1)
    adjacency = ((0, 2), (0, 4))
    ends = [tuple(a.reshape(2, -1)) for a in arrays]
    table = {t.metric: t for t in coverage.compute(state, evidence, adjacency) if t.view == "unit"}
    for metric in ("ss", "sv", "vs", "vv"):
        wanted = [
            brute_force.interaction(metric, ends[here], ends[there], 0.5, 0.5)
            for here, there in adjacency
        ]
        assert [row[2] for row in table[metric].rows] == wanted
        assert [row[:2] for row in table[metric].rows] == [("one", "nchw"), ("one", "tokens")]
    assert any(table[metric].total[2] for metric in ("ss", "sv", "vs", "vv"))
