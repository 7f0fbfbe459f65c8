"""Outputs of two models compared, against numpy over all images at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cleanai_onnx.validation.outputs import COLUMNS, WORST, OutputComparison, Rows

values = st.floats(width=32) | st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf])
pairs = st.tuples(st.integers(1, 25), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.float32, shape, elements=values),
        arrays.arrays(np.float32, shape, elements=values),
    )
)


def compared(
    old: np.ndarray, new: np.ndarray, cuts: list[int], classes: int | None
) -> tuple[OutputComparison, np.ndarray]:
    """Compare in batches that end at `cuts`."""
    one = OutputComparison("y", "z", old.shape[1:], classes)
    found = []
    ends = sorted({min(cut, len(old)) for cut in cuts} | {len(old)})
    start = 0
    for end in ends:
        indexes = range(start, end)
        if indexes:
            part = Rows([f"i{i}" for i in indexes], indexes, old[start:end], new[start:end])
            found.append(one.add(part))
        start = end
    return one, np.concatenate(found)


@given(pairs, st.lists(st.integers(0, 25), max_size=3), st.booleans())
def test_against_all_at_once(
    pair: tuple[np.ndarray, np.ndarray], cuts: list[int], has_classes: bool
) -> None:
    old, new = pair
    classes = old.shape[1] if has_classes else None
    one, rows = compared(old, new, cuts, classes)
    facts = one.facts
    count = len(old)
    apart = []
    for a, b in zip(old.astype(float).tolist(), new.astype(float).tolist(), strict=True):
        differences = [0.0 if x == y else abs(x - y) for x, y in zip(a, b, strict=True)]
        apart.append(math.nan if any(map(math.isnan, differences)) else max(differences))
    finite = [d for d in apart if math.isfinite(d)]
    assert facts.images == count
    assert facts.not_finite == count - len(finite)
    assert facts.maximum == (max(finite) if finite else None)
    if finite:
        assert facts.maximum_image == f"i{apart.index(max(finite))}"
        assert facts.mean == pytest.approx(sum(x / len(finite) for x in finite), rel=1e-9)
    choices = [
        [None if np.isnan(row).any() else int(row.argmax()) for row in side] for side in pair
    ]
    same = sum(a == b is not None for a, b in zip(*choices, strict=True) if a is not None)
    assert facts.agreeing == (same if has_classes else None)
    assert rows.shape == (count, len(COLUMNS))
    np.testing.assert_array_equal(rows[:, 3], np.array(apart))
    for row, (a, b) in enumerate(zip(*choices, strict=True)):
        known = has_classes and a is not None and b is not None
        assert np.isnan(rows[row, 2]) if not known else rows[row, 2] == (a == b)


@given(pairs)
def test_the_worst_images_do_not_depend_on_the_batches(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    old, new = pair
    whole, _ = compared(old, new, [], old.shape[1])
    single, _ = compared(old, new, list(range(len(old))), old.shape[1])
    assert repr(single.worst) == repr(whole.worst)  # a NaN does not equal itself
    assert single.facts == whole.facts


def test_the_order_of_the_worst() -> None:
    old = np.array([[1, 2], [1, 2], [1, 2], [0, 10], [1, 2], [5, 5]], np.float32)
    new = np.array([[1, 2], [1, 3], [3, 2], [0, 14], [math.nan, 2], [5, 5]], np.float32)
    one, _ = compared(old, new, [], 2)
    assert [image.name for image in one.worst] == ["i4", "i2", "i1", "i3"]
    assert [image.classes for image in one.worst] == [None, (1, 0), (1, 1), (1, 1)]
    assert [image.other_class for image in one.worst] == [False, True, False, False]
    facts = one.facts
    assert (facts.agreeing, facts.images, facts.not_finite) == (4, 6, 1)
    assert (facts.relative, facts.relative_image) == (1.0, "i2")
    assert (facts.maximum, facts.maximum_image) == (4.0, "i3")


def test_no_more_than_a_few_are_kept() -> None:
    old = np.zeros((500, 2), np.float32)
    new = np.tile(np.arange(500, dtype=np.float32)[:, None], (1, 2))
    old[:, 0] = 1000
    one, _ = compared(old, new, [100, 200], None)
    assert [image.name for image in one.worst] == [f"i{i}" for i in range(WORST)]


def test_relative_to_nothing() -> None:
    one, rows = compared(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32), [], None)
    assert rows[0, 4] == math.inf
    assert one.facts.relative is None
    assert one.facts.maximum == 1.0
    equal, _ = compared(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32), [], None)
    assert equal.facts.relative == 0.0
    assert equal.worst == ()
