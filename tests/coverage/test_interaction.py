"""The closed forms of ss, sv, vs and vv against a look at every pair of neurons."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.coverage import METRICS, Parameters
from cleanai_onnx.coverage.metric import Evidence, LayerEvidence
from cleanai_onnx.coverage.pairs import PairCounts, count_pair
from cleanai_onnx.result import Table
from tests.coverage import brute_force
from tests.coverage.suites import thorough

NAMES = ("ss", "sv", "vs", "vv")
Layer = tuple[np.ndarray, np.ndarray]


def table(metric: str, layers: list[Layer], parameters: Parameters) -> Table:
    counts = tuple(count_pair(a, b, parameters.value_threshold) for a, b in layers)
    evidence = Evidence(
        inputs=2,
        after_bounds=0,
        layers=tuple(of_layer(f"layer {n}", len(a)) for n, (a, _) in enumerate(layers)),
        pair=counts,
        pair_names=("first.png", "second.png"),
        adjacency=tuple(itertools.pairwise(range(len(layers)))),
    )
    return METRICS[metric].table("unit", evidence, parameters)


def of_layer(name: str, size: int) -> LayerEvidence:
    return LayerEvidence(name, size, (), 0, 0.0, 0.0, 0.0, 2)


# A neuron that keeps its sign most of the time, so that layers with no sign change, with one, and
# with several are all met often.
VALUES = st.sampled_from([(1, 1), (1, 1.5), (1, 3), (-1, -1.03), (-1, -2), (1, -1), (0, 0), (0, 1)])
STEADY = st.sampled_from([(1, 1), (1, 1.5), (1, 3), (-1, -1.03), (-1, -1.1), (-1, -2)])


@st.composite
def layer_of_pair(draw: st.DrawFn) -> Layer:
    pairs = draw(st.lists(STEADY, min_size=0, max_size=6))
    pairs += draw(st.lists(VALUES, min_size=0 if pairs else 1, max_size=2))
    a, b = np.float32(draw(st.permutations(pairs))).T
    return a.copy(), b.copy()


@thorough(150)
@given(
    st.lists(layer_of_pair(), min_size=2, max_size=4),
    st.sampled_from([0.05, 0.5, 0.75, 1.5]),
    st.booleans(),
)
def test_closed_forms(layers: list[Layer], t: float, compat: bool) -> None:
    parameters = Parameters(value_threshold=t, cleanai_compat=compat)
    for name in NAMES:
        t_there = 0.05 if name == "vv" and compat else t
        found = table(name, layers, parameters)
        wanted = [
            (
                f"layer {n}",
                f"layer {n + 1}",
                (covered := brute_force.interaction(name, here, there, t, t_there)),
                (total := len(here[0]) * len(there[0])),
                covered / total,
            )
            for n, (here, there) in enumerate(itertools.pairwise(layers))
        ]
        assert list(found.rows) == wanted
        covered, total = sum(row[2] for row in wanted), sum(row[3] for row in wanted)
        assert found.total == ("all layers", None, covered, total, covered / total)


def pair(*pairs: tuple[float, float]) -> Layer:
    a, b = np.float32(pairs).T
    return a, b


STILL, SIGN, VALUE, BOTH, SMALL = (1, 1), (0.1, -0.1), (1, 3), (-1, 3), (1, 1.1)


@pytest.mark.parametrize(
    ("here", "there", "counts"),
    [
        # i changes sign alone: it meets the sign changes, and the value changes without one.
        ((SIGN, STILL), (SIGN, VALUE, BOTH, STILL), {"ss": 2, "sv": 1, "vs": 0, "vv": 0}),
        # i changes value, nobody changes sign.
        ((VALUE, VALUE, STILL), (SIGN, VALUE), {"ss": 0, "sv": 0, "vs": 2, "vv": 2}),
        # i changes value and sign, nobody else changes sign: the other value change does not count.
        ((BOTH, VALUE, STILL), (SIGN, VALUE), {"ss": 1, "sv": 1, "vs": 1, "vv": 1}),
        # The one sign change is elsewhere: no value change counts.
        ((SIGN, VALUE, VALUE), (SIGN, VALUE), {"ss": 1, "sv": 1, "vs": 0, "vv": 0}),
        # Two sign changes: nothing counts.
        ((SIGN, BOTH, VALUE), (SIGN, VALUE), {"ss": 0, "sv": 0, "vs": 0, "vv": 0}),
        ((STILL,), (SIGN, VALUE), {"ss": 0, "sv": 0, "vs": 0, "vv": 0}),
    ],
)
def test_cases_by_hand(here, there, counts) -> None:
    layers = [pair(*here), pair(*there)]
    for name, count in counts.items():
        assert table(name, layers, Parameters()).rows[0][2] == count, name


def test_compat_takes_a_small_change_for_one_in_the_second_layer_of_vv_only() -> None:
    layers = [pair(VALUE, STILL), pair(SMALL, STILL)]
    compat = Parameters(cleanai_compat=True)
    assert table("vv", layers, compat).rows[0][2] == 1
    assert table("vv", layers, Parameters()).rows[0][2] == 0
    assert table("sv", [pair(SIGN), layers[1]], compat).rows[0][2] == 0
    # The first layer keeps the threshold that was given.
    assert table("vv", [layers[1], layers[1]], compat).rows[0][2] == 0


def test_the_report_says_which_thresholds_were_used() -> None:
    layers = [pair(VALUE), pair(VALUE)]
    given_ = Parameters(value_threshold=0.25)
    assert table("vv", layers, given_).parameters == {"t": 0.25, "t of the next layer": 0.25}
    compat = replace(given_, cleanai_compat=True)
    assert table("vv", layers, compat).parameters == {"t": 0.25, "t of the next layer": 0.05}
    assert table("vs", layers, compat).parameters == {"t": 0.25}
    assert table("ss", layers, compat).parameters == {}


def test_totals_pass_64_bits_exactly() -> None:
    """Python integers: layers of 2**33 neurons, all but one of which change value."""
    size = 2**33 + 1
    many = PairCounts(size, 0, 0, size - 1, 0, size - 1, 0)
    evidence = Evidence(
        2, 0, (of_layer("a", size), of_layer("b", size)), (many, many), None, ((0, 1),)
    )
    found = METRICS["vv"].table("unit", evidence, Parameters())
    assert found.rows[0][2:4] == ((size - 1) ** 2, size**2)
    assert found.total[2:4] == ((size - 1) ** 2, size**2)


@pytest.mark.parametrize("name", NAMES)
def test_one_layer_has_no_neighbour(name: str) -> None:
    found = table(name, [pair(VALUE)], Parameters())
    assert found.rows == ()
    assert found.total == ("all layers", None, 0, 0, None)
    assert any("fewer than two" in note for note in found.notes)


@pytest.mark.parametrize("name", [*NAMES, "sc", "sc-strict", "vc"])
def test_without_a_pair_the_report_says_why_there_is_nothing(name: str) -> None:
    evidence = Evidence(1, 0, (of_layer("a", 3), of_layer("b", 3)), None, None, ((0, 1),))
    found = METRICS[name].table("unit", evidence, Parameters())
    assert found.coverage is None
    assert any("needs two images" in note for note in found.notes)


def test_the_pair_is_named() -> None:
    assert "first.png and second.png" in " ".join(table("ss", [pair(SIGN)] * 2, Parameters()).notes)
