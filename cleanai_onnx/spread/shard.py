"""A part of a suite, worked on by a process of its own: a job comes in, a file goes out.

``python -m cleanai_onnx.spread.shard`` reads a job from standard input and writes lines of JSON to
standard output: how many images are done, and at last which were skipped, or why it ended. It ends
with its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cleanai_onnx import inputs
from cleanai_onnx.errors import CleanAIError, ImageError, ModelError, UsageError, harmless
from cleanai_onnx.measuring.feeding import Progress
from cleanai_onnx.result import SkippedImage

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto

__all__ = ["ERRORS", "Job", "Work", "attempt", "loadable", "main"]

ERRORS = {kind.__name__: kind for kind in (ImageError, ModelError, UsageError, CleanAIError)}
"""What may be wrong with a job, whoever does it: another try would bring nothing."""


class Work(Protocol):
    """What is done with each part of a suite. It is pickled, with what it has to know."""

    def do(self, job: Job, suite: inputs.Suite, progress: Progress) -> tuple[SkippedImage, ...]:
        """Work on the images of a job, and write its product.

        Parameters
        ----------
        job
        suite
            The whole one.
        progress
            See `cleanai_onnx.analyze`.

        Returns
        -------
        tuple of SkippedImage
            Those of the job that could not be used.
        """


@dataclass(frozen=True)
class Job:
    """What a worker must know.

    Attributes
    ----------
    work
        What it does with its images.
    model
        A path, or the bytes of the model.
    images, limit, seed
        The whole suite; see `cleanai_onnx.analyze`.
    first, last
        Work on the images from `first` to before `last`.
    found
        How many images the suite has, so that it is known if that has changed.
    becoming
        How images become inputs.
    running
        Arguments of `Analyzer` that say how the model is run.
    strict
        Whether an image that cannot be used is an error.
    folder
        For scratch files.
    product
        The file to write.
    enclosed
        A file that goes with the job, also to another machine.
    """

    work: Work
    model: str | Path | bytes
    images: Any
    limit: int | None
    seed: int
    first: int
    last: int
    found: int
    becoming: Mapping[str, Any]
    running: Mapping[str, Any]
    strict: bool
    folder: Path
    product: Path
    enclosed: Path | None = None


def loadable(model: str | Path | bytes | ModelProto) -> str | Path | bytes:
    """Return what a model can be loaded from in another process."""
    if isinstance(model, str | Path | bytes):
        return model
    content: bytes = model.SerializeToString()
    return content


def attempt(job: Job, say: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    """Do a job; return which images it skipped, or what is wrong with it."""
    try:
        suite = inputs.discover(job.images, job.limit, job.seed)
        if len(suite) != job.found:
            raise ImageError("images came or went while the suite was read: start again.")
        skipped = job.work.do(job, suite, lambda _: lambda done: say({"done": done}))
        return {"skipped": [[one.path, one.reason] for one in skipped], "usable": True}
    except inputs.NoneUsableError as error:
        return {"skipped": [[one.path, one.reason] for one in error.skipped], "usable": False}
    except CleanAIError as error:
        kind = next(name for name, kind in ERRORS.items() if isinstance(error, kind))
        return {"error": kind, "text": str(error), "slug": error.slug}


def main() -> int:
    """Do the job on standard input; return 0 if it is done, or was explained."""
    # Ctrl-C is for the parent too, which then says when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not get between the lines of JSON.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(message: Mapping[str, Any]) -> None:
        print(json.dumps(message), file=lines, flush=True)

    try:
        # Nobody but the parent, which is this program too, writes to this pipe.
        job: Job = pickle.load(sys.stdin.buffer)
    except (AttributeError, ImportError) as error:
        # A function of the user's: all else that a job has is in this package.
        text = (
            f"a worker cannot load what it was given ({harmless(str(error))[:200]}): define "
            "functions in a module that can be imported."
        )
        say({"error": "UsageError", "text": text, "slug": "workers"})
        return 0
    threading.Thread(target=_end_with_parent, daemon=True).start()
    say(attempt(job, say))
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent keeps open as long as it lives."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    # Not by way of the interpreter's end, for which the thread that waits is in the way.
    os._exit(main())
