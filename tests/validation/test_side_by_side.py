"""Two results side by side."""

from __future__ import annotations

import json as stdlib_json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cleanai_onnx
from cleanai_onnx.difference import FORMAT_VERSION, Difference
from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.difference import as_json, changed, signed
from cleanai_onnx.report.json import record_from
from cleanai_onnx.validation import diff
from tests.report.results import hostile_result, resnet50_like, small_result
from tests.validation.made import coverage, layer, result, surprise

shares = st.integers(1, 50).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole)))


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=4))
def test_every_number_and_its_change(
    pairs: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    old, new = (
        result(coverage({f"l{i}": pair[side] for i, pair in enumerate(pairs)})) for side in (0, 1)
    )
    found = diff(old, new)
    (metric,) = found.metrics
    was, is_ = (result_.table("nc").coverage for result_ in (old, new))
    assert was is not None
    assert is_ is not None
    assert (metric.old, metric.new, metric.kind) == (was, is_, "ratio")
    assert metric.change == pytest.approx(is_ - was, abs=1e-15)
    assert [one.layer for one in found.layers] == [f"l{i}" for i in range(len(pairs))]
    for one, (before, after) in zip(found.layers, pairs, strict=True):
        assert (one.old, one.new) == (before[0] / before[1], after[0] / after[1])
        assert one.change == pytest.approx(after[0] / after[1] - before[0] / before[1], abs=1e-15)


def test_a_result_is_the_same_as_itself() -> None:
    found = diff(resnet50_like(), resnet50_like())
    assert found.same_model
    assert changed(found) == ()
    assert (found.settings, found.silenced, found.awakened) == ((), (), ())
    assert len(found.pairs) == 49
    views = 2
    measured_by_row = {"ss", "sv", "vs", "vv"}
    tables = resnet50_like().tables
    intervals = 5
    expected = sum(
        (48 if table.metric in measured_by_row else 49)
        * (intervals if table.metric == "mnc" else 1)
        for table in tables
    )
    assert len(found.layers) == expected
    assert len(found.metrics) == len(tables) + (intervals - 1) * views


def test_what_only_one_has() -> None:
    old = result(coverage({"a": (1, 2)}), coverage({"a": (1, 2)}, "tc"))
    new = result(coverage({"a": (1, 2)}), coverage({"a": (1, 4)}, "kmnc", "channel"))
    found = {(one.metric, one.view): one for one in diff(old, new).metrics}
    assert list(found) == [("nc", "unit"), ("kmnc", "channel"), ("tc", "unit")]
    assert (found["kmnc", "channel"].old, found["kmnc", "channel"].new) == (None, 0.25)
    assert (found["tc", "unit"].old, found["tc", "unit"].new) == (0.5, None)
    assert found["tc", "unit"].change is None


def test_other_parameters_have_no_change() -> None:
    old, new = (result(coverage({"a": (1, 2)}, parameters={"t": t})) for t in (0.5, 0.75))
    found = diff(old, new)
    assert found.metrics[0].change is None
    assert found.metrics[0].differs == "t is 0.5 there and 0.75 here"
    assert found.layers == ()


def test_channels_that_fell_silent_and_those_that_fire() -> None:
    layers = (layer("a", channels=4), layer("b", channels=2))
    old = result(layers=layers, firing=((1, 0, 0, 5), (1, 1)))
    new = result(layers=layers, firing=((0, 0, 3, 0), (1, 1)))
    found = diff(old, new)
    assert [(one.layer, one.channels) for one in found.silenced] == [("a", (0, 3))]
    assert [(one.layer, one.channels) for one in found.awakened] == [("a", (2,))]
    wider = result(layers=(layer("a", channels=5), layers[1]), firing=((0,) * 5, (0, 1)))
    assert [(one.layer, one.channels) for one in diff(old, wider).silenced] == [("b", (0,))]


def test_layers_of_other_names_and_those_without_a_counterpart() -> None:
    old = result(coverage({"x": (1, 4), "y": (1, 2)}), layers=(layer("x", "m.a"), layer("y")))
    new = result(coverage({"z": (3, 4)}), layers=(layer("z", "m.a"),))
    found = diff(old, new)
    assert [(pair.old, pair.new, pair.by) for pair in found.pairs] == [("x", "z", "label")]
    assert (found.only_old, found.only_new) == (("y",), ())
    assert [(one.old_layer, one.layer, one.change) for one in found.layers] == [("x", "z", 0.5)]


def test_settings_that_are_not_the_same() -> None:
    old = small_result()
    fields = tuple(
        replace(one, value="0.5") if one.name == "mean" else one for one in old.preprocessing
    )
    run = replace(old.run, options={**old.run.options, "threshold": 0.5, "batch size": 3, "m": 6})
    found = diff(old, replace(old, preprocessing=fields, run=run))
    assert [(one.name, one.old, one.new) for one in found.settings] == [
        ("mean", "0.485, 0.456, 0.406", "0.5"),
        ("threshold", "0.75", "0.5"),
    ]


def test_surprise_is_that_of_the_worst_image() -> None:
    def measured(highest: float, infinite: int = 0) -> Difference:
        new = result(surprise([("a", 9, 0, infinite, -1.0, 2.0, highest)]), layers=(layer("a"),))
        old = result(surprise([("a", 9, 0, 0, -1.0, 2.0, 7.5)]), layers=(layer("a"),))
        return diff(old, new)

    assert measured(9.0).metrics[0].change == 1.5
    assert measured(9.0, 1).metrics[0].change == math.inf


def test_it_is_stored_and_read_without_loss(tmp_path: Path) -> None:
    paths = [
        resnet50_like().to_json(tmp_path / "a.json"),
        small_result().to_json(tmp_path / "b.json"),
    ]
    found = diff(*paths)
    assert found == diff(resnet50_like(), small_result())
    text = as_json(found).decode()
    assert record_from(Difference, text, FORMAT_VERSION) == found
    assert found.to_frame().columns.tolist() == ["metric", "view", "old", "new", "change"]
    assert cleanai_onnx.diff is diff


def test_hostile_names_and_numbers() -> None:
    text = as_json(diff(hostile_result(), small_result())).decode()
    stdlib_json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name}"))
    diff(small_result(), hostile_result())
    diff(hostile_result(), hostile_result())


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (0.0, "ratio", "="),
        (0.015, "ratio", "+1.50"),
        (-0.015, "ratio", "-1.50"),
        (1e-9, "ratio", "+<0.01"),
        (None, "ratio", "—"),
        (-0.25, "value", "-0.25"),
        (math.inf, "value", "+∞"),
    ],
)
def test_a_change_in_words(change: float | None, kind: str, text: str) -> None:
    assert signed(change, kind) == text  # type: ignore[arg-type]


def test_what_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        diff(tmp_path / "a.json", small_result())
