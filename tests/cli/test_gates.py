"""Gates from the command line to the exit code, the terminal and the files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cleanai_onnx.commands import analyze
from cleanai_onnx.report import read
from tests.cli.material import Command, images, node, relu, save, strict_json
from tests.cli.material import build as build_model

OWN = Path("cleanai-onnx.toml")
FULL = ("--preset", "unit", "--no-relevance")
QUIET = (*FULL, "--report", "json", "--quiet")


@pytest.fixture
def model(command: Command) -> Command:
    """A model whose second layer is dead, and images of noise."""
    dead = [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["n"]), node("Relu", ["n"], ["b"])]
    save("m.onnx", build_model(dead))
    images("im", 4)
    return command


def test_a_gate_that_passes(model: Command) -> None:
    outcome = model.done("m.onnx", "im", *FULL, "--fail-under", "nc=1%,dead-channels=1")
    assert "All 2 gates passed" in outcome.out
    assert "  passed: nc (units) is " in outcome.out
    (first, second) = read("Analysis_m.json").gates
    assert (first.gate, first.passed, first.origin) == ("nc=1%", True, "command line")
    assert (second.value, second.passed) == (1, True)


def test_a_gate_that_fails_ends_with_1_after_everything_was_written(model: Command) -> None:
    arguments = (
        "m.onnx",
        "im",
        *FULL,
        "--fail-under",
        "nc=99%,dead-channels=1,skipped-images=0",
    )
    outcome = model(*arguments)
    assert outcome.code == 1
    assert outcome.err == ""
    assert outcome.new == {"Analysis_m.csv", "Analysis_m.json", "Analysis_m.pdf"}
    assert "1 of 3 gates failed" in outcome.out
    assert outcome.out.index("failed: nc") < outcome.out.index("passed: the number")
    stored = strict_json(Path("Analysis_m.json"))["gates"]
    assert [gate["passed"] for gate in stored] == [False, True, True]
    assert "lowest in b (0.00 %)" in stored[0]["text"]


def test_quiet_says_only_what_failed(model: Command) -> None:
    outcome = model("m.onnx", "im", *QUIET, "--fail-under", "nc=99%,tc=0")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("cleanai-onnx: gate failed: nc (units) is ")
    assert len(outcome.err.splitlines()) == 1
    assert model("m.onnx", "im", *QUIET, "--fail-under", "tc=0").err == ""


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--fail-under", "ncc=30%"), "--fail-under ncc: ncc is not a metric"),
        (("--fail-under", "nc=30"), "--fail-under nc must be a share"),
        (("--fail-under", "30"), "--fail-under must be METRIC=LIMIT"),
        (("--baseline", "old.json"), "--baseline is for gates that limit a change"),
        (("--baseline", "old.json", "--fail-under", "nc=3%"), "--baseline is for gates"),
    ],
)
def test_what_is_refused_before_the_analysis(
    command: Command, arguments: tuple[str, ...], what: str
) -> None:
    # Neither is there a model, nor are there images.
    assert command.refused(2, "m.onnx", "im", *arguments).startswith(what)


def test_gates_of_a_file(model: Command) -> None:
    OWN.write_text('[gates]\nnc = { layers = "b", min = "1%" }\ntc = 0.0\n')
    outcome = model("m.onnx", "im", *QUIET)
    assert outcome.code == 1
    gates = read("Analysis_m.json").gates
    assert [(gate.metric, gate.layers, gate.passed) for gate in gates] == [
        ("nc", "b", False),
        ("tc", None, True),
    ]
    assert {gate.origin for gate in gates} == {"cleanai-onnx.toml"}
    OWN.rename("other.toml")
    assert model("m.onnx", "im", *QUIET).code == 0
    assert read("Analysis_m.json").gates == ()
    assert model("m.onnx", "im", *QUIET, "--config", "other.toml").code == 1


def test_the_command_line_takes_the_place_of_the_same_limit(model: Command) -> None:
    Path("pyproject.toml").write_text(
        '[tool.cleanai-onnx.gates]\nnc = ["99%", { layers = "a", min = "1%" }]\ntc = 0.0\n'
    )
    assert model("m.onnx", "im", *QUIET).code == 1
    assert model("m.onnx", "im", *QUIET, "--fail-under", "nc=1%").code == 0
    gates = read("Analysis_m.json").gates
    assert [(gate.metric, gate.layers, gate.limit, gate.origin) for gate in gates] == [
        ("nc", "a", 0.01, "pyproject.toml"),
        ("tc", None, 0, "pyproject.toml"),
        ("nc", None, 0.01, "command line"),
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("gates = 5\n", "cleanai-onnx.toml: gates must be a table of gates"),
        ("[gates]\nncc = 1\n", "cleanai-onnx.toml: gates: ncc: ncc is not a metric"),
        ("[gates]\nnc = { q = 1 }\n", "cleanai-onnx.toml: gates: nc: q is not a key"),
        ("[gate]\nnc = 1\n", "cleanai-onnx.toml: gate is not an option; did you mean gates?"),
        ("[gates]\nnc = { max-drop = 0.1 }\n", "the gate nc = { max-drop = 0.1 } compares with"),
        ('fail-under = "nc=3"\n', "cleanai-onnx.toml: fail-under nc must be a share"),
    ],
)
def test_a_file_that_is_refused(command: Command, content: str, what: str) -> None:
    OWN.write_text(content)
    assert command.refused(2, "m.onnx", "im").startswith(what)


def test_gates_as_a_variable(model: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANAI_ONNX_FAIL_UNDER", "nc=99%")
    assert model("m.onnx", "im", *QUIET).code == 1
    assert read("Analysis_m.json").gates[0].origin == "environment CLEANAI_ONNX_FAIL_UNDER"
    monkeypatch.setenv("CLEANAI_ONNX_GATES", "nc=99%")
    assert "must be a table of gates" in model.refused(2, "m.onnx", "im")


def test_other_commands_do_not_mind_the_gates_of_a_file(model: Command) -> None:
    OWN.write_text("[gates]\nnc = { max-drop = 0.1 }\n")
    save("c.onnx", build_model([node("Relu", ["x"], ["a"])]))
    assert model("profile", "c.onnx", "im", "--preset", "unit", "--quiet").code == 0


def test_a_change_against_a_baseline(model: Command) -> None:
    model.done("m.onnx", "im", *QUIET, "--output", "old")
    OWN.write_text("baseline = 'old/Analysis_m.json'\n[gates]\nnc = { max-drop = 0.0 }\n")
    assert model("m.onnx", "im", *QUIET).code == 0
    save("m.onnx", build_model([node("Neg", ["x"], ["n"]), node("Relu", ["n"], ["a"])]))
    outcome = model("m.onnx", "im", *QUIET)
    assert outcome.code == 1
    assert "the baseline is of another model (m)" in outcome.err
    assert model.refused(2, "m.onnx", "im", *QUIET, "--baseline", "no.json").startswith("cannot")


class TestReport:
    def test_as_it_was_judged(self, model: Command) -> None:
        model("m.onnx", "im", *QUIET, "--fail-under", "nc=99%")
        outcome = model("report", "Analysis_m.json", "--output", "again")
        assert outcome.code == 1
        assert "The gate" not in outcome.out
        assert "1 of 1 gate failed" in outcome.out
        assert outcome.new == {"again", "again/Analysis_m.pdf"}

    def test_judged_anew(self, model: Command) -> None:
        model("m.onnx", "im", *QUIET, "--fail-under", "nc=99%")
        OWN.write_text("[gates]\ntc = 1.0\n")
        outcome = model("report", "Analysis_m.json", "--fail-under", "nc=1%,tc=0")
        assert outcome.code == 0
        assert "All 2 gates passed" in outcome.out
        assert model("report", "Analysis_m.json", "--config", OWN).code == 1
        said = model.refused(2, "report", "Analysis_m.json", "--fail-under", "ncc=1%")
        assert "did you mean nc?" in said

    def test_a_stored_result_is_a_baseline_of_its_own(self, model: Command) -> None:
        model("m.onnx", "im", *QUIET)
        OWN.write_text("[gates]\nnc = { max-relative-drop = 0, max-relative-rise = 0 }\n")
        outcome = model("report", "Analysis_m.json", "--baseline", "Analysis_m.json")
        assert outcome.code == 0
        assert "All 2 gates passed" in outcome.out


def test_the_exit_code_outlives_the_reader(model: Command) -> None:
    """`cleanai-onnx ... | head -0` still fails where a gate does."""
    model("m.onnx", "im", *QUIET)
    read_end, write_end = os.pipe()
    os.close(read_end)
    root = Path(__file__).resolve().parents[2]
    for limit, code in (("99%", 1), ("1%", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "cleanai_onnx", "report", "Analysis_m.json",
             "--fail-under", f"nc={limit}"],
            stdout=write_end, stderr=subprocess.PIPE, check=False,
            env=os.environ | {"PYTHONPATH": str(root)},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (code, b"")
    os.close(write_end)


def test_the_help_shows_per_cent(command: Command) -> None:
    assert "nc=30%,kmnc/channel=45%" in " ".join(analyze.parser().format_help().split())


def test_one_dead_relu_is_enough_for_a_gate(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 2)
    assert command("m.onnx", "im", *QUIET, "--fail-under", "dead-channels=0").code == 0
