"""A suite measured in both ways, by the engine and by brute force, and the two compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cleanai_onnx import coverage, runtime
from cleanai_onnx.coverage import Parameters
from cleanai_onnx.result import LayerFacts, Table
from cleanai_onnx.runtime.compilation import compiled
from tests.coverage import brute_force

runtime.use_compilation_cache()

PARAMETERS = Parameters(
    threshold=0.75,
    value_threshold=0.5,
    top_k=3,
    # With nc, tc and nbc more than eight counters: two words in the packed sweeps.
    intervals=((0, 0.1), (0.1, 0.2), (0.25, 0.25), (-1, 0), (0, 0), (-math.inf, -0.5), (0.5, 9)),
    bounds_from=2,
)

Figures = dict[tuple[str, str], list[tuple[Any, ...]]]
"""For each metric and view, the numbers of each row."""
Ends = tuple[np.ndarray, np.ndarray]
"""The values of a layer's neurons for the two inputs of a pair."""


# By the engine.


def compiled_here(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a part of the kernels as the kernels are."""
    return compiled(function, platform=jax.default_backend(), **options)


def measured(
    layers: Sequence[LayerFacts],
    arrays: Sequence[np.ndarray],
    parameters: Parameters = PARAMETERS,
    batch: int = 3,
    garbage: float = 1e9,
    state: coverage.State | None = None,
) -> tuple[coverage.State, list[coverage.InputFigures]]:
    """Feed a suite in batches, the rows that the last one lacks filled with garbage."""
    state = coverage.init(layers, parameters) if state is None else state
    inputs = len(arrays[0])
    figures = []
    for first in range(0, inputs, batch):
        rows = [a[first : first + batch] for a in arrays]
        valid = len(rows[0])
        padded = [
            np.concatenate([part, np.full((batch - valid, *part.shape[1:]), garbage, np.float32)])
            for part in rows
        ]
        # On the device, as a session hands them over, so that the same kernels are found.
        batches = jax.device_put(padded, jax.devices()[0])
        state, of_batch = coverage.update(state, batches, valid)
        figures.append(of_batch)
    return state, figures


def pair_of(
    state: coverage.State, arrays: Sequence[np.ndarray], first: int, second: int
) -> coverage.PairEvidence:
    a, b = ([jnp.asarray(of[[index]]) for of in arrays] for index in (first, second))
    return coverage.count_pairs(state, (f"image {first}", f"image {second}"), a, b)


def by_name(tables: Sequence[Table]) -> dict[tuple[str, str], Table]:
    return {(table.metric, table.view): table for table in tables}


# By brute force.


def expected(
    layers: Sequence[LayerFacts],
    arrays: Sequence[np.ndarray],
    parameters: Parameters = PARAMETERS,
    pair: tuple[int, int] | None = None,
    interactions: bool = True,
) -> Figures:
    """Return for each metric and view the numbers of each row, without names and ratios."""
    found: Figures = {}
    for view in brute_force.VIEWS:
        values = [
            brute_force.neurons(a, of.channel_axis, view)
            for of, a in zip(layers, arrays, strict=True)
        ]
        figures = {
            **_of_inputs(arrays, values, parameters),
            **_of_suite(arrays, values, parameters),
        }
        if pair is not None:
            ends = [(v[pair[0]], v[pair[1]]) for v in values]
            figures |= _of_pair(ends, parameters)
            if interactions:
                figures |= _interactions(ends, parameters)
        found |= {(metric, view): rows for metric, rows in figures.items()}
    return found


def _of_inputs(
    arrays: Sequence[np.ndarray], values: Sequence[np.ndarray], p: Parameters
) -> dict[str, list[tuple[Any, ...]]]:
    means = [brute_force.layer_means(a) for a in arrays]
    return {
        "nc": [(brute_force.nc(v, m), v.size) for v, m in zip(values, means, strict=True)],
        "tc": [(brute_force.tc(v, p.threshold), v.size) for v in values],
        "mnc": [(*brute_force.mnc(v, p.intervals), v.size) for v in values],
        "tknc": [(brute_force.tknc(v, p.top_k), min(p.top_k, v.shape[1]) * len(v)) for v in values],
        "nbc": [brute_force.nbc(v, p.bounds_from) for v in values],
    }


def _of_suite(
    arrays: Sequence[np.ndarray], values: Sequence[np.ndarray], p: Parameters
) -> dict[str, list[tuple[Any, ...]]]:
    units = [a.reshape(len(a), -1) for a in arrays]
    t = p.threshold

    def value_change(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return brute_force.value_change(a, b, p.value_threshold)

    both = list(zip(values, units, strict=True))
    covered = {
        "nc-suite": [brute_force.nc_suite(v, t) for v in values],
        "nc-suite-scaled": [brute_force.nc_suite_scaled(v, u, t) for v, u in both],
        "nc-suite-scaled-abs": [
            brute_force.nc_suite_scaled(np.abs(v), np.abs(u), t) for v, u in both
        ],
        "tknc-suite": [brute_force.tknc_suite(v, p.top_k) for v in values],
        "sc-suite": [brute_force.some_pair(brute_force.sign_change, v) for v in values],
        "vc-suite": [brute_force.some_pair(value_change, v) for v in values],
    }
    return {
        metric: [(count, v.shape[1]) for count, v in zip(counts, values, strict=True)]
        for metric, counts in covered.items()
    }


def _of_pair(ends: Sequence[Ends], p: Parameters) -> dict[str, list[tuple[Any, ...]]]:
    changes = {
        "sc": [brute_force.sign_change(a, b) for a, b in ends],
        "sc-strict": [brute_force.strict_sign_change(a, b) for a, b in ends],
        "vc": [brute_force.value_change(a, b, p.value_threshold) for a, b in ends],
    }
    return {
        metric: [(int(changed.sum()), changed.size) for changed in of_layers]
        for metric, of_layers in changes.items()
    }


def _interactions(ends: Sequence[Ends], p: Parameters) -> dict[str, list[tuple[Any, ...]]]:
    t = p.value_threshold
    return {
        metric: [
            (
                brute_force.interaction(
                    metric, here, there, t, 0.05 if metric == "vv" and p.cleanai_compat else t
                ),
                len(here[0]) * len(there[0]),
            )
            for here, there in pairwise(ends)
        ]
        for metric in ("ss", "sv", "vs", "vv")
    }


# Compared.


def numbers_of(table: Table) -> list[tuple[Any, ...]]:
    """Return a table's rows without names, ratios and means: what `expected` returns."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if column.kind in ("count", "value") and column.name != "mean"
    ]
    return [tuple(row[place] for place in kept) for row in table.rows]


def assert_equal(
    tables: Mapping[tuple[str, str], Table], figures: Figures, skip: Sequence[str] = ()
) -> None:
    """Compare every figure: integers exactly, floats to 1e-6."""
    for (metric, view), rows in figures.items():
        if metric in skip:
            continue
        ours = numbers_of(tables[metric, view])
        assert len(ours) == len(rows), (metric, view)
        for number, (row, wanted) in enumerate(zip(ours, rows, strict=True)):
            where = f"{metric} in the {view} view, row {number}: {row} is not {wanted}"
            assert len(row) == len(wanted), where
            for cell, value in zip(row, wanted, strict=True):
                if isinstance(value, float):
                    assert cell == pytest.approx(value, rel=1e-6, abs=1e-6), where
                else:
                    assert type(cell) is int and cell == value, where


def assert_sound(table: Table, layers: Sequence[LayerFacts]) -> None:
    """Check what holds for any table: names, ratios, totals, exact integers."""
    counts = [place for place, column in enumerate(table.columns) if column.kind == "count"]
    assert table.total is not None
    for place in counts:
        cells = [row[place] for row in table.rows]
        assert all(type(cell) is int for cell in (*cells, table.total[place]))
        assert table.total[place] == sum(cells)
    for place, column in enumerate(table.columns):
        if column.kind == "ratio":
            for row in (*table.rows, table.total):
                covered, total = (row[count] for count in counts)
                assert row[place] == (covered / total if total else None)
                assert row[place] is None or 0 <= row[place] <= 1
    names = [row[0] for row in table.rows]
    assert names == [of.name for of in layers][: len(names)]
