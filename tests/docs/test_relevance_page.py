"""docs/relevance.md: its examples run, and its tables say what the program says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx import cli
from cleanai_onnx.relevance import COMPOSITES, plan
from cleanai_onnx.relevance.composites import LinearLayer, composite

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "relevance.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows() -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]


def test_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    assert len(blocks("python")) == 4


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    (command,) = blocks("sh")
    assert cli.main(shlex.split(command)[1:]) == 0
    assert (tmp_path / "heat-maps" / "Relevance_lenet5.json").is_file()


def test_the_composites() -> None:
    told = {row[0].split()[0].strip("`"): row[1:] for row in rows() if row[0].split()[0].strip("`")
            in COMPOSITES}  # fmt: skip
    assert told.keys() == COMPOSITES.keys()
    layers = [
        LinearLayer("first", "Conv", "a", True),
        LinearLayer("later", "Conv", "b", False),
        LinearLayer("dense", "Gemm", "c", False),
    ]
    for name, cells in told.items():
        made = composite(name, low=0.0, high=1.0)
        ruled = [made.rule_for(layer) for layer in layers]
        assert [f"`{rule.name}`" for rule in ruled if rule is not None] == cells


def test_the_operators() -> None:
    told = {name for row in rows() if ":" in row[0] for name in re.findall("`(.*?)`", row[0])}
    assert told == {op for domain, op in plan.REDISTRIBUTIONS if not domain}
