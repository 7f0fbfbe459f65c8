"""Which images are shown, against sorting all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.coverage import Extremes, Scores
from tests.coverage.suites import thorough

NAMES = ("tc/unit", "nc/unit", "nc/channel")
LOW, HIGH = "lowest coverage", "highest coverage"


def ranked(scores: list[float], count: int = 5, batch: int = 3) -> list[tuple[str, int]]:
    extremes = Extremes(NAMES, count)
    for first in range(0, len(scores), batch):
        part = scores[first : first + batch]
        model = np.float64([[9 - index, score, 0] for index, score in enumerate(part)])
        indexes = range(first, first + len(part))
        layers = np.zeros((len(part), 2, 3))
        extremes.add([f"{index}.png" for index in indexes], indexes, Scores(model, layers))
    found = extremes.ranked()
    for _, image in found:
        assert image.name == f"{image.index}.png"
        assert image.score == image.model[1] == scores[image.index]
    return [(role, image.index) for role, image in found]


SCORES = st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.5, 1]), max_size=25)


@thorough(150)
@given(st.lists(st.floats(0, 1), min_size=10, max_size=40, unique=True), st.integers(1, 8))
def test_the_extremes_of_a_sorted_suite(scores: list[float], batch: int) -> None:
    order = sorted(range(len(scores)), key=lambda index: scores[index])
    wanted = [(LOW, index) for index in order[:5]]
    wanted += [(HIGH, index) for index in order[::-1][:5]]
    assert ranked(scores, batch=batch) == wanted


@thorough(150)
@given(SCORES, st.integers(1, 8))
def test_no_image_is_shown_twice_and_the_sides_do_not_cross(scores: list, batch: int) -> None:
    found = ranked(scores, batch=batch)
    shown = [index for _, index in found]
    assert len(set(shown)) == len(shown)
    assert len(shown) >= min(len(scores), 5)
    if len(set(scores)) == len(scores):
        assert len(shown) == min(len(scores), 10)
    low = [scores[index] for role, index in found if role == LOW]
    high = [scores[index] for role, index in found if role == HIGH]
    assert low == sorted(low) and high == sorted(high, reverse=True)
    assert not low or not high or max(low) <= min(high)
    if scores:
        assert min(scores) in (*low, *high) and max(scores) in high
    assert ranked(scores, batch=25) == found


def test_of_equal_scores_the_earlier_image_ranks_first() -> None:
    scores = [0.5, 0.1, 0.1, 0.5, 0.5, 0.9, 0.9, 0.3, 0.4, 0.9]
    assert ranked(scores, count=2) == [(LOW, 1), (LOW, 2), (HIGH, 5), (HIGH, 6)]
    assert ranked(scores, count=1) == [(LOW, 1), (HIGH, 5)]


def test_of_equal_scores_the_earlier_ranks_first_in_a_small_suite_too() -> None:
    assert ranked([0.1, 0.9, 0.9, 0.1]) == [(LOW, 0), (LOW, 3), (HIGH, 1), (HIGH, 2)]


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([], []),
        ([0.5], [(HIGH, 0)]),
        ([0.5, 0.1], [(LOW, 1), (HIGH, 0)]),
        ([0.2, 0.1, 0.3], [(LOW, 1), (HIGH, 2), (HIGH, 0)]),
    ],
)
def test_small_suites(scores: list[float], wanted: list[tuple[str, int]]) -> None:
    assert ranked(scores) == wanted


def test_an_image_without_a_score_is_not_ranked() -> None:
    assert ranked([math.nan, 0.5, math.nan, 0.1]) == [(LOW, 3), (HIGH, 1)]


def test_memory_does_not_grow() -> None:
    extremes = Extremes(NAMES, 3)
    for index in range(200):
        score = Scores(np.float64([[0, index % 17, 0]]), np.zeros((1, 2, 3)))
        extremes.add(["x"], [index], score)
    assert len(extremes._low) == len(extremes._high) == 3


def test_a_score_is_kept_though_its_array_is_used_again() -> None:
    extremes = Extremes(NAMES, 1)
    scores = Scores(np.float64([[1, 2, 3]]), np.ones((1, 2, 3)))
    extremes.add(["x"], [0], scores)
    scores.model[:], scores.layers[:] = 0, 0
    (_, image), *_ = extremes.ranked()
    assert image.model.tolist() == [1, 2, 3] and image.layers.all()
