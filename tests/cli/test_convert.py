"""The command ``convert``, and how an analysis shows what a file says of its making."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pypdf
import pytest

from cleanai_onnx import cli
from cleanai_onnx.commands import convert
from cleanai_onnx.converters import conversion
from cleanai_onnx.errors import UsageError
from tests.converters.test_conversion import RECORD

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "models" / "digits" / "3"


def model_with(folder: Path, claim: str) -> Path:
    model = onnx.load(str(ROOT / "models" / "lenet1.onnx"))
    model.metadata_props.add(key=conversion.METADATA_KEY, value=claim)
    onnx.save(model, str(folder / "m.onnx"))
    return folder / "m.onnx"


def analysed(folder: Path, claim: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str, dict]:  # type: ignore[type-arg]
    path = model_with(folder, claim)
    assert cli.main([str(path), str(IMAGES), "--output", str(folder)]) == 0
    shown = capsys.readouterr().out
    pages = pypdf.PdfReader(io.BytesIO((folder / "Analysis_m.pdf").read_bytes())).pages
    report = " ".join(" ".join(page.extract_text() for page in pages).split())
    return shown, report, json.loads((folder / "Analysis_m.json").read_text())["model"]


def test_reports_show_the_claim_as_a_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = replace(RECORD, source="[bold red]\x1b[31m\u202e.pth", remarks=("=cmd()",))
    shown, report, facts = analysed(tmp_path, conversion.dumps(hostile, embedded=True), capsys)
    assert "The file says: converted from [bold red]\\u{001B}[31m" in " ".join(shown.split())
    assert "\x1b" not in shown
    assert "What the model file says of its own making" in report
    assert "torch dynamo exporter" in report
    assert facts["conversion"]["parity"]["inputs"] == 16


def test_reports_say_that_a_malformed_claim_was_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, report, facts = analysed(tmp_path, '{"format_version": 1}', capsys)
    for text in (shown, report, facts["conversion_remark"]):
        assert "members are missing or unknown" in " ".join(text.split())
    assert facts["conversion"] is None


def test_the_verdict_is_short_and_fits_a_terminal() -> None:
    lines = convert.verdict(RECORD)
    text = " ".join(" ".join(lines).split())
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    for words in ("net.onnx: the same network as net.pth", "torch dynamo exporter, opset 20",
                  "390,410", "at most 1e-06", "16 of 16", "any size", "b cannot be imported",
                  "it crashed", "net.preprocessing.json"):  # fmt: skip
        assert words in text
    assert len(lines) < 25


def test_hostile_text_in_a_verdict_is_harmless() -> None:
    lines = convert.verdict(replace(RECORD, source="\x1b[2J" * 1000, remarks=("\n" * 9,)))
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert len(lines) < 40


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "required: source"),
        (["nowhere.pt"], 3, "no file"),
        ([""], 2, "empty"),
        (["m.onnx"], 3, "ONNX model already"),
        (["m.pth", "--class-args", "{"], 2, "--class-args"),
        (["m.pth", "--class-args", "5"], 2, "--class-args"),
        (["m.pth", "--weights", "w"], 2, "--weights does not apply to a PyTorch model"),
        (["m.pth", "--class", "a:B", "--class", "a:C"], 2, "give --class once"),
        (["m.h5", "--class-args", "[]"], 2, "--class-args does not apply to a Keras model"),
        (["m.pth", "--input-shape", "3,x"], 2, "without the batch"),
        (["m.pth", "--rtol", "-1"], 2, "must not be negative"),
        (["m.pth", "--timeout", "0"], 2, "seconds"),
        (["m.pth", "--nope"], 2, "--nope"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").write_bytes(b"\x08\x07")
    Path("m.pth").write_bytes(b"\x80\x02x")
    Path("m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert cli.main(["convert", *arguments]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_layers_of_ones_own_reach_the_keras_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cleanai_onnx.converters import keras

    called = []

    def to_onnx(source: Path, **options: object) -> None:
        called.append(options["classes"])
        raise UsageError("Enough.")

    monkeypatch.setattr(keras, "to_onnx", to_onnx)
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for flags in ([], ["--class", "a:B", "--class", "c:D"]):
        assert cli.main(["convert", str(tmp_path / "m.h5"), *flags]) == 2
    assert called == [[], ["a:B", "c:D"]]


def test_a_configuration_file_cannot_name_code_or_give_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.pth").write_bytes(b"\x80\x02x")
    for line in ("trust = true", 'class = "a:B"'):
        Path("cleanai-onnx.toml").write_text(line)
        assert cli.main(["convert", "m.pth"]) == 2
        assert "is not an option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--train", "t"], "--train needs --analyze"),
        (["--analyze", "i", "--layers", "all"], "--layers needs --train"),
    ],
)
def test_options_of_learning_without_what_they_are_for(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["convert", "m.pth", *given]) == 2
    assert said in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    shown = capsys.readouterr().out
    for flag in ("--input-shape", "--class", "--trust", "--rtol", "--analyze", "--scale"):
        assert flag in shown
