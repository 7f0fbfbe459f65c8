from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.suite import Suite, sample


@given(st.integers(1, 300), st.data(), st.integers(0, 2**40))
def test_a_sample_is_sorted_distinct_and_of_its_size(population, data, seed) -> None:
    size = data.draw(st.integers(1, population))
    chosen = sample(population, size, seed)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == size
    assert chosen[0] >= 0 and chosen[-1] < population


def test_samples_stay_the_same_from_version_to_version() -> None:
    assert sample(1000, 5, 0) == [258, 419, 511, 755, 841]
    assert sample(1000, 5, 1) != sample(1000, 5, 0)


def test_every_item_can_be_sampled() -> None:
    assert {one for seed in range(100) for one in sample(6, 2, seed)} == set(range(6))


def _suite(*files: str) -> Suite:
    return Suite("images", "files", len(files), "/nowhere", tuple(files))


def test_limit_keeps_order_and_the_number_found() -> None:
    suite = _suite(*(f"{n}.png" for n in range(50)))
    limited = suite.limited(7, seed=3)
    assert len(limited) == 7
    assert limited.found == 50
    assert list(limited.files) == sorted(limited.files, key=suite.files.index)
    assert limited.files == suite.limited(7, seed=3).files
    assert suite.limited(50) is suite
    assert suite.limited(None) is suite


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_must_be_positive(limit: int) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        _suite("a.png").limited(limit)


def test_find_by_name_and_by_the_end_of_the_path() -> None:
    suite = _suite("1/a.png", "2/a.png", "2/b.png", "b.png")
    assert suite.find("1/a.png") == 0
    assert suite.find("b.png") == 3
    with pytest.raises(UsageError, match=r"'1/a\.png' and '2/a\.png'"):
        suite.find("a.png")
    with pytest.raises(UsageError, match=r"did you mean '2/b\.png'"):
        suite.find("2/c.png")
