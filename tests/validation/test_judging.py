"""Gates judged, against arithmetic in whole numbers, and what the sentences say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report import json
from cleanai_onnx.result import (
    GateOutcome,
    ProfileFacts,
    Result,
    RunFacts,
    SkippedImage,
)
from cleanai_onnx.validation import gates_of_table, judge
from cleanai_onnx.validation.gate import METRICS
from tests.converters.test_conversion import RECORD
from tests.report.results import hostile_result, resnet50_like, small_result, tiny_result
from tests.validation.made import corners, coverage, layer, result, surprise


def judged(one: Result, gates: Any, baseline: Result | None = None) -> GateOutcome:
    """Return the outcome of the only gate."""
    (outcome,) = one.judged(gates, baseline).gates
    assert one.judged(gates, baseline).passed is outcome.passed
    return outcome


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 10_000))
def test_a_share_is_held_against_its_limit_exactly(part: int, whole: int, points: int) -> None:
    part = min(part, whole)
    outcome = judged(result(coverage({"a": (part, whole)})), f"nc={points / 100}%")
    assert outcome.passed is (part * 10_000 >= points * whole)
    assert outcome.value == part / whole
    assert outcome.limit == points / 10_000
    at_most = {"nc": {"max": f"{points / 100}%"}}
    outcome = judged(result(coverage({"a": (part, whole)})), at_most)
    assert outcome.passed is (part * 10_000 <= points * whole)


@given(
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(0, 100),
    st.booleans(),
)
def test_a_change_is_held_against_its_limit_exactly(
    parts: tuple[int, int], wholes: tuple[int, int], points: int, relative: bool
) -> None:
    (old, new) = (min(part, whole) for part, whole in zip(parts, wholes, strict=True))
    before = result(coverage({"a": (old, wholes[0])}))
    after = result(coverage({"a": (new, wholes[1])}))
    was, is_, most = Fraction(old, wholes[0]), Fraction(new, wholes[1]), Fraction(points, 100)
    allowed = most * was if relative else most
    word = "-relative" if relative else ""
    drop = judged(after, {"nc": {f"max{word}-drop": f"{points}%"}}, before)
    assert drop.passed is (was - is_ <= allowed)
    rise = judged(after, {"nc": {f"max{word}-rise": f"{points}%"}}, before)
    assert rise.passed is (is_ - was <= allowed)
    assert drop.baseline == rise.baseline == float(was)
    assert drop.limit == float(was - allowed)
    assert (drop.comparison, rise.comparison) == ("at least", "at most")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5),
       st.integers(0, 10))  # fmt: skip
def test_each_layer_has_to_keep_the_limit(counts: list[tuple[int, int]], tenths: int) -> None:
    shares = [(min(part, whole), whole) for part, whole in counts]
    one = result(coverage({f"conv{i}": pair for i, pair in enumerate(shares)}))
    outcome = judged(one, {"nc": {"layers": "conv*", "min": f"{10 * tenths}%"}})
    short = [i for i, (part, whole) in enumerate(shares) if 10 * part < tenths * whole]
    assert outcome.passed is (not short)
    assert outcome.value == min(part / whole for part, whole in shares)
    if short:
        assert f"falls short in {len(short)} of the" in outcome.text
        worst = min(short, key=lambda i: (Fraction(*shares[i]), i))
        assert f": conv{worst} (" in outcome.text


def test_rounding_hides_nothing() -> None:
    one = result(coverage({"a": (29_999_999, 100_000_000)}))
    outcome = judged(one, "nc=30%")
    assert not outcome.passed
    assert "nc (units) is 29.999999 %, at least 30 % is asked for" in outcome.text
    limits = [judged(one, f"nc={text}") for text in ("29.999999%", "0.29999999", "29.9999991%")]
    assert [outcome.passed for outcome in limits] == [True, True, False]


def test_what_passes_is_said() -> None:
    outcome = judged(small_result(), "nc=1%")
    assert outcome.passed
    table = small_result().table("nc", "unit")
    assert outcome.value == table.coverage
    assert outcome.text.startswith("nc (units) is ")
    assert outcome.text.endswith(" %, at least 1 % is asked for.")
    assert (outcome.gate, outcome.origin, outcome.metric) == ("nc=1%", "Python", "nc")


def test_units_unless_the_metric_has_only_channels() -> None:
    one = result(coverage({"a": (1, 4)}), coverage({"a": (3, 4)}, view="channel"),
                 coverage({"a": (2, 4)}, "kmnc", "channel"))  # fmt: skip
    outcomes = one.judged("nc=0,nc/channel=0,kmnc=0").gates
    assert [(o.view, o.value) for o in outcomes] == [
        ("unit", 0.25), ("channel", 0.75), ("channel", 0.5),
    ]  # fmt: skip
    outcome = judged(one, "kmnc/unit=0")
    assert not outcome.passed
    assert outcome.text == "kmnc (units) could not be judged: it was measured of channels only."


def test_layers_by_name_and_by_label() -> None:
    layers = (layer("/l1/Relu", "block.1"), layer("/l2/Relu", "block.2"), layer("/l3/Relu", "head"))
    names = [one.name for one in layers]
    one = result(coverage(dict(zip(names, [(1, 4), (2, 4), (0, 4)], strict=True))), layers=layers)
    outcome = judged(one, {"nc": {"layers": "block.*", "min": 0.3}})
    assert outcome.text == (
        "nc (units) falls short in 1 of the 2 layers that match block.*, at least 30 % is asked "
        "for: block.1 (25.00 %)."
    )
    assert judged(one, {"nc": {"layers": "/l2/*", "min": 0.3}}).passed
    nothing = judged(one, {"nc": {"layers": "conv*", "min": 0}})
    assert not nothing.passed
    assert nothing.text.endswith(
        "no layer that it is measured in matches 'conv*'; there are block.1, block.2, head."
    )


def test_dead_channels() -> None:
    one = result(
        layers=(layer("a", channels=4), layer("b", channels=2)), firing=((0, 1, 0, 0), (0, 5))
    )
    outcomes = one.judged(
        {
            "dead-channels": [4, 3, "66.67%", "66.66%", {"layers": "b", "max": 1}],
        }
    ).gates
    assert [(o.kind, o.value, o.passed) for o in outcomes] == [
        ("count", 4, True), ("count", 4, False),
        ("ratio", 4 / 6, True), ("ratio", 4 / 6, False),
        ("count", 1, True),
    ]  # fmt: skip
    assert outcomes[1].text == (
        "the number of channels that never fired is 4, at most 3 is asked for; highest in a (3), "
        "b (1)."
    )


def test_skipped_images() -> None:
    skipped = tuple(SkippedImage(f"{i}.png", "broken") for i in range(3))
    images = replace(small_result().images, used=97, skipped=skipped, found=500)
    one = replace(small_result(), images=images)
    outcomes = one.judged("skipped-images=3,skipped-images=2,skipped-images=3%,skipped-images=2.9%")
    assert [(o.value, o.passed) for o in outcomes.gates] == [
        (3, True), (3, False), (0.03, True), (0.03, False),
    ]  # fmt: skip


def test_surprise_of_the_worst_image() -> None:
    rows = (("a", 9, 0, 0, -1.0, 2.0, 7.5), ("b", 9, 0, 0, -4.0, 0.0, 3.5))
    one = result(surprise(rows), layers=(layer("a"), layer("b")))
    assert judged(one, "lsa=7.5").passed
    outcome = judged(one, "lsa=7.4999999")
    assert not outcome.passed
    assert "is 7.5, at most 7.4999999 is asked for" in outcome.text
    assert judged(one, {"lsa": {"layers": "b", "max": 4}}).passed
    infinite = result(surprise([("a", 9, 0, 1, -1.0, 2.0, 7.5)]), layers=(layer("a"),))
    assert judged(infinite, "lsa=1e300").value == math.inf
    assert not judged(infinite, "lsa=1e300").passed
    unknown = result(surprise([("a", 9, 2, 0, -1.0, 2.0, 7.5)]), layers=(layer("a"),))
    outcome = judged(unknown, "lsa=1e300")
    assert (outcome.passed, outcome.value) == (False, None)
    assert "it is undefined for 2 images in a" in outcome.text
    nowhere = result(surprise([]), layers=(layer("a"),))
    assert not judged(nowhere, "lsa=1e300").passed


def test_parity_of_a_conversion() -> None:
    record = RECORD
    model = replace(small_result().model, conversion=record)
    one = replace(small_result(), model=model)
    maximum = Decimal(repr(record.parity.maximum))
    assert judged(one, f"parity={maximum}").passed
    assert not judged(one, f"parity={maximum / 2}").passed
    without = judged(small_result(), "parity=1")
    assert not without.passed
    assert "no record of a conversion" in without.text
    nan = replace(record, parity=replace(record.parity, maximum=math.nan))
    assert not judged(replace(one, model=replace(model, conversion=nan)), "parity=1e300").passed


@pytest.mark.parametrize("cell", [math.nan, None])
@pytest.mark.parametrize("bound", ["min", "max"])
def test_what_is_no_number_never_passes(cell: float | None, bound: str) -> None:
    table = coverage({"a": (1, 2)})
    one = result(replace(table, total=("all layers", 1, 2, cell)))
    outcome = judged(one, {"nc": {bound: 0 if bound == "min" else 1}})
    assert (outcome.passed, outcome.value) == (False, None)


def test_what_was_not_measured_fails_and_says_why() -> None:
    one = result(coverage({"a": (1, 2)}))
    texts = [o.text for o in one.judged("kmnc=0,sc=0,nc-suite=0,lsa=1").gates]
    assert "needs what training images taught (--profile or --train)" in texts[0]
    assert "compares two images" in texts[1]
    assert "this result does not have it" in texts[2]
    assert "--profile or --train" in texts[3]
    assert not any(o.passed for o in one.judged("kmnc=0,sc=0,nc-suite=0,lsa=1").gates)


class TestBaseline:
    DROP = {"nc": {"max-drop": "2%"}}  # noqa: RUF012

    def test_none(self) -> None:
        outcome = judged(result(coverage({"a": (1, 2)})), self.DROP)
        assert (outcome.passed, outcome.limit) == (False, None)
        assert "none was given (--baseline)" in outcome.text

    def test_in_words(self) -> None:
        old, new = (result(coverage({"a": (part, 100)})) for part in (50, 47))
        assert judged(new, self.DROP, old).text == (
            "nc (units) is 47.00 %, at least 48.00 % is asked for: the baseline's 50.00 % less 2 "
            "percentage points."
        )
        relative = {"nc": {"max-relative-drop": "5%"}}
        assert "the baseline's 50.00 % less 5 % of it" in judged(new, relative, old).text

    def test_of_each_layer(self) -> None:
        old = result(coverage({"a": (5, 10), "b": (9, 10)}))
        new = result(coverage({"b": (8, 10), "a": (5, 10)}))
        gate = {"nc": {"layers": "*", "max-drop": "9%"}}
        outcome = judged(new, gate, old)
        assert (outcome.passed, outcome.value, outcome.baseline) == (False, 0.8, 0.9)
        assert "b (80.00 % after 90.00 %)" in outcome.text
        assert judged(new, {"nc": {"layers": "*", "max-drop": "10%"}}, old).passed

    def test_other_names_of_the_layers(self) -> None:
        old = result(coverage({"relu": (5, 10), "relu_1": (9, 10)}))
        new = result(coverage({"/a/Relu": (5, 10), "/b/Relu": (9, 10)}))
        assert judged(new, {"nc": {"layers": "*", "max-drop": 0.0}}, old).passed
        more = result(coverage({"/a/Relu": (5, 10), "/b/Relu": (9, 10), "/c/Relu": (9, 10)}))
        outcome = judged(more, {"nc": {"layers": "*", "max-drop": 0.0}}, old)
        assert not outcome.passed
        assert "no layer that corresponds to /a/Relu" in outcome.text

    def test_another_model_and_other_images_are_said(self) -> None:
        old, new = result(coverage({"a": (1, 2)})), result(coverage({"a": (1, 2)}))
        assert judged(new, self.DROP, old).text.endswith("less 2 percentage points.")
        old = replace(
            old,
            model=replace(old.model, sha256="0" * 64, name="last release"),
            images=replace(old.images, used=7),
        )
        outcome = judged(new, self.DROP, old)
        assert outcome.passed
        assert outcome.text.endswith(
            "(the baseline is of another model (last release), over 7 images instead of 1)."
        )

    def test_another_profile_is_said(self) -> None:
        facts = ProfileFacts(
            "m", "0" * 64, "channel", (), (), ("train",), 5, 0, "none", 0, 0, None, (), 9, "",
            "all", (), {}, "",
        )  # fmt: skip
        new = result(coverage({"a": (1, 2)}, "kmnc", "channel"), profile=facts)
        old = replace(new, profile=replace(facts, images=7))
        outcome = judged(new, {"kmnc": {"max-drop": "2%"}}, old)
        assert outcome.passed
        assert "(the baseline is against other training images (7 images of train))" in outcome.text
        assert "(the baseline" not in judged(new, {"kmnc": {"max-drop": "2%"}}, new).text

    def test_other_parameters_fail(self) -> None:
        old = result(coverage({"a": (1, 2)}, parameters={"t": 0.5}))
        new = result(coverage({"a": (1, 2)}, parameters={"t": 0.75}))
        outcome = judged(new, self.DROP, old)
        assert not outcome.passed
        assert "measured otherwise: t is 0.5 there and 0.75 here" in outcome.text

    def test_other_taps_fail(self) -> None:
        def tapped(*taps: str) -> Result:
            one = result(coverage({"a": (1, 2)}))
            run: RunFacts = replace(one.run, options={"taps": taps})
            return replace(one, run=run)

        assert judged(tapped("activations"), self.DROP, tapped("activations")).passed
        outcome = judged(tapped("activations"), self.DROP, tapped("last-call"))
        assert not outcome.passed
        assert "taps is last-call there and activations here" in outcome.text

    def test_what_the_baseline_lacks(self) -> None:
        old, new = result(coverage({"a": (1, 2)}, "tc")), result(coverage({"a": (1, 2)}))
        outcome = judged(new, self.DROP, old)
        assert not outcome.passed
        assert "of the baseline, this result does not have it" in outcome.text

    def test_from_a_file(self, tmp_path: Path) -> None:
        path = resnet50_like().to_json(tmp_path / "old.json")
        gates = {metric: {"max-drop": 0.0, "max-rise": 0.0} for metric in ("nc", "vv", "sc-suite")}
        outcomes = resnet50_like().judged(gates, path).gates
        assert [outcome.passed for outcome in outcomes] == [True] * 6


def test_the_quotient_of_what_was_counted() -> None:
    """The corners of `nbc-suite` are those below and above together."""
    table = corners(1, 2, 10)
    assert judged(result(table), "nbc-suite=30%").passed
    assert not judged(result(table), "nbc-suite=30.00000001%").passed


def test_names_from_outside_do_no_harm() -> None:
    evil = "\x1b[31m\u202e" + "x" * 500
    outcome = judged(
        result(coverage({evil: (0, 2), "b": (0, 2)})), {"nc": {"layers": "*x*", "min": 1}}
    )
    assert outcome.text.isprintable()
    assert len(outcome.text) < 300
    unknown = result(surprise([(evil, 9, 2, 0, -1.0, 2.0, 7.5)]), layers=(layer(evil),))
    assert judged(unknown, "lsa=1").text.isprintable()
    claim = replace(unknown, model=replace(unknown.model, conversion_remark=evil))
    assert judged(claim, "parity=1").text.isprintable()


@pytest.mark.parametrize("factory", [tiny_result, small_result, hostile_result])
@pytest.mark.parametrize("old", [tiny_result, hostile_result])
def test_whatever_a_stored_result_holds_is_judged(
    factory: Callable[[], Result], old: Callable[[], Result]
) -> None:
    bounds = ("min", "max", "max-drop", "max-relative-drop", "max-rise", "max-relative-rise")
    entries = [
        {"metric": metric, **scope, bound: 0}
        for metric in METRICS
        for bound in bounds
        for scope in ({}, {"layers": "*"}, {"view": "channel"})
        if not (scope and metric in ("parity", "skipped-images", "agreement"))
        and not (metric == "dead-channels" and "view" in scope)
        and "difference" not in metric
        and not (metric == "agreement" and "-" in bound)
    ]
    gates = gates_of_table(entries, "gates", "Python")
    outcomes = judge(factory(), gates, old())
    assert len(outcomes) == len(entries)
    for outcome in outcomes:
        assert outcome.text.isprintable()
        assert len(outcome.text) < 500
        assert not (outcome.passed and outcome.value is None)
        assert outcome.value is None or not math.isnan(outcome.value)
    stored = replace(tiny_result(), gates=outcomes)
    assert json.loads(json.dumps(stored)).gates == outcomes


def test_outcomes_survive_being_stored() -> None:
    one = result(
        surprise([("a", 9, 0, 1, -1.0, 2.0, 7.5)]), coverage({"a": (1, 3)}), layers=(layer("a"),)
    )
    stored = one.judged("nc=30%,lsa=5,kmnc=1%")
    assert json.loads(json.dumps(stored)).gates == stored.gates
    assert [outcome.passed for outcome in stored.gates] == [True, False, False]
    assert not stored.passed
    assert one.passed


def test_wrong_gates_are_errors() -> None:
    with pytest.raises(UsageError, match="did you mean nc"):
        small_result().judged("ncc=30%")
    with pytest.raises(UsageError, match="cannot read"):
        small_result().judged("nc=30%", "missing.json")
