"""Parity: whether the ONNX model is the same function as its source.

Both get the same inputs. An output value ``y`` of the ONNX model may differ from the source's ``x``
by ``atol + rtol * max|x|``, the maximum over that output tensor of that batch: rounding errors of a
sum scale with its largest terms, not with the element that is left after they cancel. Infinities
must be the same ones; a value that is not a number proves nothing and fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.converters.conversion import ATOL, RTOL, FailedAttemptError, Parity
from cleanai_onnx.converters.source import Array
from cleanai_onnx.runtime import require_onnxruntime

__all__ = ["ATOL", "RTOL", "OnnxModel", "Reference", "compare", "same_outputs"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A batch of inputs, and what the source makes of it.

    `images` says whether the inputs were made from the user's images.
    """

    inputs: Sequence[Array]
    outputs: Sequence[np.ndarray]
    images: bool = False

    @property
    def size(self) -> int:
        """How many inputs the batch has."""
        return len(self.inputs[0])


class OnnxModel:
    """An ONNX file in onnxruntime, on the CPU, optimised as in an analysis.

    Raises
    ------
    FailedAttemptError
        If onnxruntime refuses it.
    """

    def __init__(self, path: Path) -> None:
        onnxruntime = require_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise FailedAttemptError(f"onnxruntime refuses the model: {error}") from error
        self.names = [value.name for value in self._session.get_inputs()]

    def predict(self, inputs: Sequence[Array]) -> list[np.ndarray]:
        """Return the outputs for one batch.

        Raises
        ------
        FailedAttemptError
            If onnxruntime fails, or the model takes another number of inputs.
        """
        if len(inputs) != len(self.names):
            raise FailedAttemptError(
                f"the ONNX model has {len(self.names)} inputs ({', '.join(self.names)}), the "
                f"source {len(inputs)}"
            )
        try:
            outputs = self._session.run(None, dict(zip(self.names, inputs, strict=True)))
        except Exception as error:  # as above
            raise FailedAttemptError(
                f"onnxruntime fails on a batch of {len(inputs[0])}: {error}"
            ) from error
        return list(outputs)


def compare(
    references: Iterable[Reference], model: OnnxModel, *, rtol: float = RTOL, atol: float = ATOL
) -> Parity:
    """Compare a model with its source's outputs.

    Returns
    -------
    Parity

    Raises
    ------
    FailedAttemptError
        If outputs differ in number, shape or kind, or by more than the tolerance; the phrase has
        the figures.
    """
    tally = _Tally(rtol, atol)
    for reference in references:
        tally.add(reference, model.predict(reference.inputs))
    return tally.parity()


class _Tally:
    def __init__(self, rtol: float, atol: float) -> None:
        self.rtol, self.atol = rtol, atol
        self.inputs = self.images = self.agreeing = self.ranked = self.values = 0
        self.sizes: list[int] = []
        self.maximum = self.sum = self.magnitude = 0.0
        self.worst: tuple[float, str] = (0.0, "")

    def add(self, reference: Reference, outputs: Sequence[np.ndarray]) -> None:
        if len(outputs) != len(reference.outputs):
            raise FailedAttemptError(
                f"the ONNX model has {len(outputs)} outputs, the source {len(reference.outputs)}"
            )
        agree = ranked = None
        for number, (expected, found) in enumerate(zip(reference.outputs, outputs, strict=True)):
            self._add_output(number, np.asarray(expected), np.asarray(found), reference.size)
            shape = expected.shape
            if len(shape) == 2 and shape[0] == reference.size and shape[1] > 1:
                same = expected.argmax(axis=1) == found.argmax(axis=1)
                agree = same if agree is None else agree & same
                ranked = reference.size
        self.inputs += reference.size
        self.images += reference.size if reference.images else 0
        self.agreeing += 0 if agree is None else int(agree.sum())
        self.ranked += ranked or 0
        if reference.size not in self.sizes:
            self.sizes.append(reference.size)

    def _add_output(self, number: int, expected: np.ndarray, found: np.ndarray, size: int) -> None:
        where = f"output {number + 1} for a batch of {size}"
        if expected.shape != found.shape:
            raise FailedAttemptError(
                f"{where} has the shape {list(found.shape)} in ONNX, {list(expected.shape)} in the "
                "source"
            )
        if not expected.size:
            return
        x, y = expected.astype(np.float64), found.astype(np.float64)
        if np.isnan(x).any():
            raise FailedAttemptError(f"{where} is not a number (NaN) in the source")
        if np.isnan(y).any():
            raise FailedAttemptError(f"{where} is not a number (NaN) in ONNX")
        infinite = ~(np.isfinite(x) & np.isfinite(y))
        if not np.array_equal(x[infinite], y[infinite]):
            raise FailedAttemptError(f"{where} is infinite in one of the two and not in the other")
        x, y = x[~infinite], y[~infinite]
        if not x.size:
            return
        difference = np.abs(x - y)
        largest, magnitude = float(difference.max()), float(np.abs(x).max())
        self.maximum = max(self.maximum, largest)
        self.magnitude = max(self.magnitude, magnitude)
        self.sum += float(difference.sum())
        self.values += difference.size
        excess = largest / max(self.atol + self.rtol * magnitude, 1e-300)
        if excess > self.worst[0]:
            self.worst = (excess, f"{where} differs by {largest:.3g} where values reach "
                                  f"{magnitude:.3g}")  # fmt: skip

    def parity(self) -> Parity:
        if not self.values:
            raise FailedAttemptError("there was no output value to compare")
        if self.worst[0] > 1:
            agreement = f", same arg max for {self.agreeing} of {self.ranked} inputs"
            raise FailedAttemptError(
                f"it does not compute what the source computes: {self.worst[1]}, the tolerance is "
                f"{self.atol:g} + {self.rtol:g} x that (--atol, --rtol)"
                f"{agreement if self.ranked else ''}"
            )
        return Parity(
            inputs=self.inputs,
            images=self.images,
            batch_sizes=tuple(self.sizes),
            maximum=self.maximum,
            mean=self.sum / self.values,
            magnitude=self.magnitude,
            agreeing=self.agreeing,
            ranked=self.ranked,
            rtol=self.rtol,
            atol=self.atol,
        )


def same_outputs(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> bool:
    """Say whether a source gave the same outputs twice, up to a thousandth of their size."""
    return len(first) == len(second) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-3 * _size(a), equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def _size(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.abs(array)
    return float(finite.max()) if finite.size else 0.0
