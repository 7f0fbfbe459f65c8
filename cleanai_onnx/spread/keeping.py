"""Shards that are done, kept in the folder of a checkpoint: a run that goes on has them already."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path

from cleanai_onnx.container import UnfitError
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs import Position
from cleanai_onnx.spread.shard import Job
from cleanai_onnx.spread.spreading import Outcome
from cleanai_onnx.states import storage
from cleanai_onnx.states.checkpoint import Checkpoint, Every

__all__ = ["KeptShards", "shards_to_keep"]

SHARDS_OF_EACH = 8
"""So many shards has a worker by default, so that a kill costs little,"""
LEAST_IMAGES = 256
"""but none of fewer images than this: each is a start."""


def shards_to_keep(images: int, workers: int, every: Every) -> int:
    """Return how many shards a suite has whose finished shards are kept.

    Raises
    ------
    UsageError
        If a checkpoint is wanted at certain times.
    """
    if every.seconds is not None:
        raise UsageError(
            "with workers, a shard of the images is kept when it is done: give --checkpoint-every "
            "a number of images, not a time.",
            slug="checkpoint",
        )
    wanted = min(SHARDS_OF_EACH * workers, images // LEAST_IMAGES)
    if every.images is not None:
        wanted = math.ceil(images / every.images)
    return max(wanted, min(workers, images))


class KeptShards:
    """The shards of one run.

    Parameters
    ----------
    checkpoint
    identity
        Everything that figures depend on; see `cleanai_onnx.states.identity`.
    count
        Into how many shards the suite is cut.

    Attributes
    ----------
    batch_size
        That of the shards that are kept; None where there is none yet.

    Raises
    ------
    UsageError
        If the folder has shards of another run, or is broken.
    """

    def __init__(self, checkpoint: Checkpoint, identity: Mapping[str, str], count: int) -> None:
        self._checkpoint, self.count = checkpoint, count
        self._identity = {
            **identity,
            "the number of shards (--workers, --checkpoint-every)": str(count),
        }
        self._lock = threading.Lock()
        self.batch_size: int | None = None
        with checkpoint.explaining():
            before = checkpoint.load(self._identity)
            if before is None:
                checkpoint.forget_shards()
                return
            self.batch_size = before[1].get("batch size")
            if not isinstance(self.batch_size, int) or self.batch_size < 1:
                raise UnfitError("it does not say how many images were run at once")

    def path(self, number: int) -> Path:
        """Return where the state of a shard lies, once it is kept."""
        return self._checkpoint.shard(number)

    def outcome(self, number: int) -> Outcome | None:
        """Return what became of a shard that is kept; None if it was not done.

        Raises
        ------
        UsageError
            If it is broken.
        """
        if self.batch_size is None or not self.path(number).exists():
            return None
        with self._checkpoint.explaining():
            try:
                part = storage.load(self.path(number))
            except UsageError as error:
                raise UnfitError(str(error).rstrip(".")) from None
        return Outcome(True, part.result.images.skipped)

    def keep(self, number: int, job: Job) -> None:
        """Keep the state that a job has written, which is done.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with self._lock:
            if self.batch_size is None:
                # From now on there is something that the next run must not mistake for its own.
                self.batch_size = job.running["batch_size"]
                measured = {"batch size": self.batch_size}
                self._checkpoint.write(Position(0, 0, ()), measured, self._identity)
            self._checkpoint.keep_shard(number, job.product)
