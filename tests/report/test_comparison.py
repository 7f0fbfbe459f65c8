"""What ``diff`` and ``compare`` write: the published schema, the PDF, the terminal."""

from __future__ import annotations

import dataclasses
import io
import json as stdlib_json
import math
import re
from typing import Any

import jsonschema
import pytest
from rich.cells import cell_len
from rich.console import Console

import cleanai_onnx.difference as tree
from cleanai_onnx.difference import Comparison, Difference, Disagreement, OutputAgreement
from cleanai_onnx.report import json, pdf_comparison
from cleanai_onnx.report.comparison import ComparisonLines
from cleanai_onnx.report.difference import as_json
from cleanai_onnx.result import Note, SkippedImage
from cleanai_onnx.validation import diff
from tests.report.results import (
    GATES,
    HOSTILE_NAMES,
    hostile_result,
    resnet50_like,
    small_result,
    thumbnail,
)

EVIL = "\u202e" + "".join(HOSTILE_NAMES)


def comparison(difference: Difference, **changes: Any) -> Comparison:
    found = Comparison(
        difference=difference,
        outputs=OutputAgreement(
            "y", "z", (10,), 9, 1, 10, 8, 2.5, "a.png", 0.25, "b.png", 0.5, 10.0
        ),
        outputs_remark="",
        disagreements=(
            Disagreement("a.png", 3, 1, 2, 2.5, 0.25, thumbnail(1)),
            Disagreement("b.png", 4, None, None, None, None, None),
        ),
        found=10,
        skipped=(SkippedImage("c.png", "broken"),),
        decoded_once=True,
        device="cpu",
        seconds=1.5,
        per_image_table="rows.csv",
        notes=(Note("slug", "text"),),
        gates=GATES,
    )
    return dataclasses.replace(found, **changes)


def hostile_comparison() -> Comparison:
    nan, inf = math.nan, math.inf
    return comparison(
        diff(hostile_result(), small_result()),
        outputs=OutputAgreement(EVIL, "", (), 0, 0, None, 0, nan, EVIL, inf, EVIL, -inf, 1e300),
        outputs_remark=EVIL,
        disagreements=(
            Disagreement(EVIL, 0, -1, 10**9, nan, inf, b"not a PNG"),
            Disagreement("", 1, 1, None, 1e300, 1e-300, None),
        ),
        skipped=tuple(SkippedImage(name, EVIL) for name in HOSTILE_NAMES * 2),
        device=EVIL,
        notes=(Note(EVIL, EVIL),),
        gates=hostile_result().gates,
    )


STORED = {
    "diff": lambda: diff(small_result(), resnet50_like()),
    "compare": lambda: comparison(diff(small_result(), resnet50_like())),
    "compare without outputs": lambda: comparison(
        diff(small_result(), small_result()), outputs=None, disagreements=(), per_image_table=None
    ),
    "hostile": lambda: diff(hostile_result(), small_result()),
}


@pytest.mark.parametrize("name", STORED)
def test_the_schema_describes_it(name: str) -> None:
    content = stdlib_json.loads(as_json(STORED[name]()))  # type: ignore[no-untyped-call]
    validator = jsonschema.Draft202012Validator(json.schema("comparison"))
    validator.validate(content)
    del content["format_version"]
    assert not validator.is_valid(content)


def test_it_is_valid_and_complete() -> None:
    schema = json.schema("comparison")
    jsonschema.Draft202012Validator.check_schema(schema)
    kinds = [
        kind
        for kind in vars(tree).values()
        if dataclasses.is_dataclass(kind) and kind.__module__ == tree.__name__
    ]
    assert len(kinds) == 10
    for kind in kinds:
        record = schema["$defs"][re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()]
        fields = dataclasses.fields(kind)
        assert list(record["properties"]) == [field.name for field in fields]
        assert all(details["description"] for details in record["properties"].values())
        needed = {field.name for field in fields if field.default is dataclasses.MISSING}
        assert needed <= {*record["required"]} <= needed | {"format_version"}


def test_shared_records_are_those_of_the_result() -> None:
    own, other = json.schema("comparison")["$defs"], json.schema()["$defs"]
    for name in ("number", "gate_outcome", "note", "skipped_image"):
        assert own[name] == other[name]


@pytest.mark.parametrize("made", [hostile_comparison, STORED["compare"]])
def test_the_pdf_can_be_drawn(made: Any) -> None:
    assert pdf_comparison.render(made()).startswith(b"%PDF-")


def printed(made: Comparison) -> str:
    stream = io.StringIO()
    ComparisonLines(made, Console(file=stream, width=80)).everything()
    return stream.getvalue()


def test_the_terminal() -> None:
    text = printed(STORED["compare"]())  # type: ignore[no-untyped-call]
    words = " ".join(text.split())
    assert "Arg max: the same for 8 of 9 images (88.89 %)" in words
    assert "at most 2.5 (a.png), on average 0.5; the outputs of the old model reach 10" in words
    assert "a.png 1 -> 2 2.5 25.0 %" in words
    assert "Not finite: the outputs for 1 image" in words
    assert "Skipped images: 1 c.png: broken" in words
    assert "3 of 4 gates failed" in words
    assert all(cell_len(line) <= 80 for line in text.splitlines())


def test_hostile_names_are_harmless_on_the_terminal() -> None:
    text = printed(hostile_comparison())
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert all(cell_len(line) <= 80 for line in text.splitlines())
