"""One route, tried from end to end: load, ask, export, check, compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.converters.cleaning import clean_file
from cleanai_onnx.converters.conversion import (
    Batch,
    FailedAttemptError,
    Parity,
    Shape,
    UnloadableError,
)
from cleanai_onnx.converters.own_images import references_from_images
from cleanai_onnx.converters.parity import OnnxModel, Reference, compare, same_outputs
from cleanai_onnx.converters.sampling import seeded_batches
from cleanai_onnx.converters.source import Array, Route, Source
from cleanai_onnx.converters.verification import verify
from cleanai_onnx.errors import CleanAIError

__all__ = ["MODEL", "Terms", "Trial", "load_source", "read_trial", "run_in_child", "try_source"]

MODEL = "model.onnx"


@dataclass(frozen=True)
class Terms:
    """On what terms a conversion is accepted.

    Attributes
    ----------
    rtol, atol
        See `cleanai_onnx.converters.parity`.
    seed
        Of the inputs.
    opset
        None: what the exporter prefers.
    images
        Paths of the user's images, to compare on as well.
    preprocessing
        Settings for them, and for the range of the seeded inputs.
    """

    rtol: float
    atol: float
    seed: int = 0
    opset: int | None = None
    images: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Trial:
    """What a route that worked brings back; the file is `MODEL` in the working folder."""

    opset: int
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    batch: Batch
    parity: Parity
    parameters: int
    preprocessing: Mapping[str, Any]
    remarks: tuple[str, ...]
    versions: Mapping[str, str]


def try_source(source: Source, folder: Path, batch: Batch, terms: Terms) -> Trial:
    """Export a source into `folder`, check the file and compare it with the source.

    The source is asked before it is exported, so that whatever an exporter does to the model on its
    way cannot make both sides wrong alike.

    Raises
    ------
    FailedAttemptError
        With the reason.
    """
    known = {**source.preprocessing, **(terms.preprocessing or {})}
    references = _references(source, known, terms.seed)
    if terms.images:
        references += references_from_images(source, terms.images, known)
    path = folder / MODEL
    try:
        source.export(path, terms.opset)
    except (CleanAIError, FailedAttemptError):
        raise
    except Exception as error:  # exporters raise anything
        raise FailedAttemptError(f"the exporter failed: {type(error).__name__}: {error}") from error
    if not path.is_file():
        raise FailedAttemptError("the exporter wrote no file")
    clean_file(path)
    verified = verify(path, batch)
    parity = compare(references, OnnxModel(path), rtol=terms.rtol, atol=terms.atol)
    remarks = list(source.remarks)
    if _is_constant(references):
        remarks.append(
            "The outputs are the same for all inputs that were tried, so that the comparison "
            "shows little; give --images."
        )
    return Trial(
        opset=verified.opset,
        inputs=verified.inputs,
        outputs=verified.outputs,
        batch=verified.batch,
        parity=parity,
        parameters=source.parameters,
        preprocessing=dict(source.preprocessing),
        remarks=tuple(remarks),
        versions=dict(source.versions),
    )


def _references(source: Source, preprocessing: Mapping[str, Any], seed: int) -> list[Reference]:
    references: list[Reference] = []
    for arrays in seeded_batches(source.inputs, preprocessing, seed):
        outputs = _ask(source, arrays)
        if not references and not same_outputs(outputs, _ask(source, arrays)):
            raise FailedAttemptError(
                "the source gives different outputs for the same input (dropout or another random "
                "layer is active), so that nothing can be compared"
            )
        references.append(Reference(arrays, outputs))
    return references


def _ask(source: Source, arrays: Sequence[Array]) -> list[np.ndarray]:
    try:
        return [np.array(output) for output in source.predict(arrays)]
    except (CleanAIError, FailedAttemptError):
        raise
    except Exception as error:  # frameworks raise anything
        shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays)
        raise FailedAttemptError(
            f"the source itself fails on inputs of {shapes}: {type(error).__name__}: {error}"
        ) from error


def _is_constant(references: Sequence[Reference]) -> bool:
    """Say whether all rows of all first outputs are equal."""
    rows = [row for r in references if len(r.outputs[0]) == r.size for row in r.outputs[0]]
    return len(rows) > 1 and all(np.array_equal(row, rows[0]) for row in rows[1:])


def load_source(route: Route, request: Mapping[str, Any]) -> Source:
    """Call a route's loader.

    Raises
    ------
    CleanAIError, FailedAttemptError
        As the loader does; anything else that it raises becomes an `UnloadableError`.
    """
    module, _, name = route.load.partition(":")
    try:
        source: Source = getattr(import_module(module), name)({**request, **route.options})
    except (CleanAIError, FailedAttemptError):
        raise
    except Exception as error:  # frameworks raise anything
        raise UnloadableError(
            f"the source cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return source


def run_in_child(
    route: Mapping[str, Any], request: Mapping[str, Any], terms: Mapping[str, Any], folder: str
) -> dict[str, Any]:
    """Do a trial with what JSON could carry, and return it as JSON can carry it back."""
    chosen = Route(**{**route, "needs": tuple(route["needs"])})
    kept = Terms(**{**terms, "images": tuple(terms["images"])})
    source = load_source(chosen, request)
    return asdict(try_source(source, Path(folder), chosen.batch, kept))


def read_trial(tree: Mapping[str, Any]) -> Trial:
    """Read what `run_in_child` returned, after JSON has made arrays of its tuples."""
    parity = Parity(**{**tree["parity"], "batch_sizes": tuple(tree["parity"]["batch_sizes"])})
    shapes = {
        kind: {name: tuple(shape) for name, shape in tree[kind].items()}
        for kind in ("inputs", "outputs")
    }
    return Trial(**{**tree, **shapes, "parity": parity, "remarks": tuple(tree["remarks"])})
