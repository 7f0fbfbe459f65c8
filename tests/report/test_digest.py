from __future__ import annotations

from dataclasses import replace

import pytest

from cleanai_onnx.report.digest import (
    Figure,
    figure,
    firing_by_layer,
    hardly,
    is_score_ratio,
    layer_tables,
    layer_title,
    other_totals,
    verdicts,
)
from tests.report.results import hostile_result, small_result
from tests.validation.made import corners


def test_every_metric_with_a_ratio_gets_a_verdict_in_both_views() -> None:
    result = small_result()
    found = {verdict.metric: verdict for verdict in verdicts(result)}
    assert set(found) == {t.metric for t in result.tables} - {"tknc", "mnc"}
    assert all(set(verdict.views) == {"unit", "channel"} for verdict in found.values())
    assert {table.metric for table in other_totals(result)} == {"tknc", "mnc"}


def test_the_figure_comes_from_the_total_row() -> None:
    table = small_result().table("nbc")
    assert table.total is not None
    assert figure(table) == Figure(table.total[3], table.total[4], table.total[5])  # type: ignore[arg-type]
    assert figure(replace(table, total=None)) == Figure(None, None, None)


def test_what_is_covered_may_stand_in_several_columns() -> None:
    assert figure(corners(1, 2, 10)) == Figure(3, 10, 0.3)


def test_pair_metrics_are_no_layer_tables() -> None:
    found = layer_tables(small_result())
    assert "nc" in found
    assert "ss" not in found
    assert len(found["nc"]["unit"]) == 4


def test_dead_and_rare_channels() -> None:
    result = small_result()
    firing = list(result.firing)
    firing[0] = (0, 1, 2, 3, 200, 0)
    layer = firing_by_layer(replace(result, firing=tuple(firing)))[0]
    assert layer.index == 1
    assert layer.dead == (0, 5)
    assert layer.rare == (1, 2)
    assert layer.dead_share == pytest.approx(1 / 3)


@pytest.mark.parametrize(("used", "limit"), [(1, 0), (9, 0), (10, 1), (199, 1), (200, 2)])
def test_rare_means_one_in_a_hundred(used: int, limit: int) -> None:
    assert hardly(used) == limit


def test_scores_of_coverage_metrics_are_ratios() -> None:
    result = small_result()
    assert is_score_ratio(result, "nc/unit")
    assert is_score_ratio(result, "nc-suite channel")
    assert not is_score_ratio(result, "tknc")
    assert not is_score_ratio(result, "")


def test_a_layer_always_has_a_title() -> None:
    for layer in hostile_result().layers:
        assert layer_title(layer).strip()
