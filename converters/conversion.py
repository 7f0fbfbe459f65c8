"""The record of a conversion: what was converted, how, and how it was proved.

The record travels in the ONNX file itself, as the metadata property `METADATA_KEY`, so that a later
analysis of the file can show it. What a file says of itself is a claim: whoever can write the file
can write the claim. It is read strictly, within fixed bounds, and never acted upon.

This module holds data only; `cleanai_onnx.result` knows it, so it imports nothing but errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from cleanai_onnx.errors import ModelError

__all__ = [
    "ATOL",
    "METADATA_KEY",
    "RTOL",
    "Attempt",
    "Batch",
    "Conversion",
    "ConversionError",
    "FailedAttemptError",
    "Outcome",
    "Parity",
    "UnloadableError",
    "claim",
    "dumps",
    "from_json",
    "to_json",
]

METADATA_KEY = "cleanai.conversion"
"""The metadata property of an ONNX file that holds the record, in JSON."""

FORMAT_VERSION = 1

RTOL, ATOL = 3e-5, 1e-6
"""Tolerance of the comparison. Rounding makes differences of up to 6e-7 of the largest output in
the networks measured for docs/converters.md, the mildest real faults 1e-5 to 1e-3."""

Batch = Literal["dynamic", "fixed"]
Outcome = Literal["used", "failed", "not installed"]
Shape = tuple[int | str, ...]

_MOST_BYTES = 1 << 16
_LONGEST = 500
_MOST_ENTRIES = 64
_OF_THE_FILE = frozenset({"model", "model_sha256", "sidecar"})


@dataclass(frozen=True)
class Attempt:
    """One route that was tried, or could not be.

    Attributes
    ----------
    route
        The route in words: ``"torch dynamo exporter"``.
    outcome
        ``used`` for the one whose file was kept.
    reason
        Why it failed, or what is not installed; empty for the one used.
    seconds
        How long it took.
    """

    route: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Parity:
    """How far the ONNX model is from its source on the same inputs.

    Attributes
    ----------
    inputs
        How many inputs were compared, `images` of them made from the user's own images.
    batch_sizes
        The batch sizes in which they were run.
    maximum, mean
        Largest and mean absolute difference of all output values.
    magnitude
        Largest absolute value of the source's outputs, for comparison.
    agreeing, ranked
        Of the `ranked` inputs whose outputs have classes to choose from, how many have the same
        arg max in both.
    rtol, atol
        The tolerance: a difference passes up to ``atol + rtol * m``, m the largest absolute value
        of that output tensor in the source.
    """

    inputs: int
    images: int
    batch_sizes: tuple[int, ...]
    maximum: float
    mean: float
    magnitude: float
    agreeing: int
    ranked: int
    rtol: float
    atol: float


@dataclass(frozen=True)
class Conversion:
    """What was converted, how, and how it was proved.

    Attributes
    ----------
    source
        The source file's name without its folder, or the class of a live model.
    format
        What it was, in words: ``"PyTorch state dict"``.
    source_sha256
        Of the source file (of a folder: of its files, see `publication.digest_of`); empty for a
        live model.
    route
        The route whose file was kept.
    opset
        Of the default ONNX domain.
    parameters
        How many numbers the source calls its parameters.
    inputs, outputs
        Name to shape, symbols as strings.
    batch
        Whether the batch size is free or built in.
    parity, attempts, remarks
        The proof, everything that was tried in its order, and what the reader must know.
    versions
        Of the tools that took part, by name.
    model, model_sha256, sidecar
        Path and SHA-256 of the file, and path of the file of preprocessing settings beside it if
        one was written; empty where the record comes from the file itself.
    """

    source: str
    format: str
    source_sha256: str
    route: str
    opset: int
    parameters: int
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    batch: Batch
    parity: Parity
    attempts: tuple[Attempt, ...]
    versions: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    model: str = ""
    model_sha256: str = ""
    sidecar: str = ""
    format_version: int = field(default=FORMAT_VERSION)


class FailedAttemptError(Exception):
    """A route did not lead to a model that can be kept; the text is one phrase that says why."""


class UnloadableError(FailedAttemptError):
    """The source cannot be loaded in this framework, whichever exporter or batch size follows."""


class ConversionError(ModelError):
    """No route led to a model that can be kept.

    Attributes
    ----------
    attempts
        Everything that was tried, and why it failed.
    """

    own_slug = "not-converted"

    def __init__(self, message: str, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(message)
        self.attempts = attempts


def to_json(record: Conversion) -> dict[str, Any]:
    """Return the record as a JSON object; `from_json` reads it back."""
    return json.loads(dumps(record))


def dumps(record: Conversion, *, embedded: bool = False) -> str:
    """Return the record as JSON text.

    Parameters
    ----------
    embedded
        For the file itself: without what says where the file is and what its hash is.
    """
    if embedded:
        record = replace(record, model="", model_sha256="", sidecar="")
    tree = asdict(record)
    if embedded:
        for name in _OF_THE_FILE:
            del tree[name]
    return json.dumps(tree, ensure_ascii=True, allow_nan=False)


def claim(metadata: Mapping[str, str]) -> tuple[Conversion | None, str]:
    """Return what a model's ``metadata_props`` claim of its conversion, and a remark.

    The remark is empty, or says why a claim that is there was ignored.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None, ""
    try:
        return from_json(text), ""
    except ValueError as error:
        return None, (
            f"The file's own record of its conversion ({METADATA_KEY}) was ignored: {error}."
        )


def from_json(text: str | Mapping[str, Any]) -> Conversion:
    """Return the record that `dumps` or `to_json` wrote.

    Raises
    ------
    ValueError
        If it is no such record; the phrase says what is wrong and repeats nothing of the text.
    """
    if isinstance(text, str):
        if len(text) > _MOST_BYTES:
            raise ValueError("it is too long")
        try:
            tree = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise ValueError("it is not valid JSON") from None
    else:
        tree = text
    members = _object(tree, "it")
    version = members.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ValueError(f"its format_version is not {FORMAT_VERSION}")
    known = {item.name for item in fields(Conversion)}
    required = known - _OF_THE_FILE - {"remarks"}
    if not required <= set(members) <= known:
        raise ValueError("members are missing or unknown")
    return Conversion(
        source=_text(members["source"], "source"),
        format=_text(members["format"], "format"),
        source_sha256=_hash(members["source_sha256"], "source_sha256"),
        route=_text(members["route"], "route"),
        opset=_count(members["opset"], "opset"),
        parameters=_count(members["parameters"], "parameters"),
        inputs=_shapes(members["inputs"], "inputs"),
        outputs=_shapes(members["outputs"], "outputs"),
        batch=_choice(members["batch"], get_args(Batch), "batch"),
        parity=_parity(members["parity"]),
        attempts=tuple(_attempt(item) for item in _array(members["attempts"], "attempts")),
        versions={
            _text(name, "versions"): _text(value, "versions")
            for name, value in _object(members["versions"], "versions").items()
        },
        remarks=tuple(
            _text(item, "remarks") for item in _array(members.get("remarks", []), "remarks")
        ),
        model=_text(members.get("model", ""), "model"),
        model_sha256=_hash(members.get("model_sha256", ""), "model_sha256"),
        sidecar=_text(members.get("sidecar", ""), "sidecar"),
    )


def _parity(node: object) -> Parity:
    members = _object(node, "parity")
    if set(members) != {item.name for item in fields(Parity)}:
        raise ValueError("members of parity are missing or unknown")
    return Parity(
        inputs=_count(members["inputs"], "inputs"),
        images=_count(members["images"], "images"),
        batch_sizes=tuple(
            _count(size, "batch_sizes") for size in _array(members["batch_sizes"], "batch_sizes")
        ),
        maximum=_number(members["maximum"], "maximum"),
        mean=_number(members["mean"], "mean"),
        magnitude=_number(members["magnitude"], "magnitude"),
        agreeing=_count(members["agreeing"], "agreeing"),
        ranked=_count(members["ranked"], "ranked"),
        rtol=_number(members["rtol"], "rtol"),
        atol=_number(members["atol"], "atol"),
    )


def _attempt(node: object) -> Attempt:
    members = _object(node, "attempts")
    if set(members) != {item.name for item in fields(Attempt)}:
        raise ValueError("members of an attempt are missing or unknown")
    return Attempt(
        route=_text(members["route"], "route"),
        outcome=_choice(members["outcome"], get_args(Outcome), "outcome"),
        reason=_text(members["reason"], "reason"),
        seconds=_number(members["seconds"], "seconds"),
    )


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _object(node: object, name: str) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise ValueError(f"{name} is not an object")
    if len(node) > _MOST_ENTRIES:
        raise ValueError(f"{name} has more than {_MOST_ENTRIES} members")
    return node


def _array(node: object, name: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(node, list | tuple):
        raise ValueError(f"{name} is not an array")
    if len(node) > _MOST_ENTRIES:
        raise ValueError(f"{name} has more than {_MOST_ENTRIES} entries")
    return node


def _text(node: object, name: str) -> str:
    if not isinstance(node, str):
        raise ValueError(f"{name} is not text")
    if len(node) > _LONGEST:
        raise ValueError(f"{name} is longer than {_LONGEST} characters")
    return node


def _hash(node: object, name: str) -> str:
    text = _text(node, name)
    if text and (len(text) != 64 or not set(text) <= set("0123456789abcdef")):
        raise ValueError(f"{name} is not a SHA-256")
    return text


def _count(node: object, name: str) -> int:
    if not isinstance(node, int) or isinstance(node, bool) or not 0 <= node < 1 << 53:
        raise ValueError(f"{name} is not a count")
    return node


def _number(node: object, name: str) -> float:
    if not isinstance(node, int | float) or isinstance(node, bool):
        raise ValueError(f"{name} is not a number")
    if not (math.isfinite(node) and 0 <= node < 1e300):
        raise ValueError(f"{name} is negative or not finite")
    return float(node)


def _choice(node: object, choices: tuple[Any, ...], name: str) -> Any:
    if node not in choices:
        raise ValueError(f"{name} is not one of {', '.join(choices)}")
    return node


def _shapes(node: object, name: str) -> dict[str, Shape]:
    return {
        _text(key, name): tuple(
            _text(size, name) if isinstance(size, str) else _count(size, name)
            for size in _array(shape, name)
        )
        for key, shape in _object(node, name).items()
    }
