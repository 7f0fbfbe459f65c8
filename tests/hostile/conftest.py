"""What an attack on the command line begins with: a small model, three images, a clean folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.material import Command, images, relu, save


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command line in a folder that holds ``m.onnx``, which is sound, and ``im``."""
    for name in os.environ:
        if name.startswith("CLEANAI_ONNX_") and name != "CLEANAI_ONNX_CACHE":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    save("m.onnx", relu())
    images("im", 3)
    return Command(tmp_path, capsys)
