"""Inspection in one call: models, images and hypotheses in, scores of all neurons out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inspection import (
    DEFAULT,
    Inspection,
    Inspector,
    ModelInspection,
    Settings,
    measures_called,
)
from cleanai_onnx.inspection.given import hypotheses_from
from cleanai_onnx.inspection.notes import notes_on
from cleanai_onnx.inspection.result import distinct
from cleanai_onnx.jobs.featured_neurons import with_neurons
from cleanai_onnx.measuring.batches import are_paths, limited
from cleanai_onnx.measuring.feeding import Progress, feed, resolve
from cleanai_onnx.result import Note, SkippedImage, View
from cleanai_onnx.spread.spread_inspection import Inspect, inspect_spread
from cleanai_onnx.spread.team import EngineName, Wanted, gathered, is_spread

if TYPE_CHECKING:
    import pandas as pd

    from cleanai_onnx.graph import ModelProto

    Model = str | Path | bytes | ModelProto

__all__ = ["MIN_INPUTS", "inspect", "inspect_models"]

MIN_INPUTS = 256
KEEP = 10_000


def inspect(
    models: Model | Sequence[Model],
    dataset: Any,
    hypotheses: Any,
    measures: str | Sequence[str] = DEFAULT,
    **options: Any,
) -> pd.DataFrame:
    """Score how well each neuron of a model, or of several, encodes each hypothesis.

    Parameters
    ----------
    models, dataset, hypotheses, measures, **options
        As for `inspect_models`.

    Returns
    -------
    DataFrame
        A row for each model, neuron (or layer), hypothesis and measure, with the columns of
        `cleanai_onnx.inspection.COLUMNS`. What is to be noted is in ``attrs["notes"]``.

    Raises
    ------
    ModelError, ImageError, UsageError
        With one sentence that says what is wrong and what to do.
    """
    found = inspect_models(models, dataset, hypotheses, measures, **options)
    frame = found.frame()
    frame.attrs["notes"] = [note.text for note in found.notes]
    return frame


def inspect_models(
    models: Model | Sequence[Model],
    dataset: Any,
    hypotheses: Any = (),
    measures: str | Sequence[str] = DEFAULT,
    *,
    masks: str | Path | None = None,
    layers: Sequence[str] = ("all",),
    units: View = "channel",
    error: float = 0.0,
    min_inputs: int = MIN_INPUTS,
    keep: int = KEEP,
    quantile: float | None = None,
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
    workers: int | None = None,
    engine: EngineName = "process",
    ray_address: str | None = None,
    allow_partial: bool = False,
    pictures: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Score how well each neuron of a model, or of several, encodes each hypothesis.

    Parameters
    ----------
    models : path, bytes, onnx.ModelProto, or several of them
        Checkpoints of a training run, say, in their order.
    dataset
        The images, as for `cleanai_onnx.analyze`.
    hypotheses : one or a sequence of
        a path of a table (see `cleanai_onnx.inspection.read_table`); the name of a built-in
        function, or ``"folders"`` for the folders that images lie in; a function of a batch as the
        model takes it, that returns a number (or a bool) for each input; or a `Hypothesis`.
    measures : str or sequence of str
        Ids of `cleanai_onnx.inspection.MEASURES`; those that suit no hypothesis are left out.
    masks : path, optional
        A folder of masks (see `cleanai_onnx.inspection.read_masks`).
    layers : sequence of str
        The layers to score: ``"all"``, ``"last-hidden"``, names, or patterns of names.
    units : {"channel", "unit"}
        What counts as a neuron.
    error : float
        Stop once all scores are, with 95 % probability, within this distance of those on all
        images, which are then seen in random order; 0: exact. An iterable of batches must be in
        random order itself.
    min_inputs : int
        See so many images at least before stopping.
    keep : int
        Measures of order and fits use at most so many images, a random sample of all.
    quantile : float, optional
        The share of values that are a neuron's top, for ``jaccard`` and ``iou``; by default the
        share that the concept has. 0.005 is that of network dissection.
    taps, input_name, input_values, device, batch_size, threads
        See `cleanai_onnx.Analyzer`.
    preset, preprocessing, preprocessing_file, preprocessing_config, limit, seed, strict
        See `cleanai_onnx.analyze`; `seed` also chooses the order of the images, and those that
        joint measures hold out.
    workers, engine, ray_address, allow_partial
        See `cleanai_onnx.analyze`. Scores are those of one process: exactly where they are of the
        values of single images, but for rounding where they are of sums. Neither for batches of
        your own nor with `error`; functions among the hypotheses must be in modules that can be
        imported.
    pictures : bool
        Whether to keep pictures of the images that excite the best neurons most, for the report.
    progress : callable, optional
        See `cleanai_onnx.analyze`; called for each model, and with joint measures again for
        their fits to layers.

    Returns
    -------
    Inspection

    Raises
    ------
    ModelError, ImageError, UsageError
        With one sentence that says what is wrong and what to do.
    """
    if quantile is not None and not 0 < quantile < 1:
        raise UsageError(f"--quantile must be a number between 0 and 1, not {quantile!r}.")
    wanted = measures_called((measures,) if isinstance(measures, str) else tuple(measures))
    several = tuple(models) if isinstance(models, list | tuple) else (models,)
    if not several:
        raise UsageError("there is no model to inspect.")
    asked_for = Wanted(workers, engine, ray_address, allow_partial)
    spread = is_spread(
        asked_for, {"--error": bool(error), "batches of your own": not are_paths(dataset)}
    )
    becoming: dict[str, Any] = {
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": preprocessing_file,
        "preprocessing_config": preprocessing_config,
    }
    suite = None
    if are_paths(dataset):
        suite = inputs.discover(dataset, limit, seed)
        if error:
            suite = suite.subset(np.random.default_rng(seed).permutation(len(suite)).tolist())
    elif len(several) > 1 and not hasattr(dataset, "__array__"):
        dataset = list(dataset)  # an iterator would be spent on the first model
    claimed = hypotheses_from(hypotheses, masks, suite)
    running: dict[str, Any] = {
        "taps": taps,
        "input_name": input_name,
        "input_values": input_values,
        "device": device,
        "threads": threads,
    }
    gathering: dict[str, Any] = {
        "layers": layers,
        "units": units,
        "error": error,
        "min_inputs": min_inputs,
        "keep": keep,
        "settings": Settings(quantile, seed),
    }
    inspected: list[ModelInspection] = []
    skipped: tuple[SkippedImage, ...] = ()
    notes: list[Note] = []
    with gathered(asked_for, device) if spread else nullcontext() as team:
        for model in several:
            inspector = Inspector(
                model, claimed, wanted, batch_size=batch_size, **running, **gathering
            )
            try:
                if suite is None:
                    _feed_batches(inspector, dataset, limit, becoming.values(), seed)
                else:
                    resolved = resolve(
                        inspector.image_input, inspector.model.metadata, model, suite, **becoming
                    )
                    inspector.preprocessing, inspector.suite = resolved.preprocessing, suite
                    inspector.fields = resolved.fields
                    if team is not None:
                        skipped = inspect_spread(
                            inspector,
                            suite,
                            resolved,
                            team,
                            Inspect(hypotheses, masks, tuple(one.id for one in wanted), gathering),
                            asked={"model": model, "images": dataset, "limit": limit, "seed": seed}
                            | {"strict": strict, "becoming": becoming, "running": running},
                            progress=progress,
                        )
                    else:
                        skipped = feed(
                            inspector,
                            suite,
                            resolved.preprocessing,
                            strict=strict,
                            progress=progress,
                            enough=partial(getattr, inspector, "enough"),
                        )
                    notes += [note for note in resolved.notes if note not in notes]
                one = inspector.result(progress)
                if pictures and suite is not None:
                    one = with_neurons(one, inspector)
                inspected.append(one)
            finally:
                inspector.close()
    names = distinct([one.model for one in inspected])
    return Inspection(
        models=tuple(inspected),
        names=names,
        source="batches" if suite is None else suite.source,
        found=inspected[0].inputs if suite is None else suite.found,
        skipped=skipped,
        notes=(*notes, *notes_on(inspected, names)),
    )


def _feed_batches(
    inspector: Inspector, dataset: Any, limit: int | None, settings: Iterable[object], seed: int
) -> None:
    if hasattr(dataset, "__array__"):
        data, _ = next(iter(limited(dataset, limit, settings)))
        order = np.random.default_rng(seed).permutation(len(data))
        inspector.prepare(data.shape[1:], most=len(data))
        step = max(inspector.batch_size, 1)
        for first in range(0, len(data), step):
            # In random order, so that it can end early; the numbers are those in the array.
            rows = (
                np.sort(order[first : first + step])
                if inspector.stops_early
                else slice(first, first + step)
            )
            places = np.arange(len(data))[rows].tolist()
            inspector.update(data[rows], [str(place) for place in places], places)
            if inspector.enough:
                return
        return
    for batch, _ in limited(dataset, limit, settings):
        inspector.update(batch)
        if inspector.enough:
            return
