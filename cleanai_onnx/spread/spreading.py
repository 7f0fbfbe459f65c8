"""A suite spread over workers: each measures a shard, and their states are merged.

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
from typing import Any, Protocol

from cleanai_onnx.errors import CleanAIError, ImageError, harmless
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.spread.keeping import KeptShards
from cleanai_onnx.spread.shard import ERRORS, Job
from cleanai_onnx.states import storage
from cleanai_onnx.states.merging import merge
from cleanai_onnx.states.part import Part

__all__ = [
    "Engine",
    "Outcome",
    "Processes",
    "explained",
    "measure_spread",
    "shards",
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
    """What became of a shard: its part; or what was skipped where nothing else was left."""

    part: Part | None
    skipped: tuple[SkippedImage, ...] = ()
    died: bool = False


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


def measure_spread(
    job: Job,
    workers: int,
    engine: Engine,
    progress: Callable[[int], None] | None = None,
    names: Callable[[int], str] = str,
    *,
    allow_partial: bool = False,
    kept: KeptShards | None = None,
) -> tuple[Part, tuple[SkippedImage, ...]]:
    """Measure a suite with several workers.

    Parameters
    ----------
    job
        That of the whole suite; `first`, `last` and `state` are set for each worker.
    workers
    engine
    progress
        Called with how many images are done.
    names
        From positions of images to names.
    allow_partial
        Whether to go on without the images of a worker that died again and again.
    kept
        Where shards that are done are kept, and how many shards there are then.

    Returns
    -------
    part, skipped
        What was measured, and the images that were skipped, in order.

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

    def work(number: int) -> Outcome:
        first, last = ranges[number]
        if kept is not None and (part := kept.part(number)) is not None:
            report(number, last - first)
            return Outcome(part)
        own = replace(job, first=first, last=last, state=job.folder / f"{number}.state")
        for _ in range(ATTEMPTS):
            if ended.is_set():
                break
            outcome = engine.attempt(own, lambda count: report(number, count))
            if isinstance(outcome, Outcome):
                if kept is not None and outcome.part is not None:
                    part = kept.keep(number, own.state, own.running["batch_size"])
                    return replace(outcome, part=part)
                return outcome
            words = outcome
        if not allow_partial:
            raise ImageError(
                f"the worker of the images {first:,} to {last - 1:,} died {ATTEMPTS} times "
                f"({words}): look at these images, or give --allow-partial to go on without them."
            )
        why = f"its worker died {ATTEMPTS} times"
        lost = tuple(SkippedImage(names(i), why) for i in range(first, last))
        return Outcome(None, lost, died=True)

    with ThreadPoolExecutor(min(workers, len(ranges))) as pool:
        tasks = [pool.submit(work, number) for number in range(len(ranges))]
        try:
            outcomes = [task.result() for task in tasks]
        except BaseException:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            engine.stop()
            raise
    return _together(outcomes, ranges)


class Processes:
    """Workers that are processes of this machine."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()

    def attempt(self, job: Job, report: Callable[[int], None]) -> Outcome | str:
        """Let a process do a job; see `Engine`."""
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
                    process.stdin.write(pickle.dumps(job))
                    process.stdin.flush()
                    outcome = None
                    for line in process.stdout:
                        message = json.loads(line)
                        if "done" in message:
                            report(message["done"])
                        else:
                            outcome = explained(message)
                    process.wait()
            finally:
                self._running.discard(process)
            if outcome is not None:
                return outcome
            if process.returncode == 0:
                return Outcome(storage.load(job.state))
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


def explained(message: Mapping[str, Any]) -> Outcome:
    """Return what a worker that could not do its job found, or raise why."""
    if "skipped" in message:
        skipped = tuple(SkippedImage(path, reason) for path, reason in message["skipped"])
        return Outcome(None, skipped)
    raise ERRORS.get(message["error"], CleanAIError)(message["text"], slug=message["slug"])


def _together(
    outcomes: Sequence[Outcome], ranges: Sequence[tuple[int, int]]
) -> tuple[Part, tuple[SkippedImage, ...]]:
    found = [
        (outcome.part, first)
        for outcome, (first, _) in zip(outcomes, ranges, strict=True)
        if outcome.part is not None
    ]
    if not found:
        if any(outcome.died for outcome in outcomes):
            raise ImageError("no image was measured: workers died, and the others had none to use.")
        first_skipped = outcomes[0].skipped[0]
        raise ImageError(
            f"None of the {ranges[-1][1]:,} images can be used; '{first_skipped.path}': "
            f"{first_skipped.reason}."
        )
    parts = [part for part, _ in found]
    merged = merge(parts, starts=[*(first for _, first in found), ranges[-1][1]])
    skipped = tuple(
        one
        for outcome in outcomes
        for one in (outcome.skipped if outcome.part is None else outcome.part.result.images.skipped)
    )
    return merged, skipped
