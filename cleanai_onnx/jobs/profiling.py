"""Learning in one call: a model and its training images in, a `Profile` out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.errors import UsageError
from cleanai_onnx.measuring.batches import are_paths, limited
from cleanai_onnx.measuring.feeding import Progress, feed, resolve
from cleanai_onnx.measuring.resuming import feed_on
from cleanai_onnx.profiles import LAST_HIDDEN, TRACES, Profile, Profiler
from cleanai_onnx.profiles.labelled import LabelledProfiler
from cleanai_onnx.report.destination import when_in_place
from cleanai_onnx.result import View
from cleanai_onnx.spread.spread_learning import Learn, learn_spread
from cleanai_onnx.spread.team import EngineName, Wanted, is_spread
from cleanai_onnx.states.checkpoint import Checkpoint, Every
from cleanai_onnx.states.identity import identity_of

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto

__all__ = ["learn"]


def learn(
    model: str | Path | bytes | ModelProto,
    images: str | Path | Sequence[str | Path] | np.ndarray | Iterable[Any],
    *,
    labels: str | Path = "auto",
    view: View = "channel",
    layers: Sequence[str] = (LAST_HIDDEN,),
    traces: int = TRACES,
    composite: str = "epsilon",
    taps: Sequence[str] = ("activations",),
    input_name: str | None = None,
    input_values: Mapping[str, str] | None = None,
    preset: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    preprocessing_file: str | Path | None = None,
    preprocessing_config: Mapping[str, Any] | None = None,
    device: runtime.Device = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_every: Every | None = None,
    workers: int | None = None,
    engine: EngineName = "process",
    ray_address: str | None = None,
    allow_partial: bool = False,
    progress: Progress | None = None,
) -> Profile:
    """Learn from training images what the neurons of a model do.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
    images
        As for `cleanai_onnx.analyze`. An iterable of batches may yield (inputs, labels).
    labels : str or path
        The true classes of images: ``"auto"`` takes the column ``label`` of a table, or the names
        of the folders that images lie in, where these can be the model's classes; ``"folders"``
        fails where they cannot; ``"column:NAME"`` takes another column of the table; ``"none"``;
        or a CSV file with the columns ``image`` and ``label``.
    view, layers, traces, composite
        See `cleanai_onnx.profiles.Profiler`.
    taps, input_name, input_values, device, batch_size, threads
        See `cleanai_onnx.Analyzer`.
    preset, preprocessing, preprocessing_file, preprocessing_config, limit, seed, strict, progress
        See `cleanai_onnx.analyze`.
    checkpoint, checkpoint_every
        See `cleanai_onnx.analyze`. The profile is that of an unbroken run, byte for byte, but for
        when it began.
    workers, engine, ray_address, allow_partial
        See `cleanai_onnx.analyze`. The profile is that of one process, but for the rounding of
        means, variances and sums of relevance; a remark of it names images that are missing.

    Returns
    -------
    Profile

    Raises
    ------
    ModelError, ImageError, UsageError
        With one sentence that says what is wrong and what to do.
    """
    wanted = Wanted(workers, engine, ray_address, allow_partial)
    spread = is_spread(
        wanted,
        {
            "--checkpoint": checkpoint is not None,
            "batches of your own": not are_paths(images),
        },
    )
    if checkpoint is not None and not are_paths(images):
        raise UsageError(
            "a checkpoint needs images of a folder or a file, not batches of your own.",
            slug="checkpoint",
        )
    running: dict[str, Any] = {
        "taps": taps,
        "input_name": input_name,
        "input_values": input_values,
        "device": device,
        "threads": threads,
    }
    learning: dict[str, Any] = {
        "view": view,
        "layers": layers,
        "traces": traces,
        "composite": composite,
    }
    becoming: dict[str, Any] = {
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": preprocessing_file,
        "preprocessing_config": preprocessing_config,
    }
    profiler = Profiler(model, batch_size=batch_size, **running, **learning)
    if not are_paths(images):
        batches = limited(images, limit, becoming.values())
        return _learn_batches(profiler, batches, wants_labels=str(labels) != "none")

    suite = inputs.discover(images, limit, seed)  # type: ignore[arg-type]
    resolved = resolve(profiler.image_input, profiler.model.metadata, model, suite, **becoming)
    if spread:
        return learn_spread(
            profiler,
            suite,
            resolved,
            wanted,
            Learn(labels, learning),
            asked={"model": model, "images": images, "limit": limit, "seed": seed}
            | {"strict": strict, "becoming": becoming, "running": running},
            progress=progress,
        )
    consumer = LabelledProfiler(profiler, suite, labels)
    if checkpoint is None:
        skipped = feed(consumer, suite, resolved.preprocessing, strict=strict, progress=progress)
    else:
        kept = Checkpoint(checkpoint, checkpoint_every)
        try:
            options = {**profiler.options, "labels": _identified(labels)}
            skipped, _ = feed_on(
                kept,
                consumer,
                suite,
                resolved.preprocessing,
                identity_of(profiler.model.sha256, options, resolved.fields, None, suite),
                strict=strict,
                progress=progress,
            )
            when_in_place(kept.remove)
        finally:
            kept.close()
    return profiler.profile(
        preprocessing=resolved.fields,
        source=suite.source,
        skipped=len(skipped),
        labels=consumer.labels.origin,
        remarks=consumer.remarks,
    )


def _identified(labels: str | Path) -> str:
    """Return where labels come from; of a file, with a hash of what is in it."""
    try:
        with open(labels, "rb") as stream:
            return f"{labels} (SHA-256 {hashlib.file_digest(stream, 'sha256').hexdigest()})"
    except OSError:  # a word; or it is refused when it is read
        return str(labels)


def _learn_batches(
    profiler: Profiler,
    batches: Iterable[tuple[np.ndarray, np.ndarray | None]],
    *,
    wants_labels: bool,
) -> Profile:
    for data, labels in batches:
        known = labels.tolist() if labels is not None and wants_labels else None
        if not profiler.inputs:
            profiler.labelled = known is not None
        profiler.update(data, known)
    return profiler.profile(labels="batches" if profiler.labelled else "none")
