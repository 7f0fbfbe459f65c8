"""Sets written and read in each form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanai_onnx.selection.packing import LARGEST_ITEM, Form, pack, unpack


@pytest.mark.parametrize(
    ("size", "items", "form", "length"),
    [
        (10**6, [], Form.WORDS, 0),
        (10**6, [0, 65_535, 65_536, 999_999], Form.WORDS, 16),
        (10**6, range(3, 10**6, 1_000), Form.BLOCKS, 4 * 16 + 2 * 1_000),
        (10**6, range(1, 10**6, 2), Form.BITS, 125_000),
        (11, [0, 10], Form.BITS, 2),
        (LARGEST_ITEM + 1, [0, LARGEST_ITEM], Form.WORDS, 8),
    ],
)
def test_the_smallest_form(size, items, form, length):
    chosen, content = pack(np.array(items, np.int64), size)
    assert (chosen, len(content)) == (form, length)
    assert unpack(chosen, content, size).tolist() == list(items)


@settings(deadline=None)
@given(size=st.integers(1, 400_000), count=st.integers(0, 40_000), seed=st.integers(0, 2**32 - 1))
def test_what_is_read_is_what_was_written(size, count, seed):
    items = np.unique(np.random.default_rng(seed).integers(0, size, count))
    read = unpack(*pack(items, size), size)
    assert read.dtype == np.int64
    assert np.array_equal(read, items)
