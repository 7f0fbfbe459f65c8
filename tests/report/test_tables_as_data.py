from __future__ import annotations

import csv
import io
import math
import sys
from dataclasses import replace

import pandas as pd
import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report import render
from cleanai_onnx.result import Column, Result, Table
from tests.report.results import hostile_result, resnet50_like, small_result, tiny_result

FACTORIES = [tiny_result, small_result, resnet50_like]
HEADER = ["metric", "view", "row", "layer", "column", "value"]


def rows(result: Result) -> list[list[str]]:
    return list(csv.reader(io.StringIO(render(result, "csv").decode("utf-8"), newline="")))


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_tables_can_be_made_again_from_the_csv(factory: object) -> None:
    result: Result = factory()  # type: ignore[operator]
    header, *lines = rows(result)
    assert header == HEADER
    found = {tuple(line[:5]): line[5] for line in lines}
    assert len(found) == len(lines)
    cells = 0
    for table in result.tables:
        numbered = [*enumerate(table.rows, 1)]
        numbered += [("", table.total)] if table.total else []
        for number, row in numbered:
            layer = "" if number == "" else str(row[0])
            for column, cell in zip(table.columns[1:], row[1:], strict=True):
                if number == "" and column.kind == "text":
                    continue
                text = found[table.metric, table.view, str(number), layer, column.name]
                cells += 1
                assert text == "" if cell is None else type(cell)(text) == cell
    assert cells == len(lines)


def test_exact_counts_and_numbers_that_are_none() -> None:
    values = (10**30, 0.1, math.nan, math.inf, None, "text")
    columns = (Column("layer", "text"), *(Column(f"c{i}", "value") for i in range(6)))
    table = Table("m", "unit", "", "", "", {}, columns, (("=1+1", *values),))
    result = replace(tiny_result(), tables=(table,))
    assert [line[5] for line in rows(result)[1:]] == [
        "1" + "0" * 30,
        "0.1",
        "nan",
        "inf",
        "",
        "text",
    ]
    assert {line[3] for line in rows(result)[1:]} == {"'=1+1"}


def test_no_cell_is_a_formula_or_a_control_character() -> None:
    for line in rows(hostile_result()):
        for cell in line[:5]:
            assert cell[:1] not in ("=", "+", "-", "@")
            assert cell.isprintable()


@pytest.mark.parametrize("factory", [*FACTORIES, hostile_result])
def test_parquet_is_the_csv_with_types(factory: object) -> None:
    pytest.importorskip("pyarrow")
    result: Result = factory()  # type: ignore[operator]
    frame = pd.read_parquet(io.BytesIO(render(result, "parquet")))
    assert list(frame.columns) == [*HEADER, "text"]
    lines = rows(result)[1:]
    assert frame["text"].tolist() == [line[5] for line in lines]
    assert frame["layer"].astype(str).tolist() == [line[3] for line in lines]
    assert frame["row"].isna().tolist() == [line[2] == "" for line in lines]
    for value, line in zip(frame["value"], lines, strict=True):
        try:
            number = float(line[5])
        except ValueError:
            number = math.nan
        assert value == number or (math.isnan(value) and math.isnan(number))


def test_without_pyarrow_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'cleanai-onnx\[tables\]', or choose csv"):
        render(tiny_result(), "parquet")
