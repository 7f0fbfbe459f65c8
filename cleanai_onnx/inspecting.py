"""Inspection in one call: models, images and hypotheses in, scores of all neurons out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.batches import are_paths, limited
from cleanai_onnx.errors import UsageError
from cleanai_onnx.featured_neurons import with_neurons
from cleanai_onnx.feeding import Progress, feed, resolve
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inspection import (
    DEFAULT,
    FUNCTIONS,
    Function,
    Hypothesis,
    Inspection,
    Inspector,
    ModelInspection,
    Settings,
    folder_classes,
    measures_called,
    read_masks,
    read_table,
)
from cleanai_onnx.inspection.result import distinct
from cleanai_onnx.result import Note, SkippedImage, View

if TYPE_CHECKING:
    import pandas as pd

    from cleanai_onnx.graph import ModelProto

    Model = str | Path | bytes | ModelProto

__all__ = ["MIN_INPUTS", "inspect", "inspect_models"]

MIN_INPUTS = 256
KEEP = 10_000
FOLDERS = "folders"
"""Names the folders that images lie in, among the built-in functions."""


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
    claimed = _hypotheses(hypotheses, masks, suite)
    inspected: list[ModelInspection] = []
    skipped: tuple[SkippedImage, ...] = ()
    notes: list[Note] = []
    for model in several:
        inspector = Inspector(
            model,
            claimed,
            wanted,
            layers=layers,
            units=units,
            error=error,
            min_inputs=min_inputs,
            keep=keep,
            settings=Settings(quantile, seed),
            taps=taps,
            input_name=input_name,
            input_values=input_values,
            device=device,
            batch_size=batch_size,
            threads=threads,
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
        notes=(*notes, *_notes(inspected, names, claimed)),
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


def _hypotheses(
    given: Any, masks: str | Path | None, suite: inputs.Suite | None
) -> tuple[Hypothesis, ...]:
    """Return what the user gave as hypotheses."""
    names = () if suite is None else suite.names
    found: list[Hypothesis] = []
    for one in given if isinstance(given, list | tuple) else (given,):
        if isinstance(one, str) and one == FOLDERS:
            if suite is None:
                raise UsageError("folders are a hypothesis for images of a folder.")
            found.append(folder_classes(names))
        elif isinstance(one, str) and one in FUNCTIONS:
            found.append(FUNCTIONS[one])
        elif isinstance(one, str | Path):
            found += _table(one, names)
        elif hasattr(one, "values") and hasattr(one, "kind"):
            found.append(one)
        elif callable(one):
            found.append(Function(str(getattr(one, "__name__", "function")), one))
        else:
            raise UsageError(
                f"a hypothesis is a table, a name, a function or a Hypothesis, not "
                f"{type(one).__name__}."
            )
    if masks is not None:
        if suite is None:
            raise UsageError("masks are for images of a folder.")
        found += read_masks(masks, names)
    return tuple(found)


def _table(path: str | Path, names: Sequence[str]) -> Sequence[Hypothesis]:
    if isinstance(path, str) and not Path(path).suffix:
        known = ", ".join((FOLDERS, *FUNCTIONS))
        raise UsageError(
            f"{shown(path, 60)} is neither a table (.csv, .parquet) nor a built-in function "
            f"({known})."
        )
    found = read_table(path)
    if names and not any(name in one.known for one in found for name in names):
        raise UsageError(
            f"--hypotheses {shown(str(path))}: no row names one of the images; they are called "
            f"like '{names[0]}'."
        )
    return found


def _notes(
    inspected: Sequence[ModelInspection], names: Sequence[str], claimed: Sequence[Hypothesis]
) -> list[Note]:
    notes = []
    for one, name in zip(inspected, names, strict=True):
        lead = f"{name}: " if len(inspected) > 1 else ""
        if one.stopped:
            notes.append(
                Note(
                    "stopped-early",
                    f"{lead}stopped after {one.inputs:,} images, when all scores were within "
                    f"{one.error:g} of those on all images with 95 % probability.",
                )
            )
        if one.kept is not None and one.kept < one.inputs:
            notes.append(
                Note(
                    "sampled",
                    f"{lead}measures of order and fits are from a random sample of {one.kept:,} of "
                    f"the {one.inputs:,} images (--keep).",
                )
            )
        blank = [
            claim.name
            for number, claim in enumerate(one.claims)
            if (table := one.ranking(number)) is not None and not table.top(number, 1)
        ]
        if blank:
            named = ", ".join(shown(name, 40) for name in blank[:5])
            notes.append(
                Note(
                    "nothing-to-score",
                    f"{lead}no {one.view} has a score for {len(blank):,} hypotheses ({named}"
                    f"{', …' if len(blank) > 5 else ''}): their values never change, or are not "
                    "known.",
                )
            )
        tests = sum(int((~np.isnan(table.scores.p)).sum()) for table in one.tables)
        if tests:
            notes.append(
                Note(
                    "multiple-testing",
                    f"{lead}{tests:,} tests were made: take q, not p. q bounds the share of false "
                    "discoveries among the neurons found for a hypothesis (Benjamini-Hochberg).",
                )
            )
    return notes
