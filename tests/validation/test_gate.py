"""Gates as they are written: what is understood, and what is refused before anything runs."""

from __future__ import annotations

import re
import tomllib
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.coverage import METRICS as MEASURED
from cleanai_onnx.coverage import PROFILED
from cleanai_onnx.errors import UsageError
from cleanai_onnx.validation import Gate, gates_of, gates_of_table, gates_of_text
from cleanai_onnx.validation.gate import METRICS
from cleanai_onnx.validation.gate import PROFILED as NEED_A_PROFILE


def one(text: str) -> Gate:
    (gate,) = gates_of_text(text, "--fail-under", "command line")
    return gate


def table(text: str) -> tuple[Gate, ...]:
    return gates_of_table(tomllib.loads(text)["gates"], "x.toml: gates", "x.toml")


def test_the_metrics_are_those_of_the_tables() -> None:
    profiled = {metric.id for family in PROFILED for metric in family.metrics}
    without_a_number = {"mnc", "idc-neurons"}
    in_compat_mode = {"idc-deepimportance-2020"}
    others = {"dead-channels", "skipped-images", "parity"}
    others |= {"agreement", "difference", "relative-difference"}
    known = ({*MEASURED} | profiled | in_compat_mode | others) - without_a_number
    assert set(METRICS) == known
    assert (profiled | in_compat_mode) - without_a_number == NEED_A_PROFILE


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("nc=30%", Fraction(3, 10)),
        ("nc=0.3", Fraction(3, 10)),
        ("nc=33.3%", Fraction(333, 1000)),
        ("nc=7 %", Fraction(7, 100)),
        (" nc = .5 ", Fraction(1, 2)),
        ("nc=1e-3", Fraction(1, 1000)),
        ("nc=0", Fraction(0)),
        ("nc=100%", Fraction(1)),
        ("nc=1", Fraction(1)),
    ],
)
def test_a_share_is_exactly_what_is_written(text: str, limit: Fraction) -> None:
    gate = one(text)
    assert gate.limit == limit
    assert (gate.metric, gate.view, gate.layers) == ("nc", None, None)
    assert (gate.bound, gate.kind) == ("min", "ratio")
    assert (gate.text, gate.origin) == (text.strip(), "command line")


def test_views_and_several_gates() -> None:
    found = gates_of_text(["nc=30%,kmnc/channel=45%", "lsa=50"], "--fail-under", "command line")
    assert [(gate.metric, gate.view, gate.bound) for gate in found] == [
        ("nc", None, "min"),
        ("kmnc", "channel", "min"),
        ("lsa", None, "max"),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "limit"),
    [
        ("dead-channels=3", "count", 3),
        ("dead-channels=0", "count", 0),
        ("dead-channels=3%", "ratio", Fraction(3, 100)),
        ("dead-channels=0.03", "ratio", Fraction(3, 100)),
        ("dead-channels=1.0", "ratio", 1),
        ("skipped-images=1", "count", 1),
        ("skipped-images=1%", "ratio", Fraction(1, 100)),
    ],
)
def test_a_count_or_a_share_as_it_is_written(text: str, kind: str, limit: Fraction) -> None:
    gate = one(text)
    assert (gate.kind, gate.limit, gate.bound) == (kind, limit, "max")


REFUSED = {
    "": "is empty",
    ",": "is empty",
    "80": "must be METRIC=LIMIT such as nc=30%",
    "nc=": "must be METRIC=LIMIT",
    "=30%": "must be METRIC=LIMIT",
    "ncc=30%": "ncc is not a metric that a gate knows; did you mean nc?",
    "kmcn=30%": "did you mean kmnc?",
    "dead-channel=1": "did you mean dead-channels?",
    "zzzzz=1": "known are nc, tc",
    "mnc=30%": "mnc has a number for each interval",
    "nc=30": "must be a share from 0 % to 100 %, written as 30% or 0.3, not 30",
    "nc=101%": "must be a share",
    "nc=-1%": "must be a share",
    "nc=x": "must be a number",
    "nc=nan": "must be a number",
    "nc=inf": "must be a number",
    "nc=1/2": "must be a number",
    "nc=1e999": "must be a number",
    "nc=%": "must be a number",
    "nc/units=30%": "the view must be unit or channel",
    "skipped-images/unit=1": "has no neuron view",
    "lsa=5%": "is no share",
    "dead-channels=-1": "must not be negative",
    "dead-channels=130%": "must be a share",
    "nc\x1b[31m=1": "nc?[31m is not a metric",
}


@pytest.mark.parametrize(("text", "what"), REFUSED.items())
def test_what_is_refused_on_the_command_line(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        one(text)
    assert str(caught.value).startswith("--fail-under")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_the_forms_of_a_file() -> None:
    found = table(
        """
        [gates]
        nc = "30%"
        "kmnc/channel" = 0.45
        dead-channels = 0
        nc-suite = { layers = "conv*", view = "channel", min = 0.3, max-drop = 0.02 }
        tc = ["1%", { layers = "*", max = "50%" }]
        lenient = { metric = "sc", max-relative-drop = "5%" }
        [[gates.vc]]
        max-relative-rise = 1.5
        """
    )
    assert [(g.metric, g.view, g.layers, g.bound, g.limit) for g in found] == [
        ("nc", None, None, "min", Fraction(3, 10)),
        ("kmnc", "channel", None, "min", Fraction(45, 100)),
        ("dead-channels", None, None, "max", 0),
        ("nc-suite", "channel", "conv*", "min", Fraction(3, 10)),
        ("nc-suite", "channel", "conv*", "max-drop", Fraction(2, 100)),
        ("tc", None, None, "min", Fraction(1, 100)),
        ("tc", None, "*", "max", Fraction(1, 2)),
        ("sc", None, None, "max-relative-drop", Fraction(5, 100)),
        ("vc", None, None, "max-relative-rise", Fraction(3, 2)),
    ]
    assert {gate.origin for gate in found} == {"x.toml"}
    assert found[0].text == 'nc = "30%"'
    assert found[4].text == 'nc-suite = { view = "channel", layers = "conv*", max-drop = 0.02 }'
    assert [gate.is_relative for gate in found] == [False] * 4 + [True] + [False] * 2 + [True] * 2


def test_an_array_of_tables() -> None:
    found = table('[[gates]]\nmetric = "nc"\nmin = 0.3\n[[gates]]\nmetric = "nc"\nmax = 0.9\n')
    assert [(gate.metric, gate.bound) for gate in found] == [("nc", "min"), ("nc", "max")]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("gates = 5", "must be a table of gates"),
        ("gates = [5]", "must be tables"),
        ("gates = [{ min = 0.3 }]", "needs the key metric"),
        ("[gates]\nnc = true", "nc must be a number"),
        ("[gates]\nnc = inf", "nc must be a number"),
        ("[gates]\nnc = 30", "nc must be a share"),
        ("[gates]\nnc = []\nncc = 1", "did you mean nc?"),
        ("[gates]\nnc = {}", "nc sets no limit"),
        ("[gates]\nnc = { mim = 0.3 }", "mim is not a key of a gate; did you mean min?"),
        ("[gates]\nnc = { max_drop = 0.3 }", "did you mean max-drop?"),
        ("[gates]\nnc = { q = 0.3 }", "it may have metric, view"),
        ("[gates]\nnc = { min = 0.3, layers = 5 }", "layers must be text"),
        ('[gates]\nnc = { min = 0.3, layers = "" }', "layers must be text"),
        ('[gates]\nnc = { min = 0.3, view = "neuron" }', "view must be unit or channel"),
        ('[gates]\n"nc/unit" = { min = 0.3, view = "channel" }', "names two views"),
        ('[gates]\nparity = { max = 0.3, layers = "a" }', "has no layers"),
        ("[gates]\nnc = { max-drop = -0.1 }", "must be a share"),
        ("[gates]\nlsa = { max-rise = -0.1 }", "must not be negative"),
        ("[gates]\nnc = { max-relative-drop = -0.1 }", "a share of 0 or more"),
    ],
)
def test_what_is_refused_in_a_file(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        table(text)
    assert str(caught.value).startswith("x.toml: gates")
    assert str(caught.value).isprintable()


def test_what_python_may_give() -> None:
    gates = gates_of("nc=30%")
    assert gates[0].origin == "Python"
    assert gates_of([gates[0], "tc=1%"])[0] is gates[0]
    assert gates_of({"nc": {"min": 0.3}})[0].limit == gates[0].limit
    with pytest.raises(UsageError, match="did you mean"):
        gates_of({"cn": 0.3})


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
named = st.dictionaries(
    st.sampled_from(["nc", "lsa", "dead-channels", "x"]),
    json_like
    | st.dictionaries(st.sampled_from(["min", "max-drop", "layers", "metric"]), json_like),
)


@given(json_like | named)
def test_whatever_a_file_holds_is_understood_or_refused_in_a_sentence(content: Any) -> None:
    try:
        gates = gates_of_table(content, "x.toml: gates", "x.toml")
    except UsageError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 500
    else:
        assert all(gate.metric in METRICS for gate in gates)
