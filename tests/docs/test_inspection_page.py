"""docs/inspection.md: its examples run, and its tables say what the program says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cleanai_onnx import cli
from cleanai_onnx.inspection import COLUMNS, DEFAULT, FUNCTIONS, MEASURES

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "inspection.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows() -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]


def test_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    assert len(names["scores"]) > 1000
    (command,) = blocks("sh")
    assert cli.main(shlex.split(command)[1:]) == 0
    assert (tmp_path / "Affinity_lenet5.csv").is_file()
    assert (tmp_path / "Affinity_lenet5.pdf").is_file()


def test_the_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    models = [str(ROOT / "models" / name) for name in ("lenet5.onnx", "lenet4.onnx")]
    for _ in range(2):
        code = cli.main(["inspect", models[0], str(ROOT / "models" / "digits"), "--also", models[1],
                         "--functions", "folders", "--measures", "pearson,auc,probe",
                         "--database", "r.duckdb", "--quiet"])  # fmt: skip
        assert code == 0
    with duckdb.connect("r.duckdb", read_only=True) as database:
        runs = [run for (run,) in database.execute("SELECT run FROM runs").fetchall()]
        for query in blocks("sql"):
            for number, run in enumerate(runs, 1):
                query = query.replace(f"RUN {number}", run)
            assert database.execute(query).fetchall(), query
        told = {row[0].strip("`").removesuffix("` (view)"): row for row in rows()}
        for table in ("runs", "models", "affinities", "top_units", "changes"):
            columns = [one[0] for one in database.execute(f"DESCRIBE {table}").fetchall()]
            named = set(re.findall("`([a-z0-9_]+)`", told[table][2]))
            assert named <= set(columns)
            if table in ("runs", "models", "affinities"):
                assert set(columns) - named <= {"run"}


def test_the_measures() -> None:
    told = {row[0].strip("`"): row[2] for row in rows() if row[0].strip("`") in MEASURES}
    assert told.keys() == MEASURES.keys()
    for name, takes in told.items():
        assert set(takes.split(", ")) == MEASURES[name].takes
    assert f"`{','.join(DEFAULT)}`" in PAGE


def test_the_functions_and_the_columns() -> None:
    assert all(f"`{name}`" in PAGE for name in (*FUNCTIONS, *COLUMNS))
