"""The memory that is left, of the machine and of the control group."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from cleanai_onnx.runtime import available_memory, memory


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(limit: str | None, used: str | None) -> None:
        for name, text in (("memory.max", limit), ("memory.current", used)):
            if text is not None:
                (tmp_path / name).write_text(text)

    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1_000_000})
    )
    return write


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [
        ("700000\n", "100000\n", 600_000),
        ("9000000000000\n", "1\n", 1_000_000),
        ("max\n", "100000\n", 1_000_000),
        ("100000\n", "200000\n", 0),
        (None, None, 1_000_000),
        ("700000\n", None, 1_000_000),
        ("nonsense\n", "5\n", 1_000_000),
        ("", "", 1_000_000),
    ],
)
def test_the_smaller_of_both(group, limit: str | None, used: str | None, left: int) -> None:
    group(limit, used)
    assert available_memory() == left


def test_of_this_machine() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total
