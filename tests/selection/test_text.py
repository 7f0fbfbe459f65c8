"""Texts in a temporary file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.selection import TextRecord


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=())))))
def test_what_is_read_is_what_was_written(batches: list[list[str]]) -> None:
    record = TextRecord()
    for batch in batches:
        record.extend(batch)
    texts = [text for batch in batches for text in batch]
    assert [record[number] for number in range(len(record))] == texts
    with pytest.raises(IndexError):
        record[len(texts)]
    record.close()
