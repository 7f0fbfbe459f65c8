from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.converters import conversion
from cleanai_onnx.converters.conversion import METADATA_KEY, Attempt, Conversion, Parity

RECORD = Conversion(
    source="net.pth",
    format="PyTorch state dict",
    source_sha256="ab" * 32,
    route="torch dynamo exporter",
    opset=20,
    parameters=390_410,
    inputs={"x": ("batch", 1, 28, 28)},
    outputs={"y": ("batch", 10)},
    batch="dynamic",
    parity=Parity(16, 0, (1, 3), 1e-6, 1e-7, 12.5, 16, 16, 1e-4, 1e-5),
    attempts=(
        Attempt("a", "not installed", "b cannot be imported"),
        Attempt("c", "failed", "it crashed", 1.5),
        Attempt("torch dynamo exporter", "used", "", 2.0),
    ),
    versions={"torch": "2.13.0"},
    remarks=("Take care.",),
    model="/somewhere/net.onnx",
    model_sha256="cd" * 32,
    sidecar="/somewhere/net.preprocessing.json",
)


def test_round_trip() -> None:
    assert conversion.from_json(conversion.dumps(RECORD)) == RECORD
    assert conversion.from_json(conversion.to_json(RECORD)) == RECORD


def test_the_embedded_form_does_not_say_where_the_file_is() -> None:
    text = conversion.dumps(RECORD, embedded=True)
    assert "somewhere" not in text
    assert conversion.from_json(text) == replace(RECORD, model="", model_sha256="", sidecar="")


def test_no_claim() -> None:
    assert conversion.claim({"other": "x"}) == (None, "")


def test_a_claim() -> None:
    record, remark = conversion.claim({METADATA_KEY: conversion.dumps(RECORD, embedded=True)})
    assert record is not None
    assert record.route == RECORD.route
    assert remark == ""


def changed(path: str, value: Any) -> str:
    tree = conversion.to_json(RECORD)
    node: Any = tree
    *parents, last = path.split(".")
    for name in parents:
        node = node[int(name)] if isinstance(node, list) else node[name]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return json.dumps(tree)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 60_000,
        "{}",
        '{"format_version": 1}',
        "x" * 100_000,
        changed("format_version", 2),
        changed("format_version", True),
        changed("extra", 1),
        changed("source", 5),
        changed("source", "x" * 501),
        changed("source_sha256", "xyz"),
        changed("opset", -1),
        changed("opset", True),
        changed("opset", 1.5),
        changed("parameters", 1 << 60),
        changed("batch", "both"),
        changed("batch", []),
        changed("parity.maximum", math.nan),
        changed("parity.maximum", math.inf),
        changed("parity.maximum", 1e999),
        changed("parity.maximum", -1.0),
        changed("parity.maximum", "0"),
        changed("parity.more", 0),
        changed("attempts", [{"route": "x"}]),
        changed("attempts", [5]),
        changed("attempts", "x"),
        changed("attempts.0.outcome", "won"),
        changed("attempts", [conversion.to_json(RECORD)["attempts"][0]] * 65),
        changed("inputs", {"x": [None]}),
        changed("inputs", {"x": "abc"}),
        changed("inputs", {f"x{n}": [1] for n in range(65)}),
        changed("versions", {"a": 1}),
        changed("remarks", [1]),
    ],
)  # fmt: skip
def test_a_malformed_claim_is_ignored_with_a_remark(text: str) -> None:
    record, remark = conversion.claim({METADATA_KEY: text})
    assert record is None
    assert remark.startswith("The file's own record of its conversion")
    assert remark.endswith(".")
    assert len(remark) < 200
    assert remark.isprintable()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(member=st.sampled_from(sorted(conversion.to_json(RECORD))), value=values)
def test_whatever_stands_in_a_claim_it_is_read_or_refused(member: str, value: Any) -> None:
    record, remark = conversion.claim({METADATA_KEY: changed(member, value)})
    assert (record is None) == bool(remark)
    if record is not None:
        assert conversion.from_json(conversion.dumps(record)) == record
