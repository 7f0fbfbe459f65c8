"""The database of inspections: a run is added whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx import inspect_models
from cleanai_onnx.errors import OutputError
from cleanai_onnx.inspection import Column, Inspection
from cleanai_onnx.report.database import add_run, check_database
from tests.inspection.planted import network, pictures

duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def found() -> Inspection:
    x, shows = pictures(0, 30, 2, 4, 0.1)
    known = {str(number): float(one) for number, one in enumerate(shows[:, 0])}
    return inspect_models(network([0, 1], 4), x, Column('it\'s "so"', "binary", known))


def test_what_is_kept(found: Inspection, tmp_path: Path) -> None:
    frame = found.frame()
    path = add_run(found, frame, tmp_path / "new" / "r.duckdb")
    assert [one.name for one in path.parent.iterdir()] == ["r.duckdb"]
    with duckdb.connect(str(path), read_only=True) as database:
        kept = database.execute("SELECT * EXCLUDE (run) FROM affinities").df()
    assert kept.hypothesis.tolist() == frame.hypothesis.tolist()
    assert kept.unit.tolist() == frame.unit.tolist()
    np.testing.assert_array_equal(kept.score, frame.score)


def test_a_run_that_cannot_be_added(found: Inspection, tmp_path: Path) -> None:
    path = tmp_path / "r.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE affinities (something_else INTEGER)")
    with pytest.raises(OutputError, match="cannot keep the scores"):
        add_run(found, found.frame(), path)
    with duckdb.connect(str(path), read_only=True) as database:
        tables = [name for (name,) in database.execute("SHOW TABLES").fetchall()]
    assert tables == ["affinities"]


def test_a_check_leaves_nothing(tmp_path: Path) -> None:
    check_database(tmp_path / "r.duckdb")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.duckdb").write_text("no database" * 1000)
    with pytest.raises(OutputError, match="cannot keep the scores"):
        check_database(tmp_path / "text.duckdb")


def test_a_run_is_added_once(found: Inspection, tmp_path: Path) -> None:
    frame = found.frame()
    add_run(found, frame, tmp_path / "r.duckdb")
    with pytest.raises(OutputError):
        add_run(found, frame, tmp_path / "r.duckdb")
    with duckdb.connect(str(tmp_path / "r.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM affinities").fetchone() == (len(frame),)
