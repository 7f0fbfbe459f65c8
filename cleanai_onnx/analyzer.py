"""The loop that ties the rooms together: batches in, a `Result` out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from cleanai_onnx import coverage, graph, runtime
from cleanai_onnx.batches import as_array
from cleanai_onnx.coverage import Parameters
from cleanai_onnx.errors import ImageError, ModelError, UsageError
from cleanai_onnx.individuals import Individuals
from cleanai_onnx.planning import Plan, plan
from cleanai_onnx.provenance import RunRecord, device_name
from cleanai_onnx.result import ImageFacts, Note, PreprocessingField, Result

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto

__all__ = ["Adjacency", "Analyzer"]

Adjacency = Literal["rows", "dataflow"]


class Analyzer:
    """Measures the coverage of a model, batch by batch.

    The model is loaded and checked at once; it is prepared for running when the shape of an input
    is known, with the first batch or by `prepare`.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
    parameters : Parameters
        Of the metrics.
    taps : sequence of str
        What to measure: ``"activations"``, ``"last-call"``, operators or name patterns.
    input_name : str, optional
        The input that takes the images, where the model leaves a doubt.
    input_values : mapping of str to str, optional
        Values of the other inputs.
    device : {"auto", "cpu", "cuda"}
    batch_size : int, optional
        By default chosen from the memory that there is, and not larger than the first batch.
    threads : int, optional
        Threads of onnxruntime; by default one for each core.
    pair : (int, int), optional
        Positions in the suite of the images that the pair metrics compare; by default the first two
        that can be used.
    adjacency : {"rows", "dataflow"}
        Which layers are next to each other for the interaction metrics: rows of the table, as in
        CleanAI, or the graph's real successors.
    per_image, per_layer : path, optional
        Where to write a CSV file with a row for each image, and one with a row for each image and
        layer.

    Examples
    --------
    >>> analyzer = Analyzer("model.onnx")
    >>> for batch in loader:  # arrays (B, 3, 224, 224), as the model takes them
    ...     analyzer.update(batch)
    >>> analyzer.result().summary()

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
        parameters: Parameters | None = None,
        taps: Sequence[str] = ("activations",),
        input_name: str | None = None,
        input_values: Mapping[str, str] | None = None,
        device: runtime.Device = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        pair: tuple[int, int] | None = None,
        adjacency: Adjacency = "rows",
        per_image: str | Path | None = None,
        per_layer: str | Path | None = None,
    ) -> None:
        for flag, count in (("--batch-size", batch_size), ("--threads", threads)):
            if count is not None and not _is_whole(count, 1):
                raise UsageError(f"{flag} must be a whole number of at least 1, not {count!r}.")
        if pair is not None and not (len(pair) == 2 and all(_is_whole(one, 0) for one in pair)):
            raise UsageError(f"pair must be the positions of two images, not {pair!r}.")
        if pair is not None and pair[0] == pair[1]:
            raise UsageError("--pair needs two different images.")
        taps = (taps,) if isinstance(taps, str) else tuple(taps)
        runtime.require_onnxruntime()
        self.record = RunRecord()
        self.parameters = parameters or Parameters()
        with self.record.phase("load model"):
            self.model = graph.load_model(model, keep_data=True)
            self.image_input = graph.find_image_input(self.model, input_name)
        self._options: dict[str, Any] = {
            "taps": list(taps),
            "input": self.image_input.name,
            "input values": dict(input_values or {}),
            "adjacency": adjacency,
            "device": device,
            "batch size": batch_size,
            "threads": threads,
            **asdict(self.parameters),
        }
        self._select = taps
        self._input_values = dict(input_values or {})
        self._device: runtime.Device = device
        self._wanted_batch_size, self._threads = batch_size, threads
        self._pair, self._adjacency = pair, adjacency
        self._per_image, self._per_layer = per_image, per_layer
        self._plan: Plan | None = None
        self._session: runtime.Session | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once; 0 before `prepare`."""
        return 0 if self._plan is None else self._plan.batch_size

    @property
    def inputs(self) -> int:
        """How many inputs were measured."""
        return 0 if self._session is None else self._state.inputs

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
        if not self._fits(item):
            raise self._misfit((self.image_input.batch or "any", *item))
        with self.record.phase("find taps"):
            self._plan = plan(
                self.model,
                self.image_input,
                item,
                self._select,
                self._wanted_batch_size,
                most,
            )

    def start(self) -> None:
        """Make the session and the state. Called by the first `update` if not before."""
        if self._plan is None:
            raise UsageError("prepare() comes before start(): the shape of an input is not known.")
        runtime.use_compilation_cache()
        taps, shape = self._plan.taps, self._plan.shape
        with self.record.phase("start session"):
            session = runtime.Session(
                graph.tapped_bytes(self.model, taps),
                directory=self.model.directory,
                device=self._device,
                threads=self._threads,
            )
            self.model = replace(self.model, data=None)  # only the session needed it
            self._feeds = graph.constant_inputs(
                self.model, self.image_input, self._input_values, self.batch_size
            )
            if taps.unknown:
                feeds = {**self._feeds, self.image_input.name: np.zeros(shape, self._dtype)}
                taps = taps.with_shapes(session.probe(feeds, taps.unknown))
            self.layers = taps.layers
            empty = [layer.name for layer in self.layers if not layer.units]
            if empty:
                raise ModelError(
                    f"the layer {empty[0]!r} has no units when the model is run: leave it out with "
                    "--taps."
                )
            buffers = session.bind(
                {
                    name: (self.batch_size, *layer.shape)
                    for name, layer in zip(taps.tensors, self.layers, strict=True)
                }
            )
            self._jax_device = next(iter(buffers[0].devices()))
            self._state = coverage.init(self.layers, self.parameters, self._jax_device)
        self._individuals = Individuals(self._state, self._pair, self._per_image, self._per_layer)
        self._taps, self._session = taps, session

    def update(
        self,
        batch: np.ndarray,
        names: Sequence[str] | None = None,
        indexes: Sequence[int] | None = None,
    ) -> None:
        """Measure inputs as the model takes them.

        Parameters
        ----------
        batch : array
            ``(n, ...)``, preprocessed; any n. Anything that numpy can read, such as a torch tensor.
        names : sequence of str, optional
            Names of the inputs in the report; ``input 12`` by default.
        indexes : sequence of int, optional
            Positions of the inputs in the suite; by default they are counted.

        Raises
        ------
        ImageError
            If the batch does not have the shape or the type that the model takes.
        ModelError
            If the model fails when it is run.
        UsageError
            After `close`, or after `result` where that has finished tables of images; or if names
            or indexes are not as many as inputs.
        """
        if self._closed:
            raise UsageError("this analyzer is closed: make a new one to measure more.")
        data = self._checked(batch)
        if self._plan is None:
            # A batch size that was asked for is for all batches, also where the first is short.
            self.prepare(data.shape[1:], None if self._wanted_batch_size else len(data))
        if self._session is None:
            self.start()
        before = self.inputs
        indexes = range(before, before + len(data)) if indexes is None else list(indexes)
        names = [f"input {index}" for index in indexes] if names is None else list(map(str, names))
        if not len(data) == len(names) == len(indexes):
            raise UsageError(
                f"{len(data)} inputs were given with {len(names)} names and {len(indexes)} indexes."
            )
        for first in range(0, len(data), self.batch_size):
            part = slice(first, first + self.batch_size)
            self._measure(data[part], names[part], indexes[part])

    def _checked(self, batch: Any) -> np.ndarray:
        data = as_array(batch)
        expected = self.image_input
        if str(data.dtype) != expected.dtype:
            if data.dtype.kind != "f" or np.dtype(self._dtype).kind != "f":
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

    def _measure(self, data: np.ndarray, names: Sequence[str], indexes: Sequence[int]) -> None:
        valid = len(data)
        if valid < self.batch_size:
            padding = np.repeat(data[-1:], self.batch_size - valid, axis=0)
            data = np.concatenate([data, padding])
        assert self._session is not None
        with self.record.phase("inference"):
            activations = self._session.run({**self._feeds, self.image_input.name: data})
        with self.record.phase("metrics"), runtime.on_device(self._jax_device):
            self._state, figures = coverage.update(self._state, activations, valid)
            self._individuals.add(self._state, figures, activations, names, indexes)

    def result(
        self,
        *,
        images: ImageFacts | None = None,
        preprocessing: Sequence[PreprocessingField] = (),
        notes: Sequence[Note] = (),
        options: Mapping[str, Any] | None = None,
        thumbnail: Callable[[int], bytes | None] = lambda _: None,
    ) -> Result:
        """Return what was found so far, and write the tables of images.

        The parameters say what the analyzer cannot know: where the images came from, what was done
        to them, which further options were used, and how to get a thumbnail of an image.

        Raises
        ------
        ImageError
            If nothing was measured.
        """
        if self._session is None or not self.inputs:
            raise ImageError("no input was measured: update() was not called.")
        with self.record.phase("tables"), runtime.on_device(self._jax_device):
            pair = self._individuals.pair_evidence(self._state)
            adjacency = (
                graph.successors(self.model, self._taps) if self._adjacency == "dataflow" else None
            )
            tables = coverage.compute(self._state, pair, adjacency)
            firing = coverage.firing(self._state)
        # Where tables were finished, the analyzer is done: no row can be added to them.
        self._closed |= self._individuals.finish()
        found = self.inputs
        table = None if self._per_image is None else Path(self._per_image).name
        return Result(
            model=graph.model_facts(self.model, self._taps),
            run=self.record.facts(
                device_name(self._session.device, self._jax_device),
                self._session.provider,
                self.batch_size,
                {**self._options, **(options or {})},
            ),
            images=images or ImageFacts("batches", found, found, per_image_table=table),
            preprocessing=tuple(preprocessing)
            or (PreprocessingField("values", "as given", "the caller's own batches"),),
            layers=self.layers,
            tables=tables,
            firing=firing,
            featured=self._individuals.featured(thumbnail),
            notes=(*notes, *self._notes()),
        )

    def close(self) -> None:
        """Remove what was not finished: tables of images that were not completed.

        The same happens at the end of a ``with`` block. What was measured can still be read.
        """
        self._closed = True
        if self._session is not None:
            self._individuals.discard()

    def _notes(self) -> Iterator[Note]:
        affected = [
            (layer.name, count)
            for layer, count in zip(self.layers, self._state.nan_values, strict=True)
            if count
        ]
        if affected:
            total = sum(count for _, count in affected)
            yield Note(
                "not-a-number",
                f"{total:,} activations in {len(affected)} layers (first in {affected[0][0]}) are "
                "not a number; they count as not covered, and a layer's mean that is not a number "
                "covers nothing.",
            )
        if self._individuals.pair_is_missing:
            yield Note(
                "pair-not-used",
                "The pair metrics were not computed, because an image of --pair was skipped.",
            )
        if self._state.inputs <= self.parameters.bounds_from:
            yield Note(
                "no-image-after-bounds",
                f"nbc was not computed: it needs more than the {self.parameters.bounds_from} "
                "images that set its bounds (--bounds-from).",
            )

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.image_input.dtype)


def _is_whole(number: Any, least: int) -> bool:
    whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
    return bool(whole and least <= number < 2**31)
