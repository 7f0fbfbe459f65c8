"""The loop that ties the rooms together: a model and images in, a `Result` out."""

from __future__ import annotations

import importlib.metadata
import platform
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cleanai_onnx import coverage, graph, inputs, runtime
from cleanai_onnx._version import __version__
from cleanai_onnx.coverage import Parameters
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.report.per_image import ImageTable, LayerTable
from cleanai_onnx.result import (
    FeaturedImage,
    ImageFacts,
    Note,
    PreprocessingField,
    Result,
    RunFacts,
)

if TYPE_CHECKING:
    import onnx
    from jax import Array

__all__ = ["Analyzer", "analyze"]

LARGEST_BATCH = 8
"""Larger batches bring no speed, and kernels unrolled over the batch take longer to compile."""
LARGEST_SMALL_BATCH = 32
SMALL_INPUT_BYTES = 2**20
"""Models with fewer activations for each input than this run in larger batches: what costs there is
not the arithmetic but each step."""
TAPPED_BYTES = 320 * 2**20
"""Activations of one batch are kept below this, so that they stay near the processor's cache."""
FEATURED = 5
"""Images with the lowest coverage that the report shows, and as many with the highest."""
RUNTIME_BYTES = 512 * 2**20
"""Left to onnxruntime's and XLA's own needs when a batch size is chosen."""

Adjacency = Literal["rows", "dataflow"]
Progress = Callable[[int], None]


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
        By default chosen from the memory that there is.
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
        model: str | Path | bytes | onnx.ModelProto,
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
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"--batch-size must be at least 1, not {batch_size}.")
        if threads is not None and threads < 1:
            raise UsageError(f"--threads must be at least 1, not {threads}.")
        if pair is not None and pair[0] == pair[1]:
            raise UsageError("--pair needs two different images.")
        runtime.require_onnxruntime()
        self.started = datetime.now(UTC)
        self.seconds: dict[str, float] = {}
        self.parameters = parameters or Parameters()
        with self._timed("load model"):
            self.model = graph.load_model(model)
            self.image_input = graph.find_image_input(self.model, input_name)
        self.batch_size = 0
        self._options: dict[str, Any] = {
            "taps": list(taps),
            "input": self.image_input.name,
            "input values": dict(input_values or {}),
            "adjacency": adjacency,
            **asdict(self.parameters),
        }
        self._select = tuple(taps)
        self._input_values = dict(input_values or {})
        self._device: runtime.Device = device
        self._batch_size, self._threads = batch_size, threads
        self._pair, self._adjacency = pair, adjacency
        self._pair_rows: dict[int, tuple[str, list[Array]]] = {}
        self._per_image, self._per_layer = per_image, per_layer
        self._session: runtime.Session | None = None

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
        with self._timed("find taps"):
            one = self.image_input.batch or 1
            taps = graph.find_taps(self.model, self.image_input, (one, *item), self._select)
            self.batch_size = self._chosen_batch_size(taps, item, most)
            shape = (self.batch_size, *item)
            if self.batch_size != one:
                taps = graph.find_taps(self.model, self.image_input, shape, self._select)
            estimate = graph.estimate_memory(self.model, shape, taps)
            available = runtime.available_memory()
            graph.check_memory(estimate, max(available - _state_bytes(taps), 0))
        self._taps, self._item = taps, item

    def start(self) -> None:
        """Make the session and the state. Called by the first `update` if not before."""
        if not self.batch_size:
            raise UsageError("prepare() comes before start(): the shape of an input is not known.")
        runtime.use_compilation_cache()
        shape = (self.batch_size, *self._item)
        with self._timed("start session"):
            session = runtime.Session(
                graph.tapped_proto(self.model, self._taps).SerializeToString(),
                directory=self.model.directory,
                device=self._device,
                threads=self._threads,
            )
            self._feeds = dict(
                graph.constant_inputs(
                    self.model, self.image_input, self._input_values, self.batch_size
                )
            )
            taps = self._taps
            if taps.unknown:
                feeds = {**self._feeds, self.image_input.name: np.zeros(shape, self._dtype)}
                taps = taps.with_shapes(session.probe(feeds, taps.unknown))
            self.layers = taps.layers
            buffers = session.bind(
                {
                    name: (self.batch_size, *layer.shape)
                    for name, layer in zip(taps.tensors, self.layers, strict=True)
                }
            )
            self._jax_device = next(iter(buffers[0].devices()))
            self._state = coverage.init(self.layers, self.parameters, self._jax_device)
        names = coverage.score_names(self.parameters)
        self._score_names = names
        self._extremes = coverage.Extremes(names, FEATURED)
        self._image_table = ImageTable(self._per_image, names) if self._per_image else None
        layer_names = [layer.name for layer in self.layers]
        self._layer_table = (
            LayerTable(self._per_layer, names, layer_names) if self._per_layer else None
        )
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
        """
        data = self._checked(batch)
        if not self.batch_size:
            self.prepare(data.shape[1:])
        if self._session is None:
            self.start()
        before = self._state.inputs
        indexes = range(before, before + len(data)) if indexes is None else indexes
        names = [f"input {index}" for index in indexes] if names is None else names
        if not len(data) == len(names) == len(indexes):
            raise UsageError(
                f"{len(data)} inputs were given with {len(names)} names and {len(indexes)} indexes."
            )
        for first in range(0, len(data), self.batch_size):
            part = slice(first, first + self.batch_size)
            self._measure(data[part], names[part], indexes[part])

    def _checked(self, batch: Any) -> np.ndarray:
        data = np.asarray(batch)
        expected = self.image_input
        if str(data.dtype) != expected.dtype:
            if data.dtype.kind != "f" or np.dtype(self._dtype).kind != "f":
                raise ImageError(
                    f"the model's input takes {expected.dtype} and the batch is {data.dtype}: "
                    "convert it first, as the model's preprocessing says."
                )
            data = data.astype(self._dtype)
        fits = data.ndim == len(expected.shape) and all(
            wanted in (None, given)
            for wanted, given in zip(expected.shape[1:], data.shape[1:], strict=True)
        )
        if not fits or (self.batch_size and data.shape[1:] != self._item):
            wanted = ", ".join("any" if size is None else str(size) for size in expected.shape[1:])
            raise ImageError(
                f"the model's input takes shape (batch, {wanted}) and the batch has shape "
                f"{data.shape}."
            )
        return data

    def _measure(self, data: np.ndarray, names: Sequence[str], indexes: Sequence[int]) -> None:
        valid = len(data)
        if valid < self.batch_size:
            padding = np.repeat(data[-1:], self.batch_size - valid, axis=0)
            data = np.concatenate([data, padding])
        assert self._session is not None
        with self._timed("inference"):
            activations = self._session.run({**self._feeds, self.image_input.name: data})
        with self._timed("metrics"), self._on_device():
            before = self._state.inputs
            self._state, figures = coverage.update(self._state, activations, valid)
            scores = coverage.scores_of(figures, self.layers, self.parameters, before)
            self._keep_pair(activations, names, indexes)
        self._extremes.add(names, indexes, scores)
        if self._image_table is not None:
            self._image_table.add(names, indexes, scores.model)
        if self._layer_table is not None:
            self._layer_table.add(names, indexes, scores.layers)

    def _keep_pair(
        self, activations: list[Array], names: Sequence[str], indexes: Sequence[int]
    ) -> None:
        """Copy the activations of the two images that the pair metrics compare."""
        for row, index in enumerate(indexes):
            if len(self._pair_rows) == 2:
                return
            if self._pair is None or index in self._pair:
                # Copies, because the next run overwrites the buffers.
                rows = coverage.rows_of(self._state, activations, row)
                self._pair_rows[index] = (names[row], rows)

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
        if self._session is None or not self._state.inputs:
            raise ImageError("no input was measured: update() was not called.")
        with self._timed("tables"), self._on_device():
            pair = self._pair_evidence()
            adjacency = (
                graph.successors(self.model, self._taps) if self._adjacency == "dataflow" else None
            )
            tables = coverage.compute(self._state, pair, adjacency)
            firing = coverage.firing(self._state)
        for table in (self._image_table, self._layer_table):
            if table is not None:
                table.finish()
        found = self._state.inputs
        return Result(
            model=graph.model_facts(self.model, self._taps),
            run=self._run_facts(options or {}),
            images=images or ImageFacts(source="batches", found=found, used=found),
            preprocessing=tuple(preprocessing)
            or (PreprocessingField("values", "as given", "the caller's own batches"),),
            layers=self.layers,
            tables=tables,
            firing=firing,
            featured=self._featured(thumbnail),
            notes=(*notes, *self._notes()),
        )

    def close(self) -> None:
        """Remove what was not finished: tables of images that were not completed."""
        if self._session is not None:
            for table in (self._image_table, self._layer_table):
                if table is not None:
                    table.discard()

    def _pair_evidence(self) -> coverage.PairEvidence | None:
        wanted = self._pair or tuple(self._pair_rows)
        if len(wanted) < 2 or any(index not in self._pair_rows for index in wanted):
            return None
        (first, a), (second, b) = (self._pair_rows[index] for index in wanted)
        return coverage.count_pairs(self._state, (first, second), a, b)

    def _featured(self, thumbnail: Callable[[int], bytes | None]) -> tuple[FeaturedImage, ...]:
        def numbers(values: np.ndarray) -> list[float | None]:
            return [None if np.isnan(value) else float(value) for value in values]

        return tuple(
            FeaturedImage(
                path=image.name,
                index=image.index,
                role=role,
                scores={
                    name: value
                    for name, value in zip(self._score_names, numbers(image.model), strict=True)
                    if value is not None
                },
                layers={
                    name: tuple(values.tolist())
                    for name, values in zip(self._score_names, image.layers.T, strict=True)
                    if not np.isnan(values).any()
                },
                thumbnail=thumbnail(image.index),
            )
            for role, image in self._extremes.ranked()
        )

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
        if self._pair is not None and self._pair_evidence_missing():
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

    def _pair_evidence_missing(self) -> bool:
        return self._pair is not None and any(i not in self._pair_rows for i in self._pair)

    def _run_facts(self, options: Mapping[str, Any]) -> RunFacts:
        assert self._session is not None
        return RunFacts(
            id=uuid.uuid4().hex,
            started=self.started.isoformat(timespec="seconds"),
            tool_version=__version__,
            device=_device_name(self._session.device, self._jax_device),
            provider=self._session.provider,
            graph_optimization="all",
            batch_size=self.batch_size,
            seconds={phase: round(value, 6) for phase, value in self.seconds.items()},
            versions=_versions(),
            platform=platform.platform(),
            options={**self._options, **options},
        )

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self.image_input.dtype)

    def _chosen_batch_size(self, taps: graph.Taps, item: tuple[int, ...], most: int | None) -> int:
        if self.image_input.batch is not None:
            if self._batch_size not in (None, self.image_input.batch):
                raise UsageError(
                    f"--batch-size {self._batch_size}: the model's batch size is fixed at "
                    f"{self.image_input.batch}."
                )
            return self.image_input.batch
        if self._batch_size is not None:
            return self._batch_size
        estimate = graph.estimate_memory(self.model, (1, *item), taps)
        each = max(estimate.batch_bytes, 1)
        tapped = 4 * sum(int(np.prod(shape)) for shape in taps.shapes if shape is not None)
        room = runtime.available_memory() - estimate.weights_bytes - _state_bytes(taps)
        fits = min(
            (room - RUNTIME_BYTES) // 2 // each,
            TAPPED_BYTES // max(tapped, 1),
            LARGEST_SMALL_BATCH if tapped < SMALL_INPUT_BYTES else LARGEST_BATCH,
            _power_of_two_from(most) if most else LARGEST_SMALL_BATCH,
        )
        return _power_of_two_below(max(int(fits), 1))

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def _on_device(self) -> Any:
        import jax

        return jax.default_device(self._jax_device)


def analyze(
    model: str | Path | bytes | onnx.ModelProto,
    images: str | Path | Sequence[str | Path] | np.ndarray | Iterable[Any],
    *,
    parameters: Parameters | None = None,
    taps: Sequence[str] = ("activations",),
    input_name: str | None = None,
    input_values: Mapping[str, str] | None = None,
    preset: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    preprocessing_file: str | Path | None = None,
    preprocessing_config: Mapping[str, Any] | None = None,
    device: runtime.Device = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    pair: tuple[str, str] | None = None,
    adjacency: Adjacency = "rows",
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
    per_image: str | Path | None = None,
    per_layer: str | Path | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> Result:
    """Measure how much of a model a suite of images exercises.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
    images : path, glob pattern, several of them, array, or iterable of batches
        Paths name a folder of images, an image, or a ``.npy`` or ``.npz`` file. An array is
        ``(n, ...)``, as the model takes it. An iterable (a torch DataLoader, say) yields such
        arrays, or tuples of which they are the first element.
    parameters : Parameters
        Of the metrics.
    taps, input_name, input_values, device, batch_size, threads, adjacency, per_image, per_layer
        See `Analyzer`.
    preset, preprocessing, preprocessing_file, preprocessing_config
        How images become inputs: a named preset, settings by name, a JSON or TOML file, and
        settings of lower rank than the file's. See `cleanai_onnx.inputs.resolve_preprocessing`.
    pair : (str, str), optional
        Names of the images that the pair metrics compare; by default the first two.
    limit, seed
        Measure a random subset of `limit` images.
    strict : bool
        Fail on an image that cannot be read, where otherwise it is skipped and reported.
    progress : callable, optional
        Called with the number of images, returns a function that is called with the number of
        images done after each batch.

    Returns
    -------
    Result

    Raises
    ------
    ModelError, ImageError, UsageError
        With one sentence that says what is wrong and what to do.
    """
    options: dict[str, Any] = {"limit": limit, "seed": seed, "strict": strict}
    shared: dict[str, Any] = {
        "parameters": parameters,
        "taps": taps,
        "input_name": input_name,
        "input_values": input_values,
        "device": device,
        "batch_size": batch_size,
        "threads": threads,
        "adjacency": adjacency,
        "per_image": per_image,
        "per_layer": per_layer,
    }
    if not _are_paths(images):
        if pair is not None:
            raise UsageError("pair names images of a folder; batches of your own have no names.")
        return _analyze_batches(Analyzer(model, **shared), images, limit)

    suite = inputs.discover(images, limit, seed)  # type: ignore[arg-type]
    positions = None if pair is None else (suite.find(pair[0]), suite.find(pair[1]))
    analyzer = Analyzer(model, pair=positions, **shared)
    resolved = inputs.resolve_preprocessing(
        analyzer.image_input,
        given=preprocessing or {},
        config=preprocessing_config,
        preset=preset,
        file=None if preprocessing_file is None else Path(preprocessing_file),
        model_path=Path(model) if isinstance(model, str | Path) else None,
        metadata={entry.key: entry.value for entry in analyzer.model.proto.metadata_props},
        suite=suite,
    )
    analyzer.prepare(resolved.preprocessing.item_shape, most=len(suite))
    done = progress(len(suite)) if progress is not None else None
    try:
        # Decoding starts here, and goes on while the session and the kernels are made.
        with inputs.stream(
            suite, resolved.preprocessing, analyzer.batch_size, strict=strict
        ) as batches:
            analyzer.start()
            while True:
                with analyzer._timed("wait for images"):
                    batch = next(batches, None)
                if batch is None:
                    break
                analyzer.update(batch.data[: batch.valid], batch.names, batch.indexes)
                if done is not None:
                    done(batches.used + len(batches.skipped))
            skipped = batches.skipped
        return analyzer.result(
            images=ImageFacts(
                source=suite.source,
                found=suite.found,
                used=analyzer._state.inputs,
                skipped=skipped,
                per_image_table=None if per_image is None else Path(per_image).name,
            ),
            preprocessing=resolved.fields,
            notes=resolved.notes,
            options=options,
            thumbnail=lambda index: inputs.thumbnail(suite, index),
        )
    finally:
        analyzer.close()


def _analyze_batches(analyzer: Analyzer, batches: Any, limit: int | None) -> Result:
    if isinstance(batches, np.ndarray):
        batches = [batches]
    left = limit
    try:
        for batch in batches:
            data = np.asarray(batch[0] if isinstance(batch, tuple | list) else batch)
            analyzer.update(data if left is None else data[:left])
            if left is not None:
                left -= len(data)
                if left <= 0:
                    break
        return analyzer.result()
    finally:
        analyzer.close()


def _are_paths(images: Any) -> bool:
    if isinstance(images, str | Path):
        return True
    return (
        isinstance(images, Sequence)
        and len(images) > 0
        and all(isinstance(item, str | Path) for item in images)
    )


def _state_bytes(taps: graph.Taps) -> int:
    units = sum(int(np.prod(shape)) for shape in taps.shapes if shape is not None)
    return 2 * coverage.STATE_BYTES * units


def _power_of_two_below(count: int) -> int:
    return 1 << (count.bit_length() - 1)


def _power_of_two_from(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _device_name(device: str, jax_device: Any) -> str:
    if device == "cuda":
        return f"CUDA: {jax_device.device_kind}"
    import os

    return f"CPU: {platform.machine()}, {os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("onnx", "onnxruntime", "onnxruntime-gpu", "jax", "jaxlib", "numpy", "pillow"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
