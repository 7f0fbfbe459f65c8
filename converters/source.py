"""A model in its own framework, loaded and ready to be asked and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cleanai_onnx.converters.conversion import Batch

__all__ = ["Array", "InputSpec", "Route", "Source"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class InputSpec:
    """One input of a source.

    Attributes
    ----------
    name
        As the source calls it.
    dtype
        NumPy's name of its element type.
    shape
        With the batch axis first; None for a size that is not fixed.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Source(Protocol):
    """What a route's loader returns.

    Attributes
    ----------
    inputs
        In the order in which `predict` takes them and the ONNX model has them. Where the first
        size is a number, the source takes only batches of that size.
    parameters
        How many numbers the source calls its parameters.
    preprocessing
        Settings (names and values of `cleanai_onnx.inputs.settings`) that the model itself tells,
        such as those that follow from a rescaling layer inside it; empty for none.
    remarks
        Sentences that the user must know.
    versions
        Of the framework and the exporter, by name.
    """

    inputs: tuple[InputSpec, ...]
    parameters: int
    preprocessing: Mapping[str, Any]
    remarks: tuple[str, ...]
    versions: Mapping[str, str]

    def predict(self, arrays: Sequence[Array]) -> Sequence[np.ndarray]:
        """Return the outputs for one batch, in the order of the ONNX model's outputs."""
        ...

    def export(self, path: Path, opset: int | None) -> None:
        """Write the ONNX file; weights beyond 2 GB as external data in the same folder.

        Any exception means that the route has failed; its text is the reason that the user sees.
        """
        ...


@dataclass(frozen=True)
class Route:
    """A way from a source to ONNX.

    Attributes
    ----------
    name
        In words, for the report.
    load
        ``"module:function"``; called with the request (the dict given to `routes.convert`, updated
        with `options`) in a process of its own, it returns a `Source`. It raises a
        `CleanAIError` where no other route could do better (the file is damaged, unsafe), a
        `FailedAttemptError` where only this route has failed, and any other exception where the
        source cannot be loaded for any exporter or batch size.
    needs
        Modules that must be importable.
    batch
        What the batch axis of its file must be.
    options
        Added to the request.
    environment
        Variables of the process (``KERAS_BACKEND``).
    """

    name: str
    load: str
    needs: tuple[str, ...]
    batch: Batch = "dynamic"
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
