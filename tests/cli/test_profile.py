"""The commands `profile` and `combine`, and a run against a profile."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cleanai_onnx import cli
from tests.cli.material import DIGITS, LENET, strict_json

pytestmark = pytest.mark.skipif(not LENET.exists(), reason="models/lenet5.onnx is not here")


def test_learn_combine_and_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, both = (str(tmp_path / f"{name}.profile") for name in ("one", "other", "both"))
    for path, digits in ((one, "[0-4]"), (other, "[5-9]")):
        assert cli.main(["profile", str(LENET), f"{DIGITS}/{digits}/*.png", "-o", path]) == 0
    said = capsys.readouterr().out
    assert "Images:" in said and "99 of 100 classified as labelled" in said
    assert cli.main(["combine", one, other, "-o", both]) == 0
    assert "200, from" in capsys.readouterr().out
    arguments = [str(LENET), str(DIGITS), "--profile", one, "--output", str(tmp_path)]
    assert cli.main([*arguments, "--sections", "10"]) == 0
    said = capsys.readouterr().out
    assert all(metric in said for metric in ("nbc-suite", "snac", "kmnc"))
    result = strict_json(tmp_path / "Analysis_lenet5.json")
    assert result["profile"]["images"] == 100
    tables = {table["metric"]: table for table in result["tables"]}
    assert tables["kmnc"]["parameters"] == {"k": 10}
    with (tmp_path / "Analysis_lenet5.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["adds kmnc"]) for row in rows) == tables["kmnc"]["total"][1]
    assert cli.main([*arguments[:3], both, *arguments[4:], "--quiet"]) == 0
    assert strict_json(tmp_path / "Analysis_lenet5.json")["profile"]["images"] == 200


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "lenet.profile")
    assert cli.main(["profile", str(LENET), str(DIGITS), "-o", path, "--quiet"]) == 0
    lenet1 = str(LENET.with_name("lenet1.onnx"))
    for arguments, why in (
        ([lenet1, str(DIGITS), "--profile", path], "SHA-256"),
        ([str(LENET), str(DIGITS), "--profile", path, "--scale", "1/128"], "1/128"),
        ([str(LENET), str(DIGITS), "--profile", str(LENET)], "is no profile"),
        (["combine", path, str(LENET), "-o", str(tmp_path / "x")], "is no profile"),
        (["profile", str(LENET), str(DIGITS), "--layers", "nope"], "matches no measured layer"),
        (["profile", str(LENET), str(DIGITS), "--view", "pixel"], "channel, unit"),
    ):
        if "-o" not in arguments:
            target = "-o" if arguments[0] == "profile" else "--output"
            arguments = [*arguments, target, str(tmp_path / "out")]
        assert cli.main(arguments) == 2, arguments
        assert why in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lenet.profile"]


def test_train_equals_profile_and_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, train, test = str(tmp_path / "p.profile"), f"{DIGITS}/[0-4]/*.png", f"{DIGITS}/5"
    learning = ["--view", "unit", "--labels", "folders"]
    found = []
    assert cli.main(["profile", str(LENET), train, "-o", path, "--quiet", *learning]) == 0
    for way in (["--profile", path], ["--train", train, *learning]):
        assert cli.main([str(LENET), test, *way, "--output", str(tmp_path)]) == 0
        capsys.readouterr()
        found.append(strict_json(tmp_path / "Analysis_lenet5.json"))
    assert found[0]["tables"] == found[1]["tables"]
    assert found[1]["profile"]["labels"] == found[0]["profile"]["labels"] != "none"
    assert found[1]["profile"]["view"] == "unit"
    for arguments, why in (
        (["--train", train, "--profile", path], "give one of them"),
        (["--view", "unit"], "--view needs --train"),
        (["--train", str(tmp_path / "gone")], "does not exist"),
    ):
        before = sorted(tmp_path.iterdir())
        assert cli.main([str(LENET), test, "--output", str(tmp_path), *arguments]) in (2, 3)
        assert why in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before
