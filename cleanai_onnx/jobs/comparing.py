"""Two models over the same images in one go: their outputs, and every metric side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.coverage import Parameters
from cleanai_onnx.difference import Comparison, Disagreement
from cleanai_onnx.measuring.analyzer import Adjacency, Analyzer
from cleanai_onnx.measuring.batches import are_paths, limited
from cleanai_onnx.measuring.feeding import Progress, resolve, thumbnail_if_any
from cleanai_onnx.measuring.runner import classes_of
from cleanai_onnx.provenance import RunRecord
from cleanai_onnx.report.per_image import ImageTable
from cleanai_onnx.result import ImageFacts, Result, SkippedImage
from cleanai_onnx.validation.gate import Gate, gates_of
from cleanai_onnx.validation.judging import judge
from cleanai_onnx.validation.meeting import Meeting
from cleanai_onnx.validation.outputs import COLUMNS, OutputComparison
from cleanai_onnx.validation.side_by_side import diff

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto

__all__ = ["compare"]


def compare(
    old: str | Path | bytes | ModelProto,
    new: str | Path | bytes | ModelProto,
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
    adjacency: Adjacency = "rows",
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
    per_image: str | Path | None = None,
    gates: str | Mapping[str, Any] | Sequence[str | Gate] = (),
    progress: Progress | None = None,
) -> Comparison:
    """Run two models over the same images and put side by side what they do.

    Made for a float model and its quantised form, a trained and a deployed one, the last release
    and this one. Memory does not grow with the number of images. Where both take the same input,
    each image is decoded once.

    Parameters
    ----------
    old, new : path, bytes or onnx.ModelProto
        `old` is what the differences are relative to.
    images : path, glob pattern, several of them, array, or iterable of batches
        As for `cleanai_onnx.analyze`, and so are the other parameters.
    per_image : path, optional
        A CSV file to write, with a row for each image: the classes, the differences.
    gates
        Limits that the new model must keep, as for `cleanai_onnx.Result.judged`; the old one is the
        baseline, and ``agreement``, ``difference`` and ``relative-difference`` are of the outputs.

    Returns
    -------
    Comparison

    Raises
    ------
    ModelError, ImageError, UsageError
        With one sentence that says what is wrong and what to do.
    """
    record = RunRecord()
    wanted = gates_of(gates)
    becoming: dict[str, Any] = {
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": preprocessing_file,
        "preprocessing_config": preprocessing_config,
    }
    with record.phase("all"), ExitStack() as stack:
        suite = inputs.discover(images, limit, seed) if are_paths(images) else None  # type: ignore[arg-type]
        table = None
        if per_image is not None:
            table = ImageTable(per_image, COLUMNS)
            stack.callback(table.discard)
        meeting = Meeting(table)
        sides = []
        for model, sink in ((old, meeting.old), (new, meeting.new)):
            analyzer = stack.enter_context(
                Analyzer(
                    model,
                    parameters=parameters,
                    taps=taps,
                    input_name=input_name,
                    input_values=input_values,
                    device=device,
                    batch_size=batch_size,
                    threads=threads,
                    adjacency=adjacency,
                    outputs=sink,
                )
            )
            how = None
            if suite is not None:
                metadata = analyzer.model.metadata
                how = resolve(analyzer.image_input, metadata, model, suite, **becoming)
            sides.append(_Side(analyzer, how))
        once = sides[0].takes_what(sides[1])
        if suite is None:
            _feed_batches(sides, limited(images, limit, becoming.values()), meeting)
        else:
            _feed(sides, suite, meeting, once=once, strict=strict, progress=progress)
        options = {"limit": limit, "seed": seed, "strict": strict, "preset": preset}
        results = [side.result(suite, options) for side in sides]
        if table is not None:
            table.finish()
    outputs = meeting.comparison
    agreement = None if outputs is None else outputs.facts
    return Comparison(
        difference=diff(*results),
        outputs=agreement,
        outputs_remark=meeting.remark,
        disagreements=() if outputs is None else tuple(_disagreements(outputs, suite)),
        found=results[0].images.found,
        skipped=tuple(dict.fromkeys(image for side in sides for image in side.skipped)),
        decoded_once=once,
        device=results[0].run.device,
        seconds=record.spent["all"],
        per_image_table=None if per_image is None else Path(per_image).name,
        notes=tuple(dict.fromkeys((*results[0].notes, *results[1].notes))),
        gates=judge(results[1], wanted, results[0], agreement),
    )


class _Side:
    """One of the models, how images become its inputs, and those that could not."""

    def __init__(self, analyzer: Analyzer, how: inputs.ResolvedPreprocessing | None) -> None:
        self.analyzer, self._how = analyzer, how
        self.skipped: tuple[SkippedImage, ...] = ()

    @property
    def preprocessing(self) -> inputs.Preprocessing | inputs.Unchanged:
        """How images become inputs; batches of a caller's own are inputs already."""
        assert self._how is not None
        return self._how.preprocessing

    def takes_what(self, other: _Side) -> bool:
        """Return whether both models take the same inputs."""
        if self._how is None or other._how is None:
            return True
        return self._how.preprocessing == other._how.preprocessing

    def result(self, suite: inputs.Suite | None, options: Mapping[str, Any]) -> Result:
        """Return what was measured."""
        if suite is None or self._how is None:
            return self.analyzer.result(options=options)
        return self.analyzer.result(
            images=ImageFacts(suite.source, suite.found, self.analyzer.inputs, self.skipped),
            preprocessing=self._how.fields,
            notes=self._how.notes,
            options=options,
        )


def _feed(
    sides: Sequence[_Side],
    suite: inputs.Suite,
    meeting: Meeting,
    *,
    once: bool,
    strict: bool,
    progress: Progress | None,
) -> None:
    """Give all images to both models, batch by batch."""
    for side in sides:
        side.analyzer.prepare(side.preprocessing.item_shape, most=len(suite))
    size = max(side.analyzer.batch_size for side in sides)
    done = progress(len(suite)) if progress is not None else None
    with ExitStack() as stack:
        streams = [
            stack.enter_context(inputs.stream(suite, side.preprocessing, size, strict=strict))
            for side in (sides[:1] if once else sides)
        ]
        for side in sides:
            side.analyzer.start()
        _begin(meeting, sides)
        for batches in _in_step(streams):
            # Where one stream serves both, both get its batch.
            for number, batch in enumerate(batches * 2 if once else batches):
                if batch is not None:
                    analyzer = sides[number].analyzer
                    analyzer.update(batch.data[: batch.valid], batch.names, batch.indexes)
                    meeting.passed(number, batch.names, batch.indexes)
            meeting.compare()
            if done is not None:
                done(min(one.used + len(one.skipped) for one in streams))
        for side, stream in zip(sides, streams * 2 if once else streams, strict=True):
            side.skipped = stream.skipped


def _feed_batches(
    sides: Sequence[_Side],
    batches: Iterable[tuple[np.ndarray, np.ndarray | None]],
    meeting: Meeting,
) -> None:
    """Give batches of a caller's own to both models."""
    for given, _ in batches:
        data = np.atleast_1d(given)
        if not len(data):
            continue
        first = sides[0].analyzer.inputs
        indexes = range(first, first + len(data))
        names = [f"input {index}" for index in indexes]
        if not first:
            for side in sides:
                side.analyzer.prepare(data.shape[1:])
                side.analyzer.start()
            _begin(meeting, sides)
        for number, side in enumerate(sides):
            side.analyzer.update(data, names, indexes)
            meeting.passed(number, names, indexes)
        meeting.compare()


def _begin(meeting: Meeting, sides: Sequence[_Side]) -> None:
    old, new = (side.analyzer.output for side in sides)
    meeting.begin(old, new, None if old is None else classes_of(old))


def _in_step(streams: Sequence[inputs.BatchStream]) -> Iterator[list[inputs.Batch | None]]:
    """Yield the next batch of each stream that is not ahead of another; None for those that are.

    A stream that skips images gets ahead: what it has seen waits for the others, and must not grow.
    """
    last: list[float] = [-1] * len(streams)
    while (behind := min(last)) < math.inf:
        batches: list[inputs.Batch | None] = [None] * len(streams)
        for number, stream in enumerate(streams):
            if last[number] == behind:
                batch = batches[number] = next(stream, None)
                last[number] = math.inf if batch is None else batch.indexes[-1]
        yield batches


def _disagreements(outputs: OutputComparison, suite: inputs.Suite | None) -> Iterator[Disagreement]:
    for one in outputs.worst:
        index = -one.before
        finite = not one.not_finite
        yield Disagreement(
            path=one.name,
            index=index,
            old_class=None if one.classes is None else one.classes[0],
            new_class=None if one.classes is None else one.classes[1],
            difference=one.difference if finite else None,
            relative=one.relative if finite and np.isfinite(one.relative) else None,
            thumbnail=None if suite is None else thumbnail_if_any(suite, index),
        )
