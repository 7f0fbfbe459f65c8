"""Parquet: the table of the CSV file with types, for pandas, DuckDB, Spark and the like.

``value`` is a double, null for text; ``text`` is what the CSV file says, where counts are exact
also beyond 2^53. Needs pyarrow, the extra ``tables``.
"""

from __future__ import annotations

import io
from typing import Any

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.csv import text_of
from cleanai_onnx.report.tidy import lines_of
from cleanai_onnx.result import Cell, Result

__all__ = ["render", "require"]


def render(result: Result) -> bytes:
    """Return the tables of `result` as the bytes of a Parquet file.

    Raises
    ------
    UsageError
        If pyarrow is not installed.
    """
    arrow, parquet = require()
    lines = list(lines_of(result))
    schema = arrow.schema(
        [
            ("metric", arrow.dictionary(arrow.int32(), arrow.string())),
            ("view", arrow.dictionary(arrow.int32(), arrow.string())),
            ("row", arrow.int64()),
            ("layer", arrow.dictionary(arrow.int32(), arrow.string())),
            ("column", arrow.dictionary(arrow.int32(), arrow.string())),
            ("value", arrow.float64()),
            ("text", arrow.string()),
        ]
    )
    columns = [
        *([line[place] for line in lines] for place in range(5)),
        [_number(line.value) for line in lines],
        [text_of(line.value) for line in lines],
    ]
    arrays = [
        arrow.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
    ]
    stream = io.BytesIO()
    parquet.write_table(arrow.table(arrays, schema=schema), stream)
    return stream.getvalue()


def _number(value: Cell) -> float | None:
    if value is None or isinstance(value, str):
        return None
    try:
        return float(value)
    except OverflowError:  # a count of more than 308 digits
        return float("inf") if value > 0 else float("-inf")


def require() -> tuple[Any, Any]:
    """Return pyarrow and its module for Parquet.

    Raises
    ------
    UsageError
        If pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            "a Parquet report needs pyarrow: pip install 'cleanai-onnx[tables]', or choose csv, "
            "which has the same table."
        ) from error
    return pyarrow, pyarrow.parquet
