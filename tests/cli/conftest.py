"""The command line in a folder and an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.material import Command


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    for name in os.environ:
        if name.startswith("CLEANAI_ONNX_") and name != "CLEANAI_ONNX_CACHE":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path, capsys)
