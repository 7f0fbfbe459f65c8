"""A suite fed to a consumer that a kill may interrupt: it goes on from its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cleanai_onnx import inputs
from cleanai_onnx.measuring.feeding import Consumer, Progress, feed
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.states.checkpoint import Checkpoint
from cleanai_onnx.states.identity import identity_of

if TYPE_CHECKING:
    from cleanai_onnx.measuring.analyzer import Analyzer
    from cleanai_onnx.profiles import Profile

__all__ = ["Resumable", "feed_on", "identity_of_run"]

NOT_MEASURED = frozenset({"relevance", "preset", "preprocessing file", "profile"})
"""Options that change nothing that is measured, or that are known by what they led to."""


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


def identity_of_run(
    analyzer: Analyzer,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    options: Mapping[str, Any],
    profile: Profile | None,
) -> dict[str, str]:
    """Return everything that the figures of an analysis depend on; see `feed_on`."""
    depends = {**analyzer.options, **options}
    return identity_of(
        analyzer.model.sha256,
        {name: value for name, value in depends.items() if name not in NOT_MEASURED},
        resolved.fields,
        profile,
        suite,
    )


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
