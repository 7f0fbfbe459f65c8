"""The command on real files, from the source to the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cleanai_onnx import cli
from tests.converters.required import require

require("torch", "onnxscript")

import torch  # noqa: E402

from tests.converters.torch_nets import Digits  # noqa: E402

pytestmark = pytest.mark.torch
HERE = Path(__file__).parent
REAL = HERE.parents[1].parent / "shared" / "real" / "digit_cnn_state_dict.pth"
IMAGES = HERE.parents[1] / "models" / "digits" / "7"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not REAL.is_file():
        pytest.skip("../shared/real is not here")
    monkeypatch.chdir(HERE)
    path = tmp_path / "digits.pth"
    path.write_bytes(REAL.read_bytes())
    return path


COMMON = ["--class", "torch_nets:Digits", "--input-shape", "1,28,28"]


def test_from_the_state_dict_to_the_report(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main([
        "convert", str(source), *COMMON, "--scale", "1/255", "--mean", "0.1307", "--std", "0.3081",
        "--images", str(IMAGES), "--analyze", str(IMAGES), "--reports", str(source.parent),
        "--train", str(IMAGES), "--traces", "5", "--relevance-rules", "none",
    ])  # fmt: skip
    shown = capsys.readouterr().out
    assert code == 0
    assert "digits.onnx: the same network as digits.pth" in shown
    assert "The file says: converted from digits.pth" in shown
    names = {path.name for path in source.parent.iterdir()}
    assert names >= {"digits.onnx", "digits.preprocessing.json", "Analysis_digits.pdf"}
    learnt = json.loads((source.parent / "Analysis_digits.json").read_text())["profile"]
    assert learnt["traces"] == 5 and not learnt["composite"]


def test_a_tolerance_that_is_not_met(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # TorchScript, because it has one exporter: two attempts.
    module = Digits().eval()
    module.load_state_dict(torch.load(source, weights_only=True))
    source.unlink()
    torch.jit.trace(module, torch.zeros(1, 1, 28, 28)).save(str(tmp_path / "digits.pt"))
    code = cli.main(["convert", str(tmp_path / "digits.pt"), "--input-shape", "1,28,28",
                     "--rtol", "0", "--atol", "0"])  # fmt: skip
    said = capsys.readouterr().err
    assert code == 3
    assert " ".join(said.split()).count("does not compute") == 2
    assert "no file was written" in said
    assert all(len(line) <= 120 for line in said.splitlines())
    assert [path.name for path in source.parent.iterdir()] == ["digits.pt"]
