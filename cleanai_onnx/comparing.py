"""Two models over the same images in one go: their outputs, and every metric side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.analyzer import Adjacency, Analyzer
from cleanai_onnx.coverage import Parameters
from cleanai_onnx.difference import Comparison, Disagreement
from cleanai_onnx.errors import ImageError
from cleanai_onnx.feeding import Progress, resolve
from cleanai_onnx.provenance import RunRecord
from cleanai_onnx.report.per_image import ImageTable
from cleanai_onnx.result import ImageFacts, Result, SkippedImage
from cleanai_onnx.runner import classes_of
from cleanai_onnx.validation.gate import Gate, gates_of
from cleanai_onnx.validation.judging import judge
from cleanai_onnx.validation.outputs import COLUMNS, OutputComparison, Rows
from cleanai_onnx.validation.side_by_side import diff

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto

__all__ = ["compare"]


def compare(
    old: str | Path | bytes | ModelProto,
    new: str | Path | bytes | ModelProto,
    images: str | Path | Sequence[str | Path],
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
    images : path, glob pattern, or several of them
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
    with record.phase("all"), ExitStack() as stack:
        suite = inputs.discover(images, limit, seed)
        table = None
        if per_image is not None:
            table = ImageTable(per_image, COLUMNS)
            stack.callback(table.discard)
        meeting = _Meeting(table)
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
            how = resolve(
                analyzer.image_input,
                analyzer.model.metadata,
                model,
                suite,
                preset=preset,
                preprocessing=preprocessing,
                preprocessing_file=preprocessing_file,
                preprocessing_config=preprocessing_config,
            )
            sides.append(_Side(analyzer, how))
        once = sides[0].how.preprocessing == sides[1].how.preprocessing
        skipped = _feed(sides, suite, meeting, once=once, strict=strict, progress=progress)
        options = {"limit": limit, "seed": seed, "strict": strict, "preset": preset}
        results = [
            side.result(suite, skipped_by, options)
            for side, skipped_by in zip(sides, skipped, strict=True)
        ]
        if table is not None:
            table.finish()
    outputs = meeting.comparison
    agreement = None if outputs is None else outputs.facts
    return Comparison(
        difference=diff(*results),
        outputs=agreement,
        outputs_remark=meeting.remark,
        disagreements=() if outputs is None else tuple(_disagreements(outputs, suite)),
        found=suite.found,
        skipped=tuple(dict.fromkeys((*skipped[0], *skipped[1]))),
        decoded_once=once,
        device=results[0].run.device,
        seconds=record.spent["all"],
        per_image_table=None if per_image is None else Path(per_image).name,
        notes=tuple(dict.fromkeys((*results[0].notes, *results[1].notes))),
        gates=judge(results[1], wanted, results[0], agreement),
    )


class _Side:
    """One of the models, and how images become its inputs."""

    def __init__(self, analyzer: Analyzer, how: inputs.ResolvedPreprocessing) -> None:
        self.analyzer, self.how = analyzer, how

    def result(
        self, suite: inputs.Suite, skipped: tuple[SkippedImage, ...], options: Mapping[str, Any]
    ) -> Result:
        """Return what was measured."""
        return self.analyzer.result(
            images=ImageFacts(suite.source, suite.found, self.analyzer.inputs, skipped),
            preprocessing=self.how.fields,
            notes=self.how.notes,
            options=options,
        )


def _feed(
    sides: Sequence[_Side],
    suite: inputs.Suite,
    meeting: _Meeting,
    *,
    once: bool,
    strict: bool,
    progress: Progress | None,
) -> tuple[tuple[SkippedImage, ...], tuple[SkippedImage, ...]]:
    """Give all images to both models, batch by batch; return what each could not use."""
    for side in sides:
        side.analyzer.prepare(side.how.preprocessing.item_shape, most=len(suite))
    size = max(side.analyzer.batch_size for side in sides)
    done = progress(len(suite)) if progress is not None else None
    with ExitStack() as stack:
        streams = [
            stack.enter_context(inputs.stream(suite, side.how.preprocessing, size, strict=strict))
            for side in (sides[:1] if once else sides)
        ]
        for side in sides:
            side.analyzer.start()
        meeting.begin(*(side.analyzer for side in sides))
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
        return streams[0].skipped, streams[-1].skipped


def _in_step(streams: Sequence[inputs.BatchStream]) -> Iterator[list[inputs.Batch | None]]:
    """Yield a batch of each stream at a time; None of one that has ended before the others."""
    while any(batches := [next(stream, None) for stream in streams]):
        yield batches


class _Meeting:
    """Where the outputs of two models for the same image meet, in whatever batches they come.

    An image that one of them skipped is left out once both have gone past it, so that no more is
    kept than a few batches.
    """

    def __init__(self, table: ImageTable | None) -> None:
        self._table = table
        self._waiting: tuple[dict[int, np.ndarray], dict[int, np.ndarray]] = ({}, {})
        self._names: dict[int, str] = {}
        self._last = [-1, -1]
        self.comparison: OutputComparison | None = None
        self.remark = ""

    def begin(self, old: Analyzer, new: Analyzer) -> None:
        """Learn what the outputs are."""
        first, second = old.output, new.output
        if first is None or second is None:
            which = "both models" if first is second else "a model"
            self.remark = f"the first output of {which} is not one of numbers that can be measured"
        elif first.shape != second.shape:
            self.remark = (
                f"the first outputs have different shapes, {list(first.shape)} and "
                f"{list(second.shape)}"
            )
        else:
            self.comparison = OutputComparison(
                first.name, second.name, first.shape, classes_of(first)
            )

    def old(self, values: np.ndarray, indexes: Sequence[int]) -> None:
        """Take outputs of the old model."""
        self._take(0, values, indexes)

    def new(self, values: np.ndarray, indexes: Sequence[int]) -> None:
        """Take outputs of the new model."""
        self._take(1, values, indexes)

    def _take(self, side: int, values: np.ndarray, indexes: Sequence[int]) -> None:
        if self.comparison is not None:
            # A copy, because the next run overwrites the values.
            self._waiting[side].update(zip(indexes, np.array(values), strict=True))

    def passed(self, side: int, names: Sequence[str], indexes: Sequence[int]) -> None:
        """Learn the names of images that a side has seen; it sees none before them any more."""
        self._names.update(zip(indexes, names, strict=True))
        self._last[side] = indexes[-1]

    def compare(self) -> None:
        """Compare what both have, and forget what cannot come any more."""
        old, new = self._waiting
        both = sorted(old.keys() & new.keys())
        if both:
            assert self.comparison is not None
            rows = Rows(
                [self._names[index] for index in both],
                both,
                np.stack([old[index] for index in both]),
                np.stack([new[index] for index in both]),
            )
            found = self.comparison.add(rows)
            if self._table is not None:
                self._table.add(rows.names, rows.indexes, found)
        past = min(self._last)
        for kept in (old, new, self._names):
            for index in [index for index in kept if index <= past]:
                del kept[index]


def _disagreements(outputs: OutputComparison, suite: inputs.Suite) -> Iterator[Disagreement]:
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
            thumbnail=_thumbnail(suite, index),
        )


def _thumbnail(suite: inputs.Suite, index: int) -> bytes | None:
    try:
        return inputs.thumbnail(suite, index)
    except ImageError:
        return None  # it was there when it was compared
