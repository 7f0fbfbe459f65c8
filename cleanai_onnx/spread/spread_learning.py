"""Learning, spread over workers: from training images to the `Profile` of one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from cleanai_onnx import inputs, profiles
from cleanai_onnx.measuring.feeding import Progress, feed, resolve
from cleanai_onnx.profiles import Profile, Profiler
from cleanai_onnx.profiles.labelled import LabelledProfiler
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.spread.shard import Job
from cleanai_onnx.spread.team import Wanted, gathered

__all__ = ["Learn", "learn_spread"]


@dataclass(frozen=True)
class Learn:
    """Learns from images; the product is a profile.

    Attributes
    ----------
    labels
        See `cleanai_onnx.learn`.
    options
        Arguments of `Profiler` that say what is learnt.
    """

    labels: str | Path
    options: Mapping[str, Any]

    def do(self, job: Job, suite: inputs.Suite, progress: Progress) -> tuple[SkippedImage, ...]:
        """Learn from the images of a job, and write the profile; see `Work`."""
        profiler = Profiler(job.model, **job.running, **self.options)
        resolved = resolve(
            profiler.image_input, profiler.model.metadata, job.model, suite, **job.becoming
        )
        consumer = LabelledProfiler(profiler, suite, self.labels)
        skipped = feed(
            consumer,
            suite.shard(job.first, job.last),
            resolved.preprocessing,
            strict=job.strict,
            progress=progress,
        )
        learnt = profiler.profile(
            preprocessing=resolved.fields,
            source=suite.source,
            labels=consumer.labels.origin,
            remarks=consumer.remarks,
        )
        profiles.save(learnt, job.product)
        return skipped


def learn_spread(
    profiler: Profiler,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    wanted: Wanted,
    work: Learn,
    *,
    asked: Mapping[str, Any],
    progress: Progress | None,
) -> Profile:
    """Learn from a suite with several workers.

    Parameters
    ----------
    profiler
        Of the model. It learns nothing; it says how many images are run at once.
    suite, resolved
        The images, and how they become inputs.
    wanted
        The workers.
    work
        What each of them does.
    asked
        Further arguments of `Team.spread`, as the user gave them.
    progress
        See `cleanai_onnx.analyze`.
    """
    profiler.prepare(resolved.preprocessing.item_shape, most=len(suite))
    done = None if progress is None else progress(len(suite))
    with gathered(wanted, asked["running"]["device"]) as team:
        found = team.spread(
            work, **asked, suite=suite, batch_size=profiler.batch_size, progress=done
        )
        # One after the other: with the moments of units, a profile may be large.
        merged = reduce(_merged, (profiles.load(shard.product) for shard in found.shards))
    remarks = list(merged.facts.remarks)
    if found.lost:
        names = [one.path for one in found.lost]
        named = f"'{names[0]}'" if len(names) == 1 else f"'{names[0]}' to '{names[-1]}'"
        remarks.append(f"{len(names):,} images are missing ({named}): {found.lost[0].reason}")
    facts = replace(
        merged.facts,
        sources=(suite.source,),
        skipped=len(found.skipped),
        remarks=tuple(remarks),
        started=profiler.record.started,
    )
    return replace(merged, facts=facts)


def _merged(one: Profile, other: Profile) -> Profile:
    """Merge two profiles, without relevance where one of them lacks it, as a remark of it says."""
    both = [one, other]
    if any(part.relevance is None for part in both):
        both = [
            replace(part, relevance=None, facts=replace(part.facts, composite="")) for part in both
        ]
    return profiles.merge(both)
