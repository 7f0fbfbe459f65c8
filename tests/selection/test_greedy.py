"""The greedy order against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from cleanai_onnx.selection import index as index_module
from cleanai_onnx.selection.greedy import rank, without_redundant
from cleanai_onnx.selection.index import ImageIndex
from tests.selection.brute_force import covered_by, greedy, record_of, suites


def ranked(sets, among=None):
    record = record_of(sets)
    with ImageIndex(record) as index:
        return rank(record, index, among)


@settings(deadline=None)
@given(sets=suites(images=20))
def test_is_the_definition(sets):
    ranking = ranked(sets)
    assert (ranking.order.tolist(), ranking.gains.tolist()) == greedy(sets)


def test_in_small_pieces(monkeypatch):
    """Many chunks of the index, and many pieces of what is looked up."""
    monkeypatch.setattr(index_module, "CHUNK_PAIRS", 7)
    monkeypatch.setattr(index_module, "GATHERED_PAIRS", 3)
    rng = np.random.default_rng(1)
    sets = [set(rng.integers(0, 14, 5).tolist()) for _ in range(60)]
    sets += [set(rng.integers(0, 14, 1).tolist()) for _ in range(60)]
    ranking = ranked(sets)
    assert (ranking.order.tolist(), ranking.gains.tolist()) == greedy(sets)


def test_more_images_than_two_bytes_number():
    sets = [{image % 12} for image in range(66_000)]
    sets[65_900] = {0, 1, 2, 13}
    ranking = ranked(sets)
    assert ranking.order.tolist() == [65_900, *range(3, 12)]


def test_ties_go_to_the_earlier_image():
    assert ranked([{5}, {1, 2}, {3, 4}, {1, 2}]).order.tolist() == [1, 2, 0]


@settings(deadline=None)
@given(sets=suites())
def test_among_some_images(sets):
    among = np.arange(0, len(sets), 2)
    ranking = ranked(sets, among)
    hidden = [items if image % 2 == 0 else set() for image, items in enumerate(sets)]
    assert (ranking.order.tolist(), ranking.gains.tolist()) == greedy(hidden)


@settings(deadline=None)
@given(sets=suites())
def test_without_redundant_images_each_is_needed(sets):
    images = list(range(len(sets)))
    stay = without_redundant(record_of(sets), images).tolist()
    assert stay == sorted(stay)
    assert covered_by(sets, stay) == covered_by(sets, images)
    for image in stay:
        assert sets[image] - covered_by(sets, [other for other in stay if other != image])
