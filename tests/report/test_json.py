from __future__ import annotations

import base64
import dataclasses
import json as stdlib_json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cleanai_onnx.result as tree
from cleanai_onnx.errors import UsageError
from cleanai_onnx.report import json, read, write
from cleanai_onnx.result import Column, Result, Table
from tests.report.results import hostile_result, resnet50_like, small_result, tiny_result

FACTORIES = [tiny_result, small_result, resnet50_like, hostile_result]


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"bare {name}")

    return stdlib_json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("factory", FACTORIES)
def test_round_trip(factory: Callable[[], Result]) -> None:
    text = json.dumps(factory())
    assert json.dumps(json.loads(text)) == text


@pytest.mark.parametrize("factory", [tiny_result, small_result, resnet50_like])
def test_what_is_read_equals_what_was_written(factory: Callable[[], Result]) -> None:
    assert json.loads(json.dumps(factory())) == factory()


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_schema_describes_it(factory: Callable[[], Result]) -> None:
    validator = jsonschema.Draft202012Validator(json.schema())
    validator.validate(strict(json.dumps(factory())))


def test_the_schema_refuses_other_things() -> None:
    validator = jsonschema.Draft202012Validator(json.schema())
    good = strict(json.dumps(tiny_result()))
    for key in ("model", "tables", "format_version"):
        bad = {name: value for name, value in good.items() if name != key}
        assert not validator.is_valid(bad)
    assert not validator.is_valid({**good, "format_version": 2})
    assert not validator.is_valid({**good, "firing": [[-1]]})


def test_the_schema_itself_is_valid_and_complete() -> None:
    schema = json.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    described = {"Result": schema}
    for name, record in schema["$defs"].items():
        described[name.replace("_", "").lower()] = record
    kinds = [kind for kind in vars(tree).values() if dataclasses.is_dataclass(kind)]
    assert len(kinds) == 24
    for kind in kinds:
        name = kind.__name__
        short = name.lower().removesuffix("facts").removesuffix("node")
        if name != "Result":
            short = {"image": "images"}.get(short, short)
            record = described[short]
        else:
            record = schema
        names = {field.name for field in dataclasses.fields(kind)}
        assert set(record["properties"]) == names, name
        required = {
            field.name
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING and field.name != "format_version"
        }
        assert required <= set(record["required"]), name
        for field, details in record["properties"].items():
            target = details
            if "description" not in details:
                target = schema["$defs"][details["$ref"].rpartition("/")[2]]
            assert target["description"], f"{name}.{field}"


def table_with(cells: tuple[object, ...], **changes: Any) -> Result:
    columns = (Column("layer", "text"), Column("n", "count"), Column("x", "value"))
    table = Table("m", "unit", "M", "d", "s", {}, columns, (cells,), None)  # type: ignore[arg-type]
    return replace(tiny_result(), tables=(replace(table, **changes),))


def test_floats_that_are_not_finite_survive_and_text_stays_text() -> None:
    result = table_with(("NaN", 3, math.nan), parameters={"t": math.inf, "name": "Infinity"})
    text = json.dumps(result)
    strict(text)
    table = json.loads(text).tables[0]
    assert table.rows[0][0] == "NaN"
    assert isinstance(table.rows[0][2], float)
    assert math.isnan(table.rows[0][2])
    assert table.parameters == {"t": math.inf, "name": "Infinity"}


def test_huge_counts_are_exact() -> None:
    result = table_with(("a", 10**30 + 1, 0.1))
    assert json.loads(json.dumps(result)).tables[0].rows[0][1] == 10**30 + 1


def test_numpy_numbers_are_numbers() -> None:
    result = table_with(("a", np.int64(7), np.float32(0.5)), parameters={"v": np.arange(3)})
    table = json.loads(json.dumps(result)).tables[0]
    assert table.rows == (("a", 7, 0.5),)
    assert table.parameters == {"v": (0, 1, 2)}


@given(
    st.text(st.characters(exclude_categories=()).filter(lambda c: not "\ud800" <= c <= "\udbff")),
    st.integers(),
    st.floats(),
)
@settings(max_examples=40)
def test_any_cells_survive(name: str, count: int, number: float) -> None:
    result = table_with((name, count, number))
    text = json.dumps(result)
    text.encode("utf-8")
    back = json.loads(text).tables[0].rows[0]
    assert back[:2] == (name, count)
    assert back[2] == number or (math.isnan(number) and math.isnan(float(back[2] or 0)))


def test_thumbnails_are_base64() -> None:
    result = small_result()
    stored = strict(json.dumps(result))["featured"][0]["thumbnail"]
    assert base64.b64decode(stored) == result.featured[0].thumbnail


def test_unknown_members_are_ignored() -> None:
    stored = strict(json.dumps(small_result()))
    stored["weather"] = [1, 2, 3]
    stored["model"]["colour"] = "blue"
    assert json.loads(stdlib_json.dumps(stored)) == small_result()


def changed(path: str, value: object) -> str:
    """Return a stored result with one value replaced, or removed if `value` is ``...``."""
    stored = strict(json.dumps(small_result()))
    node = stored
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return stdlib_json.dumps(stored)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "no format_version"),
        ("{}", "no format_version"),
        ("[" * 100_000, "JSON"),
        ('{"format_version": NaN}', "not valid JSON"),
        ('{"format_version": "1"}', "not a number"),
        ('{"format_version": true}', "not a number"),
        ('{"format_version": 2}', "upgrade cleanai-onnx"),
        ('{"format_version": 1}', r"result\.model is missing"),
        ("1" * 5000, "JSON"),
        (changed("model.name", 3), r"result\.model\.name is not text"),
        (changed("model.parameters", 1.5), "not a whole number"),
        (changed("model.opsets", []), "not an object"),
        (changed("layers", {}), "not an array"),
        (changed("layers.0.units", True), "not a whole number"),
        (changed("tables.0.view", "neuron"), "not one of unit, channel"),
        (changed("tables.0.rows.0", ["a"]), "1 cells for 4 columns"),
        (changed("tables.0.rows.0.0", {}), "is not text"),
        (changed("tables.0.columns.0.kind", "emoji"), "not one of text"),
        (changed("featured.0.thumbnail", "§"), "not base64"),
        (changed("firing.0", []), "firing counts"),
        (changed("firing", []), "0 rows for 4 layers"),
        (changed("run.seconds", {"load": "long"}), "not a number"),
        (changed("gates.0.passed", 1), "not true or false"),
        (changed("gates.0.limit", True), "not a number"),
        (changed("images.used", ...), r"images\.used is missing"),
    ],
)
def test_broken_files_are_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        json.loads(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_read_and_write(tmp_path: Path) -> None:
    path = write(small_result(), "json", tmp_path / "new" / "result.json")
    assert read(path) == small_result()


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the stored result"):
        read(tmp_path / "missing.json")
    with pytest.raises(UsageError, match="cannot read the stored result"):
        read(tmp_path)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read(binary)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(UsageError, match=r"broken\.json"):
        read(broken)
