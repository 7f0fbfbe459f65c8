"""Outputs of two models meet image by image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.result import LayerFacts
from cleanai_onnx.validation.meeting import Meeting


def output(shape: tuple[int, ...]) -> LayerFacts:
    return LayerFacts("y", "", "Gemm", shape, 0, int(np.prod(shape)), 1)


def test_what_waits_for_the_other_model_is_let_go() -> None:
    """An image that one of the models skips is not kept for ever."""
    meeting = Meeting(None)
    meeting.begin(output((2,)), output((2,)), 2)
    for start in range(0, 1000, 10):
        indexes = list(range(start, start + 10))
        values = np.ones((10, 2), np.float32)
        meeting.old(values, indexes)
        meeting.passed(0, [f"i{i}" for i in indexes], indexes)
        meeting.new(values[::2], indexes[::2])
        meeting.passed(1, [f"i{i}" for i in indexes[::2]], indexes[::2])
        meeting.compare()
        assert max(map(len, meeting._waiting)) <= 10
        assert len(meeting._names) <= 10
    assert meeting.comparison is not None
    assert meeting.comparison.facts.images == 500


@given(st.data())
def test_in_whatever_batches_they_come(data: st.DataObject) -> None:
    """Both see the images in order; each skips some, and cuts its batches where it likes."""
    meeting = Meeting(None)
    meeting.begin(output((1,)), output((1,)), None)
    seen = [sorted(data.draw(st.sets(st.integers(0, 20)))) for _ in range(2)]
    left = [list(one) for one in seen]
    while any(left):
        for side, take in enumerate((meeting.old, meeting.new)):
            size = data.draw(st.integers(1, 5))
            batch, left[side] = left[side][:size], left[side][size:]
            if batch:
                take(np.array(batch, np.float32)[:, None], batch)
                meeting.passed(side, [f"i{i}" for i in batch], batch)
        meeting.compare()
    assert meeting.comparison is not None
    facts = meeting.comparison.facts
    assert facts.images == len({*seen[0]} & {*seen[1]})
    assert facts.maximum == (0.0 if facts.images else None)


@pytest.mark.parametrize(
    ("old", "new", "remark"),
    [
        (None, None, "the first output of both models is not"),
        (None, output((2,)), "the first output of a model is not"),
        (output((2,)), output((3,)), "different shapes, [2] and [3]"),
        (output((2, 3)), output((3, 2)), "different shapes"),
    ],
)
def test_what_cannot_be_compared(
    old: LayerFacts | None, new: LayerFacts | None, remark: str
) -> None:
    meeting = Meeting(None)
    meeting.begin(old, new, None)
    assert meeting.comparison is None
    assert remark in meeting.remark
    meeting.old(np.ones((1, 2), np.float32), [0])
    meeting.passed(0, ["a"], [0])
    meeting.passed(1, ["a"], [0])
    meeting.compare()
    assert meeting._names == {}
