"""The main job, spread over workers: from a suite to the `Result` of one process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cleanai_onnx import inputs
from cleanai_onnx.jobs.combining import with_subset, write_image_tables
from cleanai_onnx.measuring.analyzer import Analyzer
from cleanai_onnx.measuring.feeding import Progress
from cleanai_onnx.measuring.resuming import identity_of_run
from cleanai_onnx.profiles import Profile
from cleanai_onnx.profiles.storage import content as profile_content
from cleanai_onnx.provenance import configuration_sha256
from cleanai_onnx.report.folder import GrowingFolder
from cleanai_onnx.result import ImageFacts, Result
from cleanai_onnx.spread.keeping import KeptShards, shards_to_keep
from cleanai_onnx.spread.shard import Job
from cleanai_onnx.spread.spreading import Engine, Processes, measure_spread, threads_of_each
from cleanai_onnx.states.checkpoint import Checkpoint
from cleanai_onnx.states.images import list_images
from cleanai_onnx.states.storage import save as save_state

__all__ = ["analyze_spread"]


def analyze_spread(
    analyzer: Analyzer,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    workers: int | None,
    *,
    engine: Literal["process", "ray"],
    ray_address: str | None,
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
    workers
        How many; None for as many as a Ray cluster has room for.
    engine, ray_address
        See `cleanai_onnx.analyze`.
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
    tasks: Engine = Processes()
    if engine == "ray":
        from cleanai_onnx.spread.ray_tasks import RayTasks

        tasks = ray_tasks = RayTasks(ray_address, asked["device"], workers)
        workers = ray_tasks.workers
    assert workers is not None
    folder = GrowingFolder(Path(tempfile.gettempdir(), "cleanai-onnx-workers"))
    try:
        kept = None
        if checkpoint is not None:
            depends = {**options, "per-image": asked["per_layer"] is not None}
            kept = KeptShards(
                checkpoint,
                identity_of_run(analyzer, suite, resolved, depends, profile),
                shards_to_keep(len(suite), workers, checkpoint.every),
            )
        # Batches of another size might round otherwise.
        batch_size = analyzer.batch_size if kept is None else kept.batch_size or analyzer.batch_size
        with folder.failing():
            profile_file = None
            if profile is not None:
                profile_file = folder.path / "profile"
                profile_file.write_bytes(profile_content(profile))
        job = Job(
            **{name: asked[name] for name in ("images", "limit", "seed", "strict")},
            model=analyzer.source,
            first=0,
            last=len(suite),
            found=len(suite),
            becoming={name: asked[name] for name in _BECOMING},
            running={name: asked[name] for name in _RUNNING}
            | {
                "batch_size": batch_size,
                "threads": asked["threads"] or threads_of_each(workers),
            },
            measuring={name: asked[name] for name in _MEASURING},
            pair=pair,
            profile=profile_file,
            folder=folder.path,
            state=folder.path / "state",
        )
        with analyzer.record.phase("workers"):
            part, skipped = measure_spread(
                job,
                workers,
                tasks,
                done,
                suite.name,
                allow_partial=asked["allow_partial"],
                kept=kept,
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
                skipped=skipped,
                per_image_table=None if table is None else Path(table).name,
                manifest_sha256=manifest.sha256(suite.full_name),
            ),
        )
        write_image_tables(part, table, asked["per_layer"], columns)
        result = explained(result)
        used = {**analyzer.options, **options, "workers": workers}
        if engine != "process":
            used["engine"] = engine
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
            save_state(replace(part, facts=facts, result=result), asked["state"])
        return result
    finally:
        folder.discard()
        tasks.stop()


_BECOMING = ("preset", "preprocessing", "preprocessing_file", "preprocessing_config")
_RUNNING = ("taps", "input_name", "input_values", "device")
_MEASURING = ("parameters", "adjacency", "per_layer", "profile_parameters", "subset")
