from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report import attestation
from cleanai_onnx.result import Result
from tests.report.results import GATES, hostile_result, small_result

HEX = re.compile(r"[0-9a-f]{64}")


def statement(result: Result) -> dict:
    return json.loads(attestation.render(result))


def test_the_statement_has_what_the_specification_asks_for() -> None:
    result = small_result()
    found = statement(result)
    assert set(found) == {"_type", "subject", "predicateType", "predicate"}
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert found["subject"] == [
        {"name": result.model.file, "digest": {"sha256": result.model.sha256}}
    ]
    predicate = found["predicate"]
    assert predicate["result"] in ("PASSED", "WARNED", "FAILED")
    names = [descriptor["name"] for descriptor in predicate["configuration"]]
    assert names == ["configuration", "images"]
    for descriptor in predicate["configuration"]:
        # A ResourceDescriptor has a uri, a digest or the content itself.
        assert HEX.fullmatch(descriptor["digest"]["sha256"])
    assert predicate["passedTests"] == ["nc=30%"]
    assert predicate["failedTests"] == [gate.gate for gate in GATES[1:]]
    assert predicate["warnedTests"] == []


def test_it_says_no_more_than_what_was_tested() -> None:
    failed = small_result()
    whole = replace(failed, images=replace(failed.images, skipped=()))
    passing = GATES[:1]
    assert attestation.verdict_of(failed) == "FAILED"
    assert attestation.verdict_of(replace(whole, gates=passing)) == "PASSED"
    assert attestation.verdict_of(replace(failed, gates=passing)) == "WARNED"  # images left out
    assert attestation.verdict_of(replace(whole, gates=())) == "WARNED"  # nothing was tested


def test_batches_of_ones_own_have_no_images_to_name() -> None:
    result = small_result()
    own = replace(result, images=replace(result.images, manifest_sha256=None))
    (only,) = statement(own)["predicate"]["configuration"]
    assert only["name"] == "configuration"


def test_a_result_without_hashes_is_refused() -> None:
    result = small_result()
    early = replace(result, run=replace(result.run, configuration_sha256=""))
    with pytest.raises(UsageError, match="has no hash of its configuration"):
        attestation.render(early)


def test_the_hash_of_several_files_is_not_called_that_of_one() -> None:
    result = small_result()
    split = replace(result, model=replace(result.model, data_files=("weights.bin",)))
    (subject,) = statement(split)["subject"]
    assert subject["digest"] == {"cleanai-onnx-model-and-data-sha256": result.model.sha256}


def test_hostile_names_are_kept_as_they_are() -> None:
    result = hostile_result()
    assert statement(result)["subject"][0]["name"] == result.model.file
