"""A part of a suite, measured by a process of its own: a job comes in, a state file goes out.

``python -m cleanai_onnx.spread.shard`` reads a job from standard input and writes lines of JSON to
standard output: how many images are done, or why it ended. It ends with its parent, however that
ends.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx import inputs
from cleanai_onnx.errors import CleanAIError, ImageError, ModelError, UsageError
from cleanai_onnx.measuring.analyzer import Analyzer
from cleanai_onnx.measuring.feeding import feed, resolve, thumbnail_if_any
from cleanai_onnx.profiles import load as load_profile
from cleanai_onnx.result import ImageFacts
from cleanai_onnx.states.images import scratch
from cleanai_onnx.states.storage import save

__all__ = ["ERRORS", "Job", "attempt", "main"]

ERRORS = {kind.__name__: kind for kind in (ImageError, ModelError, UsageError, CleanAIError)}
"""What may be wrong with a job, whoever does it: another try would bring nothing."""


@dataclass(frozen=True)
class Job:
    """What a worker must know.

    Attributes
    ----------
    model
        A path, or the bytes of the model.
    images, limit, seed
        The whole suite; see `cleanai_onnx.analyze`.
    first, last
        Measure the images from `first` to before `last`.
    found
        How many images the suite has, so that it is known if that has changed.
    becoming
        How images become inputs.
    running
        Arguments of `Analyzer` that say how the model is run.
    measuring
        Those that say what is measured.
    pair
        Positions in the suite; None for an image that is not in it.
    profile
        A file.
    strict
        Whether an image that cannot be used is an error.
    folder
        For the scratch files.
    state
        The file to write.
    """

    model: str | Path | bytes
    images: Any
    limit: int | None
    seed: int
    first: int
    last: int
    found: int
    becoming: Mapping[str, Any]
    running: Mapping[str, Any]
    measuring: Mapping[str, Any]
    pair: tuple[int | None, int | None] | None
    profile: Path | None
    strict: bool
    folder: Path
    state: Path


def measure(job: Job, say: Callable[[Mapping[str, Any]], None]) -> None:
    """Measure a shard and write its state."""
    suite = inputs.discover(job.images, job.limit, job.seed)
    if len(suite) != job.found:
        raise ImageError("images came or went while the suite was measured: start again.")
    shard = suite.shard(job.first, job.last)
    pair = None
    if job.pair is not None:
        one, other = (
            index - job.first if index is not None and job.first <= index < job.last else None
            for index in job.pair
        )
        pair = one, other
    analyzer = Analyzer(
        job.model,
        pair=pair,
        profile=None if job.profile is None else load_profile(job.profile),
        keep=scratch(job.folder),
        **job.running,
        **job.measuring,
    )
    resolved = resolve(
        analyzer.image_input,
        analyzer.model.metadata,
        job.model,
        suite,
        **job.becoming,
    )
    before = suite.shard(0, job.first)
    analyzer.follow(lambda: _first_batches(analyzer, before, resolved.preprocessing))
    skipped = feed(
        analyzer,
        shard,
        resolved.preprocessing,
        strict=job.strict,
        manifest=inputs.Manifest(),
        progress=lambda _: lambda done: say({"done": done}),
    )
    result = analyzer.result(
        images=ImageFacts(suite.source, suite.found, analyzer.inputs, skipped),
        preprocessing=resolved.fields,
        notes=resolved.notes,
        thumbnail=lambda index: thumbnail_if_any(shard, index),
        # It is found of all shards together.
        find_subset=False,
    )
    names = () if job.pair is None else tuple(map(str, job.pair))
    save(analyzer.part(result, positions=len(shard), root=suite.folder, pair=names), job.state)


def attempt(job: Job, say: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any] | None:
    """Measure a shard; return what is wrong with the job where something is."""
    try:
        measure(job, say)
    except inputs.NoneUsableError as error:
        skipped = [[one.path, one.reason] for one in error.skipped]
        return {"error": "ImageError", "text": str(error), "slug": error.slug, "skipped": skipped}
    except CleanAIError as error:
        kind = next(name for name, kind in ERRORS.items() if isinstance(error, kind))
        return {"error": kind, "text": str(error), "slug": error.slug}
    return None


def _first_batches(
    analyzer: Analyzer,
    suite: inputs.Suite,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
) -> Iterator[np.ndarray]:
    """Yield as many of the images before a shard as set the bounds of `nbc`, or all."""
    if not len(suite):
        return
    try:
        with inputs.stream(suite, preprocessing, analyzer.batch_size) as batches:
            for batch in batches:
                yield batch.data[: batch.valid]
                if batches.used >= analyzer.parameters.bounds_from:
                    return
    except inputs.NoneUsableError:
        return  # none of them sets any bounds


def main() -> int:
    """Do the job on standard input; return 0 if it is done, or was explained."""
    # What libraries print must not get between the lines of JSON.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Nobody but the parent, which is this program too, writes to this pipe.
    job: Job = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(message: Mapping[str, Any]) -> None:
        print(json.dumps(message), file=lines, flush=True)

    problem = attempt(job, say)
    if problem is not None:
        say(problem)
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent keeps open as long as it lives."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    # Not by way of the interpreter's end, for which the thread that waits is in the way.
    os._exit(main())
