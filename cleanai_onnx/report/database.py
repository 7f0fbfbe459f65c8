"""A DuckDB file that keeps the scores of all inspections, and views to ask it.

Runs are added and never changed; a run appears whole or not at all. See ``docs/inspection.md`` for
the tables and for queries.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx.errors import OutputError, UsageError
from cleanai_onnx.inspection.result import Inspection
from cleanai_onnx.report.destination import Pending, check_destination, explained
from cleanai_onnx.report.names import printable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMA", "add_run", "check_database"]

FLAG = "--database"

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run VARCHAR PRIMARY KEY, started VARCHAR, tool_version VARCHAR, source VARCHAR,
    images_found BIGINT, images_skipped BIGINT
);
CREATE TABLE IF NOT EXISTS models (
    run VARCHAR, position INTEGER, model VARCHAR, sha256 VARCHAR, inputs BIGINT,
    stopped_early BOOLEAN, PRIMARY KEY (run, position)
);
CREATE TABLE IF NOT EXISTS affinities (
    run VARCHAR, model VARCHAR, layer VARCHAR, kind VARCHAR, unit BIGINT, hypothesis VARCHAR,
    measure VARCHAR, score DOUBLE, low DOUBLE, high DOUBLE, p DOUBLE, q DOUBLE, inputs BIGINT
);
CREATE OR REPLACE VIEW top_units AS
    SELECT run, model, hypothesis, measure, layer, kind, unit, score, low, high, q,
        row_number() OVER (
            PARTITION BY run, model, hypothesis, measure ORDER BY abs(score) DESC, layer, unit
        ) AS place
    FROM affinities WHERE score IS NOT NULL AND NOT isnan(score);
CREATE OR REPLACE VIEW changes AS
    SELECT a.run, first.model AS before_model, second.model AS after_model, a.layer, a.kind,
        a.unit, a.hypothesis, a.measure, a.score AS before, b.score AS after,
        b.score - a.score AS change
    FROM models first
    JOIN models second ON second.run = first.run AND second.position = first.position + 1
    JOIN affinities a ON a.run = first.run AND a.model = first.model
    JOIN affinities b ON b.run = second.run AND b.model = second.model AND b.layer = a.layer
        AND b.unit IS NOT DISTINCT FROM a.unit AND b.hypothesis = a.hypothesis
        AND b.measure = a.measure
    WHERE a.score IS NOT NULL AND b.score IS NOT NULL;
"""
"""Tables, and views: the units of each hypothesis by rank, and what changed from each model of a
run to the next."""


def check_database(path: str | Path) -> None:
    """Fail now if a run could not be added to the database later.

    Raises
    ------
    UsageError
        If DuckDB is not installed.
    OutputError
        If the file is no database, or cannot be written.
    """
    _require_duckdb()
    if Path(path).exists():
        _connected(path, path).close()
    else:
        check_destination(path, FLAG)


def add_run(inspection: Inspection, frame: pd.DataFrame, path: str | Path) -> Path:
    """Add a run to the database, which is made if need be, and return its path.

    Raises
    ------
    UsageError, OutputError
        As `check_database`; then the database is as it was.
    """
    if Path(path).exists():
        _add(inspection, frame, path, path)
        return Path(path)
    try:
        made = Pending(path)
    except (OSError, ValueError) as error:
        raise explained(path, error, FLAG) from error
    try:
        # DuckDB wants to make the file itself.
        made.temporary.unlink()
        _add(inspection, frame, made.temporary, path)
        made.place()
    except BaseException as error:
        made.remove()
        if isinstance(error, OSError):
            raise explained(path, error, FLAG) from error
        raise
    return Path(path)


def _add(inspection: Inspection, frame: pd.DataFrame, file: str | Path, called: str | Path) -> None:
    connection = _connected(file, called)
    try:
        connection.execute("BEGIN")
        connection.execute(SCHEMA)
        _insert(connection, inspection, frame)
        connection.execute("COMMIT")
    except _require_duckdb().Error as error:
        raise _refused(called, error) from error
    finally:
        # What was not committed is not kept.
        connection.close()


def _insert(connection: Any, inspection: Inspection, frame: pd.DataFrame) -> None:
    run = inspection.models[0].run
    connection.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)",
        [
            run.id,
            run.started,
            run.tool_version,
            inspection.source,
            inspection.found,
            len(inspection.skipped),
        ],
    )
    for position, (one, name) in enumerate(zip(inspection.models, inspection.names, strict=True)):
        connection.execute(
            "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?)",
            [run.id, position, name, one.sha256, one.inputs, one.stopped],
        )
    connection.register("scores", frame)
    connection.execute("INSERT INTO affinities SELECT ?, * FROM scores", [run.id])
    connection.unregister("scores")


def _require_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise UsageError(
            "--database needs DuckDB; install it with `pip install 'cleanai-onnx[inspect]'`.",
            slug="package-missing",
        ) from error
    return duckdb


def _connected(file: str | Path, called: str | Path) -> Any:
    duckdb = _require_duckdb()
    try:
        return duckdb.connect(str(file))
    except duckdb.Error as error:
        raise _refused(called, error) from error


def _refused(path: str | Path, error: Exception) -> OutputError:
    reason = printable(" ".join(str(error).split()), 200)
    return OutputError(
        f"cannot keep the scores in {printable(str(path), 300)}: {reason.rstrip('.')}; choose "
        "another file with --database."
    )
