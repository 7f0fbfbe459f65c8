"""The page on gates knows every metric, every key, and only what can be written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from cleanai_onnx.validation import gates_of_table, gates_of_text
from cleanai_onnx.validation.gate import KEYS, METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "gates.md").read_text(encoding="utf-8")


def table_below(heading: str) -> str:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line for line in section.splitlines() if line.startswith("|"))


def test_the_table_has_every_metric() -> None:
    cells = [line.split("|")[3] for line in table_below("On the command line").splitlines()[2:]]
    told = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert sorted(told) == sorted(METRICS)


def test_the_table_has_every_key() -> None:
    cells = [line.split("|")[1] for line in table_below("In a file").splitlines()[2:]]
    assert sorted(name for cell in cells for name in re.findall(r"`([^`]+)`", cell)) == sorted(KEYS)


def test_the_examples_are_gates() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    table = tomllib.loads(example)["tool"]["cleanai-onnx"]["gates"]
    assert len(gates_of_table(table, "gates", "file")) == 10
    flags = re.findall(r"--fail-under (\S+?)`? *$|--fail-under (\S+?)`", PAGE, re.MULTILINE)
    assert len(flags) == 3
    for flag in flags:
        assert gates_of_text("".join(flag), "--fail-under", "command line")
