"""``cleanai-onnx config``: every option, its value, and where it came from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from cleanai_onnx import config
from cleanai_onnx.commands import config as config_command
from tests.cli.material import Command

NAMES = [option.name for option in config.ALL]


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_each_place_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("cleanai-onnx.toml").write_text("limit = 7\nseed = 7\ntop-k = 7\n")
    monkeypatch.setenv("CLEANAI_ONNX_SEED", "8")
    monkeypatch.setenv("CLEANAI_ONNX_TOP_K", "8")
    options = json.loads(command.done("config", "--json", "--top-k", "9").out)["options"]
    assert list(options) == NAMES
    found = {name: (one["value"], one["origin"]) for name, one in options.items()}
    assert found["limit"] == (7, "file cleanai-onnx.toml")
    assert found["seed"] == (8, "environment CLEANAI_ONNX_SEED")
    assert found["top-k"] == (9, "--top-k")
    assert found["threshold"] == (0.75, "default")
    assert found["subset"] == (None, "default")


def test_in_a_pipe_it_is_a_configuration_file(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEANAI_ONNX_TOP_K", "8")
    monkeypatch.setenv("CLEANAI_ONNX_INPUT_VALUE", 'k"\n=[1,2]')
    monkeypatch.setenv("CLEANAI_ONNX_INTERVALS", "0:0.5,0.5:1")
    monkeypatch.setenv("CLEANAI_ONNX_COMPOSITE", "epsilon")
    out = command.done("config", "--quiet", "--mean", "0.5").out
    assert set(tomllib.loads(out)) == {
        "top-k", "input-value", "intervals", "composite", "quiet", "mean",
    }  # fmt: skip
    for name in NAMES:
        lines = [line for line in out.splitlines() if line.lstrip("# ").startswith(f"{name} ")]
        assert len(lines) == 1, name
    before = config.gather({"quiet": True, "mean": "0.5"})
    for name in ("TOP_K", "INPUT_VALUE", "INTERVALS", "COMPOSITE"):
        monkeypatch.delenv(f"CLEANAI_ONNX_{name}")
    Path("again.toml").write_text(out)
    after = config.gather({}, {}, "again.toml")
    assert {name: after[name] for name in NAMES} == {name: before[name] for name in NAMES}


def test_a_table_of_a_file(command: Command) -> None:
    Path("cleanai-onnx.toml").write_text('[gates]\nnc = "30%"\nlsa = { max = 50, view = "unit" }\n')
    out = command.done("config").out
    assert '\ngates = {"nc" = "30%", "lsa" = {"max" = 50, "view" = "unit"}}  # file' in out
    Path("cleanai-onnx.toml").write_text(out)
    assert config.gather({})["gates"] == {"nc": "30%", "lsa": {"max": 50, "view": "unit"}}
    assert "--gates" in command.refused(2, "config", "--gates")


def test_defaults_are_comments_that_can_be_switched_on(command: Command) -> None:
    lines = command.done("config").out.splitlines()
    assert tomllib.loads("\n".join(lines)) == {}
    assert "# top-k = 3" in lines
    assert "# subset is not set" in lines
    live = [line.removeprefix("# ") for line in lines if " = " in line]
    Path("all.toml").write_text("\n".join(live))
    settings = config.gather({}, {}, "all.toml")
    assert all(settings[option.name] == option.default for option in config.ALL)


def test_on_a_terminal_it_is_a_table(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    from rich.console import Console

    console = Console(force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(config_command, "make_console", lambda: console)
    rows = command.done("config", "--subset", "[red]\x1b.txt").out.splitlines()
    assert rows[0].split() == ["option", "value", "from"]
    assert sorted(row.split()[0] for row in rows[1:] if row.strip()) == sorted(NAMES)
    assert all(len(row) <= 100 for row in rows)
    (subset,) = (row for row in rows if row.startswith("subset "))
    assert subset.rstrip().endswith("--subset")
    assert "[red]\\u001b.txt" in subset and "\x1b" not in subset


@pytest.mark.parametrize(
    ("arguments", "variable", "what"),
    [
        (["--topk", "3"], None, "--topk"),
        (["--top-k", "x"], None, "--top-k must be a whole number"),
        ([], "CLEANAI_ONNX_TOPK", "did you mean CLEANAI_ONNX_TOP_K?"),
    ],
)
def test_what_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments, variable, what
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    assert what in command.refused(2, "config", *arguments)


def test_an_unknown_key_of_a_file(command: Command) -> None:
    Path("cleanai-onnx.toml").write_text("relevance-rule = 'epsilon'\n")
    assert "did you mean relevance-rules?" in command.refused(2, "config")
