"""The reference figures from the stored activations alone: no model, no runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cleanai_onnx import coverage
from cleanai_onnx.coverage import Parameters
from tests.coverage.measuring import by_name, measured, pair_of
from tests.golden.references import (
    ALT,
    CHOICES,
    DEFAULT,
    FOLDER,
    NETS,
    covered_and_total,
    net,
    parameters,
)

BATCH = 1
"""That of the models whose batch is fixed, so that `test_from_images` finds the kernels made."""


def test_the_intervals_are_those_of_the_reference() -> None:
    for name in NETS:
        mnc = net(name).metrics["per_input"][0]["mnc"]
        assert tuple(map(tuple, mnc["default"]["intervals"])) == DEFAULT
        assert tuple(map(tuple, mnc["alt"]["intervals"])) == ALT


@pytest.mark.parametrize("choice", CHOICES, ids="-".join)
@pytest.mark.parametrize("name", NETS)
def test_every_input(name: str, choice: tuple[str, str, str]) -> None:
    threshold, k, intervals = choice
    golden, chosen = net(name), parameters(*choice)
    state, figures = measured(golden.layers, golden.arrays, chosen, batch=BATCH)
    assert len(figures) == len(golden.inputs)
    counts = np.concatenate([of_batch.counts["unit"] for of_batch in figures])
    means = np.concatenate([of_batch.mean["unit"] for of_batch in figures])
    sums = np.concatenate([of_batch.top_sum["unit"] for of_batch in figures])
    scores = np.concatenate(
        [
            coverage.scores_of(of_batch, golden.layers, chosen, index * BATCH).model
            for index, of_batch in enumerate(figures)
        ]
    )
    numbers = coverage.engine.counter_names(chosen)
    names = coverage.score_names(chosen)
    units = sum(layer.units for layer in golden.layers)
    for index, wanted in enumerate(golden.metrics["per_input"]):
        of_input = dict(zip(numbers, counts[index].T.tolist(), strict=True))
        score = dict(zip(names, scores[index].tolist(), strict=True))
        rows = wanted["layers"]
        assert of_input["nc", 0] == [row["nc_covered"] for row in rows]
        assert of_input["tc", 0] == [row["tc_covered"][threshold] for row in rows]
        assert means[index] == pytest.approx([row["mean"] for row in rows], abs=1e-5)
        assert [layer.units for layer in golden.layers] == [row["total"] for row in rows]
        assert (sum(of_input["nc", 0]), units) == (wanted["nc"]["covered"], wanted["nc"]["total"])
        assert sum(of_input["tc", 0]) == wanted["tc"][threshold]["covered"]
        assert score["nc/unit"] == pytest.approx(wanted["nc"]["coverage"], abs=1e-9)
        assert score["tc/unit"] == pytest.approx(wanted["tc"][threshold]["coverage"], abs=1e-9)
        assert sums[index].sum() == pytest.approx(wanted["tknc"][k]["sum"], abs=1e-5, rel=1e-5)
        assert score["tknc/unit"] == pytest.approx(wanted["tknc"][k]["mean"], abs=1e-5)
        mnc = [sum(of_input["mnc", place]) for place in range(len(chosen.intervals))]
        assert mnc == wanted["mnc"][intervals]["counts"]
        assert wanted["mnc"][intervals]["total"] == units
    # The tables hold the sums of these.
    tables = by_name(coverage.compute(state))
    per_input = golden.metrics["per_input"]
    assert tables["nc", "unit"].total[1] == sum(one["nc"]["covered"] for one in per_input)
    assert tables["tc", "unit"].total[1] == sum(
        one["tc"][threshold]["covered"] for one in per_input
    )
    assert tables["tknc", "unit"].total[2] == sum(one["tknc"][k]["selected"] for one in per_input)
    total = [sum(column) for column in zip(*(p["mnc"][intervals]["counts"] for p in per_input))]  # noqa: B905
    assert list(tables["mnc", "unit"].total[1:-1]) == total


@pytest.mark.parametrize("name", NETS)
def test_several_inputs(name: str) -> None:
    golden = net(name)
    for key, wanted in golden.metrics["multi_input_nc"].items():
        first = int(key.removeprefix("first_"))
        arrays = [a[:first] for a in golden.arrays]
        state, _ = measured(golden.layers, arrays, parameters(*CHOICES[0]), batch=BATCH)
        assert covered_and_total(by_name(coverage.compute(state))["nc", "unit"]) == wanted


@pytest.mark.parametrize("name", NETS)
def test_boundaries(name: str) -> None:
    golden = net(name)
    assert len(golden.metrics["nbc"]) == 6
    for wanted in golden.metrics["nbc"]:
        order = [*wanted["bound_inputs"], wanted["test_input"]]
        chosen = replace(parameters(*CHOICES[0]), bounds_from=len(order) - 1)
        state, _ = measured(golden.layers, [a[order] for a in golden.arrays], chosen, batch=BATCH)
        table = by_name(coverage.compute(state))["nbc", "unit"]
        assert table.total[3:5] == (wanted["outside"], wanted["total"])
        assert table.coverage == pytest.approx(wanted["coverage"])
        for number, row in enumerate(table.rows):
            assert row[1:3] == pytest.approx(wanted["bounds"][str(number)], abs=1e-5)


def pair_cases() -> list[tuple[str, int]]:
    return [(name, n) for name in NETS for n in range(len(net(name).metrics["pairs"]))]


@pytest.mark.parametrize(("name", "number"), pair_cases())
def test_pairs(name: str, number: int) -> None:
    golden = net(name)
    wanted = golden.metrics["pairs"][number]
    compared = 0
    for threshold in ("0.01", "0.05", "0.25", "0.75"):
        chosen = Parameters(value_threshold=float(threshold), cleanai_compat=True)
        state = coverage.init(golden.layers, chosen)
        tables = by_name(coverage.compute(state, pair_of(state, golden.arrays, *wanted["inputs"])))
        figures = {
            "sign": "sc",
            "ss": "ss",
            f"value@{threshold}": "vc",
            **{f"{metric}@{threshold}": metric for metric in ("sv", "vs", "vv")},
        }
        for key, metric in figures.items():
            if key in wanted:
                assert covered_and_total(tables[metric, "unit"]) == wanted[key], key
                compared += 1
    assert compared >= 7


def test_quirks_of_cleanai() -> None:
    """Corner cases that were run through CleanAI, each with its own input."""
    import json

    from cleanai_onnx.coverage.pairs import count_pair

    quirks = json.loads((FOLDER / "quirks.json").read_text())
    for pair, changes in quirks["sign change table"].items():
        a, b = (np.float32([number]) for number in pair.split(","))
        assert count_pair(a, b, 0.75).sign == changes, pair
    assert (
        quirks["VC diff exactly = 0.75 (1.0-0.25)"][0]
        == count_pair(np.float32([1]), np.float32([0.25]), 0.75).value
    )
