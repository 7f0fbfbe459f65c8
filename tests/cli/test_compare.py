"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.material import Command, build, images, node, relu, save, strict_json
from tests.validation.quantised import float_and_int8

OPTIONS = ("--preset", "unit")
STEM = "Compare_float_int8"


@pytest.fixture
def both(command: Command) -> Command:
    float_and_int8(Path())
    images("im", 4)
    return command


def test_files_and_summary(both: Command) -> None:
    outcome = both.done("compare", "float.onnx", "int8.onnx", "im", *OPTIONS, "--output", "o")
    assert outcome.new == {"o", *(f"o/{STEM}.{suffix}" for suffix in ("pdf", "json", "csv"))}
    assert outcome.out.startswith("float (old) and int8 (new)\n4 of 4 images from im, decoded once")
    assert "Arg max: the same for " in outcome.out
    assert "Images on which they disagree most" in outcome.out
    assert "2 layers correspond" in outcome.out
    assert all(len(line) <= 80 for line in outcome.out.splitlines())
    stored = strict_json(Path(f"o/{STEM}.json"))
    assert stored["outputs"]["images"] == 4
    assert stored["per_image_table"] == f"{STEM}.csv"
    assert Path(f"o/{STEM}.pdf").read_bytes().startswith(b"%PDF-")


def test_gates(both: Command) -> None:
    arguments = ("compare", "float.onnx", "int8.onnx", "im", *OPTIONS)
    Path("cleanai-onnx.toml").write_text("[gates]\nnc = { max-drop = 0.5 }\n")
    outcome = both(*arguments, "--fail-under", "relative-difference=0")
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.new == {f"{STEM}.{suffix}" for suffix in ("pdf", "json", "csv")}
    assert "1 of 2 gates failed" in outcome.out
    assert both(*arguments, "--quiet").code == 0
    refused = both.refused(2, *arguments, "--fail-under", "agrement=1%")
    assert "did you mean agreement?" in refused


def test_what_is_refused(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 2)
    assert "missing.onnx" in command.refused(3, "compare", "m.onnx", "missing.onnx", "im", *OPTIONS)
    assert "missing.onnx" in command.refused(3, "compare", "missing.onnx", "m.onnx", "im", *OPTIONS)
    assert "nowhere" in command.refused(3, "compare", "m.onnx", "m.onnx", "nowhere", *OPTIONS)
    assert "empty" in command.refused(2, "compare", "", "m.onnx", "im", *OPTIONS)
    assert "required" in command.refused(2, "compare", "m.onnx", "m.onnx")
    for flag in ("--profile", "--subset", "--baseline"):
        assert flag in command.refused(2, "compare", "m.onnx", "m.onnx", "im", flag, "x")


def test_other_layers_and_other_outputs(command: Command) -> None:
    save("one.onnx", relu())
    two = [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["n"]), node("Relu", ["n"], ["b"])]
    save("two.onnx", build([*two, node("ReduceMax", ["b"], ["m"], axes=[1, 2, 3])]))
    images("im", 2)
    out = " ".join(command.done("compare", "one.onnx", "two.onnx", "im", *OPTIONS).out.split())
    assert "Outputs: not compared: the first outputs have different shapes" in out
    assert "Only in the new model: " in out


def test_a_model_and_itself(command: Command) -> None:
    save("m.onnx", relu())
    images("im", 2)
    out = command.done("compare", "m.onnx", "m.onnx", "im", *OPTIONS).out
    assert "Both are the same file." in out
    assert "The outputs are the same, value for value." in out
    assert "All figures are the same." in out
