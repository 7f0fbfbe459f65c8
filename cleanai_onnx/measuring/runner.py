"""A tapped model that runs batches: what measuring and learning share."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cleanai_onnx import graph, runtime
from cleanai_onnx.errors import ImageError, ModelError, UsageError
from cleanai_onnx.measuring.batches import as_array
from cleanai_onnx.measuring.planning import UNIT_BYTES, Plan, plan
from cleanai_onnx.provenance import RunRecord

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Array
    from cleanai_onnx.graph import ModelProto
    from cleanai_onnx.result import LayerFacts

__all__ = ["Ran", "Runner", "classes_of", "is_whole", "unit_matrix"]

LOG = logging.getLogger(__name__)


class Ran(NamedTuple):
    """One batch that was run.

    Attributes
    ----------
    activations : list of Array
        For each layer ``(B, N)`` float32, padded to the batch size; the next run overwrites them.
    valid : int
        How many of the rows are inputs.
    classes : array or None
        ``(valid,)`` int64, the class that the model predicts for each input; None where it has no
        classes (one output value, or a map), or was not asked for them.
    output : array or None
        ``(valid, N)`` float32, the values of the model's first output, which the next run
        overwrites; None where that cannot be tapped, or was not asked for.
    """

    activations: list[Array]
    valid: int
    classes: np.ndarray | None
    output: np.ndarray | None


class Runner:
    """Loads a model, taps it, and runs batches through it.

    The model is loaded and checked at once; it is prepared for running when the shape of an input
    is known, by `prepare`, and gets its session by `start`.

    Parameters
    ----------
    model, taps, input_name, input_values, device, batch_size, threads
        As for `cleanai_onnx.Analyzer`.
    decide : bool
        Whether to keep the model's first output, and the class that it predicts for each input.
    unit_bytes : int
        Bytes that whoever runs it keeps for each unit: the batch size leaves room for them.
    record : RunRecord
        Where the time of each phase is kept.

    Raises
    ------
    ModelError
        If the model cannot be used.
    UsageError
        If an option cannot be used.
    """

    def __init__(
        self,
        model: str | Path | bytes | ModelProto,
        *,
        taps: Sequence[str] = ("activations",),
        input_name: str | None = None,
        input_values: Mapping[str, str] | None = None,
        device: runtime.Device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        decide: bool = False,
        unit_bytes: int = UNIT_BYTES,
        record: RunRecord,
    ) -> None:
        for flag, count in (("--batch-size", batch_size), ("--threads", threads)):
            if count is not None and not is_whole(count, 1):
                raise UsageError(
                    f"{flag} must be a whole number of at least 1, not {count!r}.",
                    slug="option-value",
                )
        runtime.require_onnxruntime()
        self.record = record
        with record.phase("load model"):
            self.model = graph.load_model(model, keep_data=True)
            self.image_input = graph.find_image_input(self.model, input_name)
        self.select = (taps,) if isinstance(taps, str) else tuple(taps)
        self.input_values = dict(input_values or {})
        self.wanted_device: runtime.Device = device
        self.wanted_batch_size, self.threads = batch_size, threads
        self._decide, self._unit_bytes = decide, unit_bytes
        self._plan: Plan | None = None
        self._planned_for: tuple[tuple[int, ...], int | None] | None = None
        self._session: runtime.Session | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the run, for the report."""
        return {
            "taps": list(self.select),
            "input": self.image_input.name,
            "input values": self.input_values,
            "device": self.wanted_device,
            "batch size": self.wanted_batch_size,
            "threads": self.threads,
        }

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once; 0 before `prepare`."""
        return 0 if self._plan is None else self._plan.batch_size

    @property
    def started(self) -> bool:
        """Whether there is a session."""
        return self._session is not None

    @property
    def session(self) -> runtime.Session:
        """The session, after `start`."""
        assert self._session is not None
        return self._session

    def prepare(self, item_shape: Sequence[int], most: int | None = None) -> None:
        """Choose the batch size, find the taps, and check that the memory suffices.

        Parameters
        ----------
        item_shape : sequence of int
            The shape of one input without the batch axis.
        most : int, optional
            How many inputs there will be at most.

        Raises
        ------
        ModelError
            If there is nothing to measure, or not enough memory; the sentence says how much.
        """
        item = tuple(int(length) for length in item_shape)
        if self._plan is not None and (item, most) == self._planned_for:
            return
        if not self._fits(item):
            raise self._misfit((self.image_input.batch or "any", *item))
        with self.record.phase("find taps"):
            self._plan = plan(
                self.model,
                self.image_input,
                item,
                self.select,
                self.wanted_batch_size,
                most,
                self._unit_bytes,
            )
        self._planned_for = item, most

    def start(self) -> None:
        """Make the session and its buffers. `prepare` comes first.

        Raises
        ------
        ModelError
            If onnxruntime refuses the model, or a layer is empty.
        """
        if self._plan is None:
            raise UsageError("prepare() comes before start(): the shape of an input is not known.")
        runtime.use_compilation_cache()
        taps, shape = self._plan.taps, self._plan.shape
        decision = (
            graph.find_decision(self.model, self.image_input, shape) if self._decide else None
        )
        with self.record.phase("start session"):
            every = taps if decision is None else taps.with_further(decision)
            session = runtime.Session(
                graph.tapped_bytes(self.model, every),
                directory=self.model.directory,
                device=self.wanted_device,
                threads=self.threads,
            )
            self.model = replace(self.model, data=None)  # only the session needed it
            self._feeds = graph.constant_inputs(
                self.model, self.image_input, self.input_values, self.batch_size
            )
            if every.unknown:
                feeds = {**self._feeds, self.image_input.name: np.zeros(shape, self._dtype)}
                every = every.with_shapes(session.probe(feeds, every.unknown))
            self.layers = every.layers[: len(taps.points)]
            empty = [layer.name for layer in every.layers if not layer.units]
            if empty:
                raise ModelError(
                    f"the layer {empty[0]!r} has no units when the model is run: leave it out with "
                    "--taps.",
                    slug="taps",
                )
            buffers = session.bind(
                {
                    name: (self.batch_size, *layer.shape)
                    for name, layer in zip(every.tensors, every.layers, strict=True)
                }
            )
            self.jax_device = next(iter(buffers[0].devices()))
        self._output = None if decision is None else _output_row(every, decision)
        self.taps = replace(
            every, points=every.points[: len(taps.points)], shapes=every.shapes[: len(taps.points)]
        )
        self._session = session
        LOG.info(
            "%d layers with %d units; batches of %d on %s",
            len(self.layers),
            sum(layer.units for layer in self.layers),
            self.batch_size,
            session.provider,
        )

    @property
    def classes(self) -> int | None:
        """How many classes the model tells apart; None where it has none."""
        return None if self._output is None else classes_of(self._output[1])

    @property
    def output(self) -> LayerFacts | None:
        """The model's first output; None where it cannot be tapped, or was not asked for."""
        return None if self._output is None else self._output[1]

    def ready_for(self, batch: Any) -> np.ndarray:
        """Check a batch, prepare and start if need be, and return it as the model takes it.

        Raises
        ------
        ImageError
            If the batch does not have the shape or the type that the model takes.
        """
        data = self._checked(batch)
        if self._plan is None:
            # A batch size that was asked for is for all batches, also where the first is short.
            self.prepare(data.shape[1:], None if self.wanted_batch_size else len(data))
        return data

    def run(self, data: np.ndarray) -> Ran:
        """Run at most a batch.

        Raises
        ------
        ModelError
            If the model fails when it is run.
        """
        valid = len(data)
        if valid < self.batch_size:
            padding = np.repeat(data[-1:], self.batch_size - valid, axis=0)
            data = np.concatenate([data, padding])
        with self.record.phase("inference"):
            found = self.session.run({**self._feeds, self.image_input.name: data})
        classes = output = None
        if self._output is not None:
            output = np.asarray(found[self._output[0]])[:valid]
            classes = None if self.classes is None else output.argmax(axis=1)
        return Ran(found[: len(self.layers)], valid, classes, output)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.image_input.dtype)

    def _checked(self, batch: Any) -> np.ndarray:
        data = as_array(batch)
        expected = self.image_input
        if str(data.dtype) != expected.dtype:
            if data.dtype.kind != "f" or self._dtype.kind != "f":
                raise ImageError(
                    f"the model's input takes {expected.dtype} and the batch is {data.dtype}: "
                    "convert it first, as the model's preprocessing says."
                )
            data = data.astype(self._dtype)
        known = None if self._plan is None else self._plan.item
        if data.ndim == 0 or not self._fits(data.shape[1:]) or known not in (None, data.shape[1:]):
            raise self._misfit(data.shape)
        return data

    def _fits(self, item: Sequence[int]) -> bool:
        wanted = self.image_input.shape[1:]
        return len(item) == len(wanted) and all(
            given >= 1 and size in (None, given) for size, given in zip(wanted, item, strict=True)
        )

    def _misfit(self, shape: Sequence[int | str]) -> ImageError:
        sizes = self.image_input.shape[1:] if self._plan is None else self._plan.item
        wanted = ", ".join("any" if size is None else str(size) for size in sizes)
        given = ", ".join(map(str, shape))
        return ImageError(
            f"the model's input takes shape (batch, {wanted}) and the batch has shape ({given})."
        )


def _output_row(every: graph.Taps, decision: graph.Taps) -> tuple[int, LayerFacts]:
    """Return which of the taps is the model's first output, and what it is."""
    row = [point.tensor for point in every.points].index(decision.points[0].tensor)
    return row, every.layers[row]


def classes_of(output: LayerFacts) -> int | None:
    """Return how many classes an output tells apart; None if it has none."""
    # A map of classes has a class for each position, and a single value has none.
    return output.units if output.units == max(output.shape, default=0) > 1 else None


def unit_matrix(ran: Ran) -> np.ndarray:
    """Return the units of all layers, one layer after the other: ``(valid, N)`` float32."""
    return np.concatenate([np.asarray(a)[: ran.valid] for a in ran.activations], axis=1)


def is_whole(value: object, least: int) -> bool:
    """Return whether `value` is a whole number of at least `least`; True and False are none."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return bool(whole and least <= value < 2**31)  # type: ignore[operator]
