"""What a shell is answered when somebody presses Tab, asked as its function asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cleanai_onnx import commands, config
from tests.cli.material import Command


def completed(line: str, folder: Path) -> set[str]:
    answer = folder / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    program = [sys.executable, "-m", "cleanai_onnx"]
    subprocess.run(program, env=environment, cwd=folder, check=True, timeout=60)
    words = set(answer.read_text().split("\n"))
    answer.unlink()
    return words


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "notes.md").touch()
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return tmp_path


def test_the_first_word_is_a_command_or_a_model(folder: Path) -> None:
    assert completed("cleanai-onnx ", folder) == {*commands.NAMES, "net.onnx", "images/"}
    assert completed("cleanai-onnx re", folder) == {"report"}


def test_after_a_command_the_words_are_its_own(folder: Path) -> None:
    assert completed("cleanai-onnx explain ", folder) == {"net.onnx", "images/"}
    assert completed("cleanai-onnx explain net.onnx images --comp", folder) == {"--composite"}
    assert completed("cleanai-onnx completion ", folder) == {"bash", "zsh", "fish"}
    assert completed("cleanai-onnx analyze n", folder) == {"net.onnx"}


def test_options_and_their_words(folder: Path) -> None:
    names = {f"--{option.name}" for option in config.OPTIONS}
    assert names <= completed("cleanai-onnx net.onnx images --", folder)
    line = "cleanai-onnx net.onnx images --device "
    assert completed(line, folder) == {"auto", "cpu", "cuda"}
    assert completed("cleanai-onnx --output i", folder) == {"images/"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_for_a_shell(command: Command, shell: str) -> None:
    code = command.done("completion", shell).out
    assert "cleanai-onnx" in code
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=code, text=True, check=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_in_bash(folder: Path) -> None:
    program = folder / "cleanai-onnx"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cleanai_onnx "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(cleanai-onnx completion bash)"
        complete -p cleanai-onnx
        COMP_LINE='cleanai-onnx net.onnx images --adj' COMP_POINT=34 COMP_TYPE=9 COMP_KEY=9
        COMP_WORDS=(cleanai-onnx net.onnx images --adj) COMP_CWORD=3
        _python_argcomplete cleanai-onnx --adj images
        echo "${COMPREPLY[@]}"
    """
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    registered, answer = run.stdout.splitlines()
    assert registered.endswith("-F _python_argcomplete cleanai-onnx")
    assert answer.strip() == "--adjacency"


def test_another_shell(command: Command) -> None:
    assert "invalid choice: 'cmd'" in command.refused(2, "completion", "cmd")
