"""The main job, spread over workers: from a suite to the `Result` of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx import inputs
from cleanai_onnx.jobs.combining import with_subset, write_image_tables
from cleanai_onnx.measuring.analyzer import Analyzer
from cleanai_onnx.measuring.feeding import Progress, feed, resolve, thumbnail_if_any
from cleanai_onnx.measuring.resuming import identity_of_run
from cleanai_onnx.profiles import Profile
from cleanai_onnx.profiles import load as load_profile
from cleanai_onnx.profiles.storage import content as profile_content
from cleanai_onnx.provenance import configuration_sha256
from cleanai_onnx.result import ImageFacts, Result, SkippedImage
from cleanai_onnx.spread.keeping import KeptShards, shards_to_keep
from cleanai_onnx.spread.shard import Job
from cleanai_onnx.spread.team import Wanted, gathered
from cleanai_onnx.states import storage
from cleanai_onnx.states.checkpoint import Checkpoint
from cleanai_onnx.states.images import list_images, scratch
from cleanai_onnx.states.merging import merge

__all__ = ["Measure", "analyze_spread"]


@dataclass(frozen=True)
class Measure:
    """Measures images against the profile that is enclosed, if any; the product is a state.

    Attributes
    ----------
    options
        Arguments of `Analyzer` that say what is measured.
    pair
        Positions in the suite of the images to compare; None for one that is not in it.
    """

    options: Mapping[str, Any]
    pair: tuple[int | None, int | None] | None

    def do(self, job: Job, suite: inputs.Suite, progress: Progress) -> tuple[SkippedImage, ...]:
        """Measure the images of a job, and write the state; see `Work`."""
        shard = suite.shard(job.first, job.last)
        pair = None
        if self.pair is not None:
            one, other = (
                index - job.first if index is not None and job.first <= index < job.last else None
                for index in self.pair
            )
            pair = one, other
        analyzer = Analyzer(
            job.model,
            pair=pair,
            profile=None if job.enclosed is None else load_profile(job.enclosed),
            keep=scratch(job.folder),
            **job.running,
            **self.options,
        )
        resolved = resolve(
            analyzer.image_input, analyzer.model.metadata, job.model, suite, **job.becoming
        )
        before = suite.shard(0, job.first)
        analyzer.follow(lambda: _first_batches(analyzer, before, resolved.preprocessing))
        skipped = feed(
            analyzer,
            shard,
            resolved.preprocessing,
            strict=job.strict,
            manifest=inputs.Manifest(),
            progress=progress,
        )
        result = analyzer.result(
            images=ImageFacts(suite.source, suite.found, analyzer.inputs, skipped),
            preprocessing=resolved.fields,
            notes=resolved.notes,
            thumbnail=lambda index: thumbnail_if_any(shard, index),
            # It is found of all shards together.
            find_subset=False,
        )
        names = () if self.pair is None else tuple(map(str, self.pair))
        part = analyzer.part(result, positions=len(shard), root=suite.folder, pair=names)
        storage.save(part, job.product)
        return skipped


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


def analyze_spread(
    analyzer: Analyzer,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    wanted: Wanted,
    *,
    asked: Mapping[str, Any],
    pair: tuple[int | None, int | None] | None,
    profile: Profile | None,
    options: Mapping[str, Any],
    explained: Callable[[Result], Result],
    progress: Progress | None,
    checkpoint: Checkpoint | None = None,
) -> Result:
    """Measure a suite with several workers, write what is to be written, and return the result.

    Parameters
    ----------
    analyzer
        Of the model. It measures nothing; it says how many images are run at once.
    suite, resolved
        The images, and how they become inputs.
    wanted
        The workers.
    asked
        Arguments of `cleanai_onnx.analyze`, by name.
    pair
        Positions of the images that the pair metrics compare.
    profile
    options
        Of the run, for the report.
    explained
        Adds heat maps of relevance to a result.
    progress
        See `cleanai_onnx.analyze`.
    checkpoint
        Where the shards that are done are kept, and found if an earlier run was killed.
    """
    analyzer.prepare(resolved.preprocessing.item_shape, most=len(suite))
    done = None if progress is None else progress(len(suite))
    with gathered(wanted, asked["device"]) as team:
        kept = None
        if checkpoint is not None:
            depends = {**options, "per-image": asked["per_layer"] is not None}
            kept = KeptShards(
                checkpoint,
                identity_of_run(analyzer, suite, resolved, depends, profile),
                shards_to_keep(len(suite), team.workers, checkpoint.every),
            )
        with analyzer.record.phase("workers"):
            found = team.spread(
                Measure({name: asked[name] for name in _MEASURING}, pair),
                **{name: asked[name] for name in _SUITE},
                suite=suite,
                becoming={name: asked[name] for name in _BECOMING},
                running={name: asked[name] for name in _RUNNING},
                # Batches of another size might round otherwise.
                batch_size=(kept.batch_size if kept else None) or analyzer.batch_size,
                enclosed=None if profile is None else profile_content(profile),
                progress=done,
                kept=kept,
            )
            part = merge(
                [storage.load(shard.product) for shard in found.shards],
                starts=[*(shard.first for shard in found.shards), len(suite)],
            )
        with analyzer.record.phase("subset"):
            part, columns = with_subset(part, asked["subset_file"])
        manifest = inputs.Manifest()
        list_images(manifest, part.images)
        table = asked["per_image"]
        result = replace(
            part.result,
            images=ImageFacts(
                source=suite.source,
                found=suite.found,
                used=part.state.inputs,
                skipped=found.skipped,
                per_image_table=None if table is None else Path(table).name,
                manifest_sha256=manifest.sha256(suite.full_name),
            ),
        )
        write_image_tables(part, table, asked["per_layer"], columns)
        result = explained(result)
        used = {**analyzer.options, **options, **team.options}
        result = replace(
            result,
            run=replace(
                result.run,
                started=analyzer.record.started,
                seconds=analyzer.record.spent,
                options=used,
                configuration_sha256=configuration_sha256(used, result.preprocessing),
            ),
        )
        if asked["state"] is not None:
            facts = replace(part.facts, pair=tuple(asked["pair"] or ()))
            storage.save(replace(part, facts=facts, result=result), asked["state"])
        return result


_SUITE = ("model", "images", "limit", "seed", "strict")
_BECOMING = ("preset", "preprocessing", "preprocessing_file", "preprocessing_config")
_RUNNING = ("taps", "input_name", "input_values", "device", "threads")
_MEASURING = ("parameters", "adjacency", "per_layer", "profile_parameters", "subset")
