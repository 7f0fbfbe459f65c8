"""An unsigned in-toto statement of a result, for a signer such as cosign to sign.

The statement says of the model, by its hash, which gates it passed and failed, with which
configuration and on which images, again by their hashes. See docs/evidence.md.

Sources: in-toto Attestation Framework, Statement v1 and ResourceDescriptor v1; predicate Test
Result v0.1 (https://in-toto.io/attestation/test-result/v0.1).
"""

from __future__ import annotations

from typing import Any, Literal

from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.json import text_of
from cleanai_onnx.result import ModelFacts, Result

__all__ = ["COMBINED", "PREDICATE_TYPE", "STATEMENT_TYPE", "render", "statement", "verdict_of"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"

COMBINED = "cleanai-onnx-model-and-data-sha256"
"""What the hash of a model together with its external data is called (docs/evidence.md)."""

Verdict = Literal["PASSED", "WARNED", "FAILED"]


def render(result: Result) -> bytes:
    """Return the statement of `result` as the bytes of a JSON file.

    Raises
    ------
    UsageError
        If the result has no hash of its configuration, as those of early versions.
    """
    return (text_of(statement(result)) + "\n").encode("utf-8")


def statement(result: Result) -> dict[str, Any]:
    """Return the statement of `result`; see `render`."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": result.model.file, "digest": _digest(result.model)}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": verdict_of(result),
            "configuration": _configuration(result),
            "passedTests": [one.gate for one in result.gates if one.passed],
            "warnedTests": [],
            "failedTests": [one.gate for one in result.gates if not one.passed],
        },
    }


def verdict_of(result: Result) -> Verdict:
    """Return FAILED if a gate failed; WARNED if there was none, or an image was left out."""
    if not all(gate.passed for gate in result.gates):
        return "FAILED"
    return "PASSED" if result.gates and not result.images.skipped else "WARNED"


def _digest(model: ModelFacts) -> dict[str, str]:
    # Of a model with external data, the hash is of several files: no tool would find it by sha256.
    return {COMBINED if model.data_files else "sha256": model.sha256}


def _configuration(result: Result) -> list[dict[str, Any]]:
    run, images = result.run, result.images
    if not run.configuration_sha256:
        raise UsageError(
            "this result has no hash of its configuration, which a statement needs: it is of an "
            "earlier version, so analyze the model again."
        )
    found = [
        {
            "name": "configuration",
            "digest": {"sha256": run.configuration_sha256},
            "annotations": {
                "tool": f"cleanai-onnx {run.tool_version}",
                "run": run.id,
                "started": run.started,
            },
        }
    ]
    if images.manifest_sha256 is not None:
        found.append(
            {
                "name": "images",
                "digest": {"sha256": images.manifest_sha256},
                "annotations": {
                    "used": images.used,
                    "found": images.found,
                    "skipped": len(images.skipped),
                },
            }
        )
    return found
