"""Whether a file is a valid ONNX model, by onnx's checker and by our own loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from cleanai_onnx.converters.conversion import Batch, FailedAttemptError, Shape
from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph import load_model

__all__ = ["Verified", "verify"]


@dataclass(frozen=True)
class Verified:
    """What a valid file says of itself."""

    opset: int
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    batch: Batch


def verify(path: Path, wanted: Batch) -> Verified:
    """Check the file with onnx's full check (strict shape inference included) and our own loader.

    Parameters
    ----------
    path
        The ONNX file; external data beside it.
    wanted
        What the batch axis must be. Where a dynamic one was asked for, every input must have it;
        what it does to the outputs is seen when batches of several sizes are run.

    Raises
    ------
    FailedAttemptError
        With one phrase that says what is wrong.
    """
    try:
        # By path, because that also works for models of more than 2 GB.
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # the checker and shape inference have no common exception
        raise FailedAttemptError(f"onnx's checker rejects the model: {error}") from error
    try:
        model = load_model(path)
    except ModelError as error:
        raise FailedAttemptError(str(error)) from error
    opset = next((o.version for o in model.proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    inputs = {facts.name: facts.shape for facts in model.inputs}
    outputs = {facts.name: facts.shape for facts in model.outputs}
    if wanted == "dynamic":
        for name, shape in inputs.items():
            if shape and isinstance(shape[0], int):
                raise FailedAttemptError(
                    f"the batch size {shape[0]} is built into the input '{name}'"
                )
    first = next(iter(inputs.values()), ())
    fixed = bool(first) and isinstance(first[0], int)
    return Verified(opset, inputs, outputs, "fixed" if fixed else "dynamic")
