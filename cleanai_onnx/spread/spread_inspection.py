"""Inspection, spread over workers: what they gather is merged, and scored as by one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleanai_onnx import inputs
from cleanai_onnx.inspection import Inspector, measures_called
from cleanai_onnx.inspection.given import hypotheses_from
from cleanai_onnx.measuring.feeding import Progress, feed, resolve
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.spread.shard import Job
from cleanai_onnx.spread.team import Team

__all__ = ["Inspect", "inspect_spread"]


@dataclass(frozen=True)
class Inspect:
    """Gathers statistics of images; the product is what `Inspector.write` writes.

    Attributes
    ----------
    hypotheses, masks
        See `cleanai_onnx.inspect_models`. Each worker makes of them what they say of all images.
    measures
        Ids.
    options
        Arguments of `Inspector` that say what is gathered.
    """

    hypotheses: Any
    masks: str | Path | None
    measures: tuple[str, ...]
    options: Mapping[str, Any]

    def do(self, job: Job, suite: inputs.Suite, progress: Progress) -> tuple[SkippedImage, ...]:
        """Gather the statistics of the images of a job, and write them; see `Work`."""
        inspector = Inspector(
            job.model,
            hypotheses_from(self.hypotheses, self.masks, suite),
            measures_called(self.measures),
            **job.running,
            **self.options,
        )
        try:
            resolved = resolve(
                inspector.image_input, inspector.model.metadata, job.model, suite, **job.becoming
            )
            shard = suite.shard(job.first, job.last)
            inspector.preprocessing, inspector.suite = resolved.preprocessing, shard
            inspector.population = len(suite)
            skipped = feed(
                inspector, shard, resolved.preprocessing, strict=job.strict, progress=progress
            )
            with job.product.open("wb") as stream:
                inspector.write(stream)
        finally:
            inspector.close()
        return skipped


def inspect_spread(
    inspector: Inspector,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    team: Team,
    work: Inspect,
    *,
    asked: Mapping[str, Any],
    progress: Progress | None,
) -> tuple[SkippedImage, ...]:
    """Let workers inspect a suite, and give an inspector what they gathered.

    Parameters
    ----------
    inspector
        Of the model and of the same options; it runs nothing.
    suite, resolved
        The images, and how they become inputs.
    team
        The workers.
    work
        What each of them does.
    asked
        Further arguments of `Team.spread`, as the user gave them.
    progress
        See `cleanai_onnx.analyze`.

    Returns
    -------
    tuple of SkippedImage
        The images that could not be used.
    """
    inspector.prepare(resolved.preprocessing.item_shape, most=len(suite))
    done = None if progress is None else progress(len(suite))
    with inspector.record.phase("workers"):
        found = team.spread(
            work, **asked, suite=suite, batch_size=inspector.batch_size, progress=done
        )
    with inspector.record.phase("merge"):
        for shard in found.shards:
            with shard.product.open("rb") as stream:
                inspector.merge(stream, shard.first)
            # The values of single images may be large, and are in the inspector's own file now.
            shard.product.unlink()
    inspector.further_options = team.options
    return found.skipped
