"""The command ``inspect``: the files, what is printed, the options, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cleanai_onnx import config, inspect
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inspection import COLUMNS, DEFAULT, FUNCTIONS, MEASURES
from tests.cli.material import DIGITS, LENET, Command

BASE = ("inspect", LENET, DIGITS, "--limit", "60")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_files(command: Command) -> None:
    outcome = command.done(*BASE, "--functions", "folders,brightness")
    assert outcome.new == {"Affinity_lenet5.csv", "Affinity_lenet5.pdf"}
    found = rows(command.folder / "Affinity_lenet5.csv")
    assert list(found[0]) == list(COLUMNS)
    expected = inspect(LENET, DIGITS, ["folders", "brightness"], limit=60)
    assert len(found) == len(expected)
    scores = [float(row["score"]) if row["score"] else np.nan for row in found]
    np.testing.assert_allclose(scores, expected.score, rtol=1e-6, atol=1e-6)
    assert (command.folder / "Affinity_lenet5.pdf").read_bytes().startswith(b"%PDF")


def test_what_is_printed(command: Command) -> None:
    out = command.done(*BASE, "--functions", "folders", "-o", "out/a.csv").out
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "lenet5: which channels encode which hypothesis"
    assert lines[1].startswith("60 of 200 images from ")
    assert lines[-2:] == ["Written: out/a.csv", "         out/a.pdf"]
    assert command.done(*BASE, "--functions", "contrast", "--quiet").out == ""


def test_parquet_and_several_models(command: Command) -> None:
    pytest.importorskip("pyarrow")
    other = LENET.with_name("lenet1.onnx")
    command.done(
        *BASE, "--also", other, "--functions", "folders", "--measures", "auc,probe",
        "-o", "a.parquet",
    )  # fmt: skip
    found = pd.read_parquet(command.folder / "a.parquet")
    assert list(found.columns) == list(COLUMNS)
    assert list(found.model.unique()) == ["lenet5", "lenet1"]
    assert set(found.measure) == {"auc", "probe"}
    assert str(found.unit.dtype).lower() == "int64"


def test_a_table_of_hypotheses(command: Command) -> None:
    names = sorted(path.relative_to(DIGITS).as_posix() for path in DIGITS.rglob("*.png"))
    lines = ["image,even,digit:categorical"]
    lines += [f"{name},{(int(name[0]) + 1) % 2},{name[0]}" for name in names]
    (command.folder / "t.csv").write_text("\n".join(lines))
    command.done("inspect", LENET, DIGITS, "--hypotheses", "t.csv", "--layers", "last-hidden",
                 "--measures", "auc", "-o", "a.csv")  # fmt: skip
    found = rows(command.folder / "a.csv")
    assert {row["hypothesis"] for row in found} == {"even", *(f"digit={n}" for n in range(10))}
    assert {row["layer"] for row in found} == {"relu_3"}


def test_stopping_early(command: Command) -> None:
    out = command.done(
        "inspect", LENET, DIGITS, "--functions", "folders", "--measures", "pearson",
        "--error", "0.5", "--min-inputs", "100", "--batch-size", "10",
    ).out  # fmt: skip
    assert "stopped after" in out.replace("\n ", "")


def test_the_database_keeps_all_runs(command: Command) -> None:
    duckdb = pytest.importorskip("duckdb")
    other = LENET.with_name("lenet4.onnx")
    for _ in range(2):
        command.done(*BASE, "--functions", "folders", "--also", other, "--measures", "pearson",
                     "--database", "r.duckdb")  # fmt: skip
    with duckdb.connect(str(command.folder / "r.duckdb"), read_only=True) as database:
        (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
        assert runs == 2
        expected = rows(command.folder / "Affinity_lenet5.csv")
        count, scored = database.execute(
            "SELECT count(*), count(score) FROM affinities JOIN (SELECT max(started) FROM runs) "
            "ON true WHERE run = (SELECT run FROM runs ORDER BY started DESC, run LIMIT 1)"
        ).fetchone()
        assert count == len(expected)
        assert scored == sum(row["score"] != "" for row in expected)
        best = database.execute(
            "SELECT layer, unit, score FROM top_units "
            "WHERE model = 'lenet5' AND hypothesis = 'folder=4' AND place = 1"
        ).fetchall()
        ours = max(
            (row for row in expected
             if row["hypothesis"] == "folder=4" and row["score"] and row["model"] == "lenet5"),
            key=lambda row: abs(float(row["score"])),
        )  # fmt: skip
        assert best == [(ours["layer"], int(ours["unit"]), float(ours["score"]))] * 2
        pairs = database.execute(
            "SELECT DISTINCT before_model, after_model FROM changes"
        ).fetchall()
        assert pairs == [("lenet5", "lenet4")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "no hypothesis to test"),
        (("--functions", "zzz"), "neither a table"),
        (("--hypotheses", "missing.csv"), "cannot read"),
        (("--functions", "folders", "-o", "a.txt"), ".csv or .parquet"),
        (("--functions", "folders", "--measures", "zzz"), "is no measure"),
        (("--functions", "brightness", "--measures", "auc"), "none of the measures"),
        (("--functions", "folders", "--masks", "nowhere"), "no such folder"),
        (("--functions", "folders", "--quantile", "1"), "between 0 and 1"),
        (("--functions", "folders", "--database", "."), "cannot"),
        (("--functions", "folders", "--also", "missing.onnx"), "missing.onnx"),
    ],
)
def test_refused(command: Command, given: tuple[str, ...], message: str) -> None:
    code = 3 if "missing.onnx" in given else 2
    assert message in command.refused(code, *BASE, *given)


def test_a_file_that_is_no_database(command: Command) -> None:
    pytest.importorskip("duckdb")
    (command.folder / "r.duckdb").write_bytes(b"no database, but long enough to look at" * 200)
    message = command.refused(2, *BASE, "--functions", "folders", "--database", "r.duckdb")
    assert "cannot keep the scores in r.duckdb" in message


CASES: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    "hypotheses": ("t.csv", ("t.csv",), ([], 3, [3])),
    "functions": ("folders,contrast", ("folders", "contrast"), ("", [], 3)),
    "masks": ("dir", "dir", (True, ["x"])),
    "measures": ("auc", ("auc",), ("", 3)),
    "also": (["a.onnx", "b.onnx"], ("a.onnx", "b.onnx"), ([], 3)),
    "error": ("0.05", 0.05, (-1, "x", True)),
    "min-inputs": ("100", 100, (1, "x", 2.5)),
    "keep": ("100", 100, (1, "x", 2.5)),
    "quantile": ("0.005", 0.005, (0, 1, "x", True)),
    "database": ("x.duckdb", "x.duckdb", (True, ["x"])),
}


@pytest.mark.parametrize("name", [option.name for option in config.INSPECTION])
def test_options(name: str) -> None:
    given, expected, wrong = CASES[name]
    assert config.gather({name: given}, {})[name] == expected
    for value in wrong:
        with pytest.raises(UsageError, match=f"^--{name} must "):
            config.gather({name: value}, {})


def test_the_help_names_what_there_is() -> None:
    by_name = {option.name: option for option in config.INSPECTION}
    assert by_name["measures"].default == DEFAULT
    assert all(name in by_name["measures"].help for name in MEASURES)
    assert all(name in by_name["functions"].help for name in FUNCTIONS)
