"""The record of an exploration: what its journal goes on with and refuses, and its schema."""

from __future__ import annotations

import dataclasses
import json as stdlib_json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.exploration.lacking import REACHABLE
from cleanai_onnx.exploration.record import (
    FORMAT_VERSION,
    Became,
    Exploration,
    ExploredModel,
    SeedOutcome,
)
from cleanai_onnx.report import json
from cleanai_onnx.report.exploration import NAME, Journal

SETTINGS: dict[str, Any] = {
    "version": "1",
    "models": ["aa", "bb"],
    "preprocessing": [{"scale": "1/255"}, {"scale": "1/255"}],
    "seed": 0,
    "patch_size": (6, 6),
    "profile": None,
}
OUTCOME = SeedOutcome(3, "b.png", "none", 5, 1, (0, 0), (0, 0))


def kept(folder: Path) -> list[int]:
    journal = Journal(folder, SETTINGS)
    journal.start("ff")
    indexes = [one.index for one in journal]
    journal.close()
    return indexes


def test_it_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    journal.start("ff")
    journal.add(OUTCOME)
    journal.close()
    with (tmp_path / NAME).open("a") as stream:
        stream.write('{"index": 4, "ima')
    assert kept(tmp_path) == [3]


def test_one_that_was_ended_before_it_began(tmp_path: Path) -> None:
    Journal(tmp_path, SETTINGS).close()
    assert kept(tmp_path) == []
    (tmp_path / NAME).write_text('{"exploration": {"se')
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": "2"}, "the version of cleanai-onnx is 1 there and 2 here"),
        ({"models": ["aa", "cc"]}, "the model (SHA-256) 2 is bb there and cc here"),
        ({"models": ["aa"]}, "the number of models is 2 there and 1 here"),
        (
            {"preprocessing": [{"scale": "1/255"}, {"scale": "1"}]},
            "preprocessing: scale of model 2 is 1/255 there and 1 here",
        ),
        ({"seed": 1}, "--seed is 0 there and 1 here"),
        ({"patch_size": (6, 7)}, "--patch-size is 6, 6 there and 6, 7 here"),
        ({"profile": "ab"}, "what --profile has learnt (SHA-256) is not set there and ab here"),
        ({"sections": 7}, "--sections is not set there and 7 here"),
    ],
)
def test_it_names_the_difference(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    assert kept(tmp_path) == []
    with pytest.raises(UsageError) as error:
        Journal(tmp_path, {**SETTINGS, **changed})
    assert words in str(error.value)


def test_it_is_of_its_images(tmp_path: Path) -> None:
    assert kept(tmp_path) == []
    journal = Journal(tmp_path, SETTINGS)
    with pytest.raises(UsageError, match=r"the images .* is ff there and ee here"):
        journal.start("ee")


@pytest.mark.parametrize("text", ["[]", "{}", "no", '{"exploration": [], "images": "ff"}'])
def test_what_is_no_journal(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text + "\n")
    with pytest.raises(UsageError, match="does not begin"):
        Journal(tmp_path, SETTINGS)
    assert (tmp_path / NAME).read_text() == text + "\n"


def test_the_schema_is_valid_and_complete() -> None:
    schema = json.schema("exploration")
    jsonschema.Draft202012Validator.check_schema(schema)
    described: list[tuple[Any, dict[str, Any], list[str]]] = [
        (Exploration, schema, ["seeds"]),
        (ExploredModel, schema["$defs"]["explored_model"], []),
        (SeedOutcome, schema["$defs"]["seed_outcome"], []),
    ]
    for kind, record, further in described:
        names = [field.name for field in dataclasses.fields(kind)] + further
        assert list(record["properties"]) == record["required"] == names
        for details in record["properties"].values():
            assert details.get("description") or details["$ref"]
    properties = schema["properties"]
    assert properties["format_version"]["maximum"] == FORMAT_VERSION
    assert properties["format"]["const"] == Exploration.format
    assert tuple(properties["metric"]["enum"]) == REACHABLE
    assert tuple(properties["objective"]["enum"]) == ("disagreement", *REACHABLE)
    became = schema["$defs"]["seed_outcome"]["properties"]["became"]["enum"]
    assert tuple(became) == get_args(Became)


def test_shared_records_are_those_of_the_result() -> None:
    own, other = json.schema("exploration")["$defs"], json.schema()["$defs"]
    for name in set(own) - {"explored_model", "seed_outcome"}:
        assert own[name] == other[name]


def test_the_schema_refuses_other_things() -> None:
    validator = jsonschema.Draft202012Validator(json.schema("exploration")["$defs"]["seed_outcome"])
    good = stdlib_json.loads(stdlib_json.dumps(dataclasses.asdict(OUTCOME)))
    assert validator.is_valid(good)
    for key, value in (("became", "won"), ("steps", -1), ("classes", 3), ("l2", "far")):
        assert not validator.is_valid({**good, key: value})
    del good["adds"]
    assert not validator.is_valid(good)
