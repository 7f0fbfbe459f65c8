"""How much a command says: --help, --verbose, --quiet, --no-progress, NO_COLOR."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cleanai_onnx import cli, commands
from cleanai_onnx.commands.telling import phases_told
from tests.cli.material import Command, images, relu, save

LINE = re.compile(r" *\d+\.\d\d s  (.+)")


@pytest.fixture
def suite(command: Command) -> Command:
    save("m.onnx", relu())
    images("im", 4)
    return command


def told(err: str) -> list[str]:
    """Return the messages behind the seconds; every line has them."""
    found = [LINE.fullmatch(line) for line in err.splitlines()]
    assert all(found)
    return [match[1] for match in found if match]


class TestHelp:
    def test_lists_every_command_with_its_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            cli.main(["--help"])
        out = capsys.readouterr().out
        for name, summary in commands.SUMMARIES.items():
            assert f"  {name} " in out and summary in out
        assert all(len(line) <= 100 for line in out.splitlines())

    @pytest.mark.parametrize("name", commands.NAMES)
    def test_each_command_has_one(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        with pytest.raises(SystemExit) as end:
            cli.main([name, "--help"])
        assert end.value.code == 0
        assert "usage: cleanai-onnx" in capsys.readouterr().out

    def test_it_needs_none_of_the_heavy_packages(self) -> None:
        code = (
            "import sys\nfrom cleanai_onnx import cli\n"
            "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
            "print(sorted({n.split('.')[0] for n in sys.modules}))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        loaded = run.stdout.splitlines()[-1]
        for package in ("numpy", "jax", "onnx", "pandas", "rich", "argcomplete", "psutil"):
            assert f"'{package}'" not in loaded


class TestVerbose:
    def test_phases_in_order_and_their_seconds(self, suite: Command) -> None:
        outcome = suite("m.onnx", "im", "--preset", "unit", "--verbose", "--no-relevance")
        assert outcome.code == 0
        lines = told(outcome.err)
        phases = [line.removesuffix(" ...") for line in lines if line.endswith(" ...")]
        assert phases[:3] == ["load model", "find taps", "start session"]
        assert len(set(phases)) == len(phases)
        assert "4 images from im" in lines
        assert any(line.startswith("scale: 1/255") for line in lines)
        assert [line for line in lines if line.startswith("write ")] == [
            "write Analysis_m.pdf",
            "write Analysis_m.json",
        ]
        begin = lines.index("in all; of these:")
        assert lines[begin + 1 : -1] == phases

    def test_the_seconds_add_up(self, suite: Command) -> None:
        err = suite("profile", "m.onnx", "im", "--preset", "unit", "--verbose").err
        head, _, tail = err.partition("in all; of these:\n")
        total = float(head.splitlines()[-1].split()[0])
        parts = [float(line.split()[0]) for line in tail.splitlines()]
        assert sum(parts) == pytest.approx(total, abs=0.01 * (len(parts) + 1))

    @pytest.mark.parametrize("name", ["explain", "profile"])
    def test_in_other_commands(self, suite: Command, name: str) -> None:
        outcome = suite(name, "m.onnx", "im", "--preset", "unit", "--verbose")
        assert outcome.code == 0
        assert "load model ..." in told(outcome.err)

    def test_it_leaves_the_logger_as_it_was(self, suite: Command) -> None:
        logger = logging.getLogger("cleanai_onnx")
        before = logger.level, list(logger.handlers)
        suite("m.onnx", "im", "--verbose")  # refused: nothing says how pixels are scaled
        assert (logger.level, list(logger.handlers)) == before

    def test_where_nothing_has_phases(self, capsys: pytest.CaptureFixture[str]) -> None:
        with phases_told():
            logging.getLogger("cleanai_onnx.converters").info("try %s ...", "this")
            logging.getLogger("cleanai_onnx.converters").debug("no phase")
            logging.getLogger("another").info("not ours")
        assert told(capsys.readouterr().err) == ["try this ...", "in all"]

    def test_quiet_wins(self, suite: Command) -> None:
        suite.done("m.onnx", "im", "--preset", "unit", "--verbose", "--quiet")

    def test_names_from_outside_are_harmless(self, suite: Command) -> None:
        folder = images("i\x1b[31m", 1)
        err = suite("m.onnx", folder, "--preset", "unit", "--verbose").err
        assert "\x1b" not in err


def on_a_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """Run the program with a terminal as its output, and return what that received."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cleanai_onnx", *arguments],
        cwd=folder,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )
    os.close(slave)
    received = b""
    try:
        while chunk := os.read(master, 65536):
            received += chunk
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == 0
    return received.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7]|38;[0-9;]+)m")


@pytest.mark.parametrize("name", ["analyze", "profile"])
class TestTerminal:
    def test_a_bar_and_colours(self, suite: Command, name: str) -> None:
        text = on_a_terminal(suite.folder, name, "m.onnx", "im", "--preset", "unit")
        assert "Images" in text and COLOUR.search(text)

    def test_no_color(self, suite: Command, name: str) -> None:
        text = on_a_terminal(suite.folder, name, "m.onnx", "im", "--preset", "unit", NO_COLOR="1")
        assert "Images" in text and not COLOUR.search(text)

    def test_no_progress(self, suite: Command, name: str) -> None:
        arguments = (name, "m.onnx", "im", "--preset", "unit", "--no-progress")
        text = on_a_terminal(suite.folder, *arguments)
        assert "Written" in text and "\x1b[?25l" not in text

    def test_quiet(self, suite: Command, name: str) -> None:
        assert (
            on_a_terminal(suite.folder, name, "m.onnx", "im", "--preset", "unit", "--quiet") == ""
        )
