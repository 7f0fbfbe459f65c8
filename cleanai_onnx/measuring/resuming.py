"""A suite fed to an analyzer that a kill may interrupt: it goes on from its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cleanai_onnx import inputs
from cleanai_onnx.measuring.analyzer import Analyzer
from cleanai_onnx.measuring.feeding import Progress, feed
from cleanai_onnx.profiles import Profile
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.states.checkpoint import Checkpoint
from cleanai_onnx.states.identity import identity_of
from cleanai_onnx.states.images import list_images

__all__ = ["feed_on", "identity_of_run"]

NOT_MEASURED = frozenset({"relevance", "preset", "preprocessing file", "profile"})
"""Options that change nothing that is measured, or that are known by what they led to."""


def identity_of_run(
    analyzer: Analyzer,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    options: Mapping[str, Any],
    profile: Profile | None,
) -> dict[str, str]:
    """Return everything that the figures of a run depend on; see `feed_on`."""
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
    analyzer: Analyzer,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    *,
    options: Mapping[str, Any],
    profile: Profile | None,
    strict: bool,
    manifest: inputs.Manifest,
    progress: Progress | None,
) -> tuple[SkippedImage, ...]:
    """Go on from a checkpoint if there is one, and write further ones; otherwise as `feed`.

    Parameters
    ----------
    checkpoint
        Of this run, and of no other.
    analyzer, suite
        The analyzer keeps what is known of single images in the checkpoint's files.
    resolved
        How images become inputs.
    options, profile
        What the run depends on besides the analyzer's own options.
    strict, progress
        See `cleanai_onnx.analyze`.
    manifest
        Gets the hashes of all images, also of those before the checkpoint.

    Raises
    ------
    UsageError
        If the checkpoint is of another run, or broken.
    """
    identity = identity_of_run(analyzer, suite, resolved, options, profile)

    def after_batch(position: inputs.Position) -> None:
        if checkpoint.is_due(position):
            with analyzer.record.phase("checkpoint"):
                checkpoint.write(position, analyzer.stored(), identity)

    with checkpoint.explaining():
        start = None
        if (before := checkpoint.load(identity)) is not None:
            start, measured = before
            analyzer.resume(measured)
        skipped = feed(
            analyzer,
            suite,
            resolved.preprocessing,
            strict=strict,
            manifest=manifest,
            progress=progress,
            start=start,
            after_batch=after_batch,
        )
    if start is not None:
        list_images(manifest, analyzer.images, start.used)
    return skipped
