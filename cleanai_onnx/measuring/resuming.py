"""A suite fed to a consumer that a kill may interrupt: it goes on from its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from cleanai_onnx import inputs
from cleanai_onnx.measuring.feeding import Consumer, Progress, feed
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.states.checkpoint import Checkpoint

__all__ = ["Resumable", "feed_on"]


class Resumable(Consumer, Protocol):
    """A consumer whose state can be kept."""

    def stored(self) -> dict[str, Any]:
        """Return all that it knows so far, as a tree that `cleanai_onnx.container` stores."""

    def resume(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `stored` returned; called before `prepare`.

        Raises
        ------
        UnfitError
            Here or in `start`, if the tree is not of such a consumer.
        """


def feed_on(
    checkpoint: Checkpoint,
    consumer: Resumable,
    suite: inputs.Suite,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
    identity: Mapping[str, str],
    *,
    strict: bool,
    progress: Progress | None,
    manifest: inputs.Manifest | None = None,
) -> tuple[tuple[SkippedImage, ...], int]:
    """Go on from a checkpoint if there is one, and write further ones; otherwise as `feed`.

    Parameters
    ----------
    checkpoint
        Of this run, and of no other.
    consumer, suite, preprocessing
    identity
        What the figures of the run depend on: see `cleanai_onnx.states.identity`.
    strict, progress, manifest
        See `feed`.

    Returns
    -------
    skipped, before
        The images that were skipped, and how many were used before the checkpoint: the manifest
        lacks these.

    Raises
    ------
    UsageError
        If the checkpoint is of another run, or broken.
    """

    def after_batch(position: inputs.Position) -> None:
        if checkpoint.is_due(position):
            with consumer.record.phase("checkpoint"):
                checkpoint.write(position, consumer.stored(), identity)

    with checkpoint.explaining():
        start = None
        if (before := checkpoint.load(identity)) is not None:
            start, known = before
            consumer.resume(known)
        skipped = feed(
            consumer,
            suite,
            preprocessing,
            strict=strict,
            manifest=manifest,
            progress=progress,
            start=start,
            after_batch=after_batch,
        )
    return skipped, 0 if start is None else start.used
