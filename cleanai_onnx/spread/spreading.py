"""A suite spread over workers: each works on a shard, and their products are what is returned.

A worker that dies is replaced; one that died three times is given up, and its images are missing.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cleanai_onnx.errors import CleanAIError, ImageError, UsageError, harmless
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.spread.shard import ERRORS, Job

if TYPE_CHECKING:
    from cleanai_onnx.spread.keeping import KeptShards

__all__ = [
    "Engine",
    "Outcome",
    "Processes",
    "Shard",
    "Spread",
    "outcome_of",
    "shards",
    "spread",
    "threads_of_each",
]

ATTEMPTS = 3
LAST_WORDS = 2000
"""Characters of a worker's standard error that are kept."""


def shards(images: int, workers: int) -> list[tuple[int, int]]:
    """Cut positions into so many ranges of nearly one length; fewer where there are few images."""
    count = max(1, min(workers, images))
    ends = [images * number // count for number in range(count + 1)]
    return list(pairwise(ends))


def threads_of_each(workers: int) -> int:
    """Return how many threads each of so many workers has, where the user does not say."""
    return max(1, (os.cpu_count() or 1) // workers)


@dataclass(frozen=True)
class Outcome:
    """What became of a shard: whether there is a product, and which images were skipped."""

    usable: bool
    skipped: tuple[SkippedImage, ...] = ()


@dataclass(frozen=True)
class Shard:
    """A shard that is done.

    Attributes
    ----------
    first, last
        Its images in the suite: those from `first` to before `last`.
    product
        The file that its worker wrote.
    """

    first: int
    last: int
    product: Path


@dataclass(frozen=True)
class Spread:
    """What became of a suite.

    Attributes
    ----------
    shards
        Those of which images could be used, in the order of the suite.
    skipped
        All images that were skipped, in the order of the suite.
    lost
        Those among them whose worker died again and again.
    """

    shards: tuple[Shard, ...]
    skipped: tuple[SkippedImage, ...]
    lost: tuple[SkippedImage, ...]


class Engine(Protocol):
    """What the workers are."""

    def attempt(self, job: Job, report: Callable[[int], None]) -> Outcome | str:
        """Let a worker do a job; threads call this at the same time.

        Parameters
        ----------
        job
        report
            Called with how many of its images are done.

        Returns
        -------
        Outcome or str
            The last words of a worker that died.

        Raises
        ------
        CleanAIError
            If something is wrong with the job, so that another try would bring nothing.
        """

    def stop(self) -> None:
        """End all workers."""


def spread(
    job: Job,
    workers: int,
    engine: Engine,
    progress: Callable[[int], None] | None = None,
    names: Callable[[int], str] = str,
    *,
    allow_partial: bool = False,
    kept: KeptShards | None = None,
) -> Spread:
    """Let several workers do a job.

    Parameters
    ----------
    job
        That of the whole suite; `first`, `last` and `product` are set for each worker.
    workers
    engine
    progress
        Called with how many images are done.
    names
        From positions of images to names.
    allow_partial
        Whether to go on without the images of a worker that died again and again.
    kept
        Where the products of shards that are done are kept, and how many shards there are then.

    Raises
    ------
    CleanAIError
        As a worker says; or if one died three times and `allow_partial` is not set.
    """
    ranges = shards(job.found, workers if kept is None else kept.count)
    done = [0] * len(ranges)
    lock = threading.Lock()
    ended = threading.Event()

    def report(number: int, count: int) -> None:
        with lock:
            done[number] = count
            if progress is not None:
                progress(sum(done))

    def product(number: int) -> Path:
        return job.folder / f"{number}.product"

    def work(number: int) -> Outcome | tuple[SkippedImage, ...]:
        first, last = ranges[number]
        if kept is not None and (done_before := kept.outcome(number)) is not None:
            report(number, last - first)
            return done_before
        own = replace(job, first=first, last=last, product=product(number))
        for _ in range(ATTEMPTS):
            if ended.is_set():
                break
            outcome = engine.attempt(own, lambda count: report(number, count))
            if isinstance(outcome, Outcome):
                if kept is not None and outcome.usable:
                    kept.keep(number, own)
                return outcome
            words = outcome
        if not allow_partial:
            raise ImageError(
                f"the worker of the images {first:,} to {last - 1:,} died {ATTEMPTS} times "
                f"({words}): look at these images, or give --allow-partial to go on without them."
            )
        why = f"its worker died {ATTEMPTS} times"
        return tuple(SkippedImage(names(i), why) for i in range(first, last))

    with ThreadPoolExecutor(min(workers, len(ranges))) as pool:
        tasks = [pool.submit(work, number) for number in range(len(ranges))]
        try:
            outcomes = [task.result() for task in tasks]
        except BaseException:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            engine.stop()
            raise
    usable = tuple(
        Shard(first, last, product(number) if kept is None else kept.path(number))
        for number, (outcome, (first, last)) in enumerate(zip(outcomes, ranges, strict=True))
        if isinstance(outcome, Outcome) and outcome.usable
    )
    if not usable:
        raise _nothing_found(outcomes, job.found)
    return Spread(
        usable,
        tuple(one for each in outcomes for one in _skipped(each)),
        tuple(one for each in outcomes if not isinstance(each, Outcome) for one in each),
    )


def _skipped(outcome: Outcome | tuple[SkippedImage, ...]) -> tuple[SkippedImage, ...]:
    return outcome.skipped if isinstance(outcome, Outcome) else outcome


def _nothing_found(
    outcomes: Sequence[Outcome | tuple[SkippedImage, ...]], images: int
) -> ImageError:
    if not all(isinstance(outcome, Outcome) for outcome in outcomes):
        return ImageError("no image was used: workers died, and the others had none to use.")
    first = _skipped(outcomes[0])[0]
    return ImageError(f"None of the {images:,} images can be used; '{first.path}': {first.reason}.")


class Processes:
    """Workers that are processes of this machine."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()

    def attempt(self, job: Job, report: Callable[[int], None]) -> Outcome | str:
        """Let a process do a job; see `Engine`."""
        content = _pickled(job)
        with tempfile.TemporaryFile(dir=job.folder) as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "cleanai_onnx.spread.shard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            self._running.add(process)
            try:
                assert process.stdin is not None and process.stdout is not None
                # It stays open until the worker ends, so that the worker ends with this process.
                with process, suppress(BrokenPipeError):
                    process.stdin.write(content)
                    process.stdin.flush()
                    outcome = None
                    for line in process.stdout:
                        message = json.loads(line)
                        if "done" in message:
                            report(message["done"])
                        else:
                            outcome = outcome_of(message)
                    process.wait()
            finally:
                self._running.discard(process)
            if outcome is not None:
                return outcome
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST_WORDS))
            lines = errors.read().decode("utf-8", "replace").split("\n")
            words = next((line for line in reversed(lines) if line.strip()), "")
            code = process.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return harmless(f"{how}: {words}" if words else how)[:200]

    def stop(self) -> None:
        """Kill all processes."""
        for process in tuple(self._running):
            with suppress(OSError):
                process.kill()


def _pickled(job: Job) -> bytes:
    try:
        return pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        # Only what a user wrote cannot be: a lambda, or a function inside another.
        raise UsageError(
            f"a worker cannot be given what it needs ({harmless(str(error))[:200]}): define "
            "functions in a module that can be imported.",
            slug="workers",
        ) from error


def outcome_of(message: Mapping[str, Any]) -> Outcome:
    """Return what a worker says that it found at the end, or raise what is wrong with its job."""
    if "skipped" in message:
        skipped = tuple(SkippedImage(path, reason) for path, reason in message["skipped"])
        return Outcome(message["usable"], skipped)
    raise ERRORS.get(message["error"], CleanAIError)(message["text"], slug=message["slug"])
