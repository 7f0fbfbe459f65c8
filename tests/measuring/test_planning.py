"""Memory that is left beside a batch: what is kept for each unit counts."""

from __future__ import annotations

import pytest

from cleanai_onnx.errors import ModelError
from cleanai_onnx.measuring import planning
from cleanai_onnx.profiles import Profiler
from cleanai_onnx.profiles.unit_moments import UNIT_BYTES
from tests.cli.material import relu

UNITS = 1 << 22
ITEM = (1, 1 << 11, 1 << 11)
MODEL = relu(inputs={"x": ("N", *ITEM)})


def with_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("cleanai_onnx.runtime.available_memory", lambda: size)


@pytest.mark.parametrize(("view", "kept"), [("channel", 0), ("unit", UNIT_BYTES * UNITS)])
def test_what_a_profile_keeps_of_units(
    monkeypatch: pytest.MonkeyPatch, view: str, kept: int
) -> None:
    item = 3 * 4 * UNITS  # the input, the activation, and the buffer that it is written to
    for room, enough in ((0.9 * item, False), (1.1 * item, True)):
        with_memory(monkeypatch, kept + int(room))
        profiler = Profiler(MODEL, view=view, composite="none")
        if enough:
            profiler.prepare(ITEM)
        else:
            with pytest.raises(ModelError, match="of memory"):
                profiler.prepare(ITEM)
    # Where all fits, the batch grows with what is left.
    for inputs, size in ((2, 1), (8, 4)):
        with_memory(monkeypatch, kept + planning.RUNTIME_BYTES + inputs * item + 1024)
        profiler = Profiler(MODEL, view=view, composite="none")
        profiler.prepare(ITEM)
        assert profiler.batch_size == size
