"""What an attack on the command line begins with: a small model, three images, a clean folder."""

from __future__ import annotations

import pytest

from tests.cli import conftest as cli
from tests.cli.material import Command, images, relu, save

plain_command = cli.command


@pytest.fixture
def command(plain_command: Command) -> Command:
    """The command line in a folder that holds ``m.onnx``, which is sound, and ``im``."""
    save("m.onnx", relu())
    images("im", 3)
    return plain_command
