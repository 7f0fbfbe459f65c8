"""The main job in one call: a model and a suite of images in, a `Result` out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.coverage import Parameters, ProfileParameters
from cleanai_onnx.errors import UsageError
from cleanai_onnx.jobs.profiling import learn
from cleanai_onnx.jobs.subset_list import check_subset_file, list_subset, path_of
from cleanai_onnx.measuring.analyzer import Adjacency, Analyzer
from cleanai_onnx.measuring.batches import are_paths, limited
from cleanai_onnx.measuring.featured_relevance import (
    OF_BATCHES,
    Ready,
    made_ready,
    with_relevance,
)
from cleanai_onnx.measuring.feeding import Progress, feed, resolve, thumbnail_if_any
from cleanai_onnx.measuring.resuming import feed_on, identity_of_run
from cleanai_onnx.profiles import Profile, require_same_preprocessing
from cleanai_onnx.profiles import load as load_profile
from cleanai_onnx.report.destination import check_destination, when_in_place
from cleanai_onnx.result import ImageFacts, Result
from cleanai_onnx.spread.spread_analysis import analyze_spread
from cleanai_onnx.spread.team import EngineName, Wanted, is_spread
from cleanai_onnx.states.checkpoint import Checkpoint, Every
from cleanai_onnx.states.images import list_images, scratch
from cleanai_onnx.states.storage import save as save_state

if TYPE_CHECKING:
    from cleanai_onnx import graph
    from cleanai_onnx.graph import ModelProto

__all__ = ["analyze"]


def analyze(
    model: str | Path | bytes | ModelProto,
    images: str | Path | Sequence[str | Path] | np.ndarray | Iterable[Any],
    *,
    parameters: Parameters | None = None,
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
    pair: tuple[str, str] | None = None,
    adjacency: Adjacency = "rows",
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
    relevance: bool = True,
    per_image: str | Path | None = None,
    per_layer: str | Path | None = None,
    profile: Profile | str | Path | None = None,
    train: Any = None,
    learning: Mapping[str, Any] | None = None,
    profile_parameters: ProfileParameters | None = None,
    subset: bool | Sequence[str] = False,
    subset_file: str | Path | None = None,
    state: str | Path | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: Every | None = None,
    workers: int | None = None,
    engine: EngineName = "process",
    ray_address: str | None = None,
    allow_partial: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Measure how much of a model a suite of images exercises.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
    images : path, glob pattern, several of them, array, or iterable of batches
        Paths name a folder of images, an image, a ``.npy`` or ``.npz`` file, an archive, a table,
        or a URL (see `cleanai_onnx.inputs.discover`). An array is
        ``(n, ...)``, as the model takes it. An iterable (a torch DataLoader, say) yields such
        arrays, or tuples of which they are the first element.
    parameters : Parameters
        Of the metrics.
    taps, input_name, input_values, device, batch_size, threads, adjacency, per_image, per_layer
        See `Analyzer`.
    preset, preprocessing, preprocessing_file, preprocessing_config
        How images become inputs: a named preset, settings by name, a JSON or TOML file, and
        settings of lower rank than the file's. See `cleanai_onnx.inputs.resolve_preprocessing`.
    pair : (str, str), optional
        Names of the images that the pair metrics compare; by default the first two.
    limit, seed
        Measure a random subset of `limit` images; of batches of your own, the first `limit` inputs.
    strict : bool
        Fail on an image that cannot be read, where otherwise it is skipped and reported.
    profile : Profile or path, optional
        What the training images taught (see `cleanai_onnx.learn`), for the metrics that need it.
    train : as images, optional
        The training images, to learn a profile from first. Neither `limit` nor `pair` is for them.
    learning : mapping, optional
        Further arguments for `cleanai_onnx.learn`, such as labels.
    profile_parameters : ProfileParameters, optional
        Of those metrics.
    subset : bool or sequence of str
        Whether to find the images that suffice for the same coverage; see `Analyzer`.
    subset_file : path, optional
        A .txt file to write: the paths of these images, one on each line, the one that adds most
        first. It can be given as `images` again. Without `subset`, all criteria count.
    state : path, optional
        A file to write: everything that was measured, in a form that merges with that of other
        parts of the suite; see `cleanai_onnx.combine`. An image of `pair` may then be in one of
        them.
    checkpoint : path, optional
        A folder in which everything that was measured is kept from time to time. The same call
        goes on from there after the process was killed, and gives the same result; when that is
        complete, the folder is removed. With workers, what is kept are the shards of the suite that
        are done. Not for batches of your own.
    checkpoint_every : Every, optional
        How often; by default every 30 seconds. With workers, how many images a shard has.
    workers : int, optional
        Spread the images over so many processes, each with a session of its own, and merge what
        they find: the figures are those of one process. Not for batches of your own.
    engine : {"process", "ray"}
        What the workers are: processes of this machine, or tasks of Ray.
    ray_address : str, optional
        The Ray cluster to join, such as ``"auto"``; by default one is started on this machine.
    allow_partial : bool
        Go on without the images of a worker that died three times; otherwise that is an error.
    relevance : bool
        Add heat maps of relevance to the images that the report features, after the suite was
        measured. Where that fails, a note of the result says why.
    progress : callable, optional
        Called with the number of images, returns a function that is called with the number of
        images done after each batch; with `train`, first for the training images.

    Returns
    -------
    Result

    Raises
    ------
    ModelError, ImageError, UsageError
        With one sentence that says what is wrong and what to do.
    """
    options: dict[str, Any] = {
        "pair": pair,
        "limit": limit,
        "seed": seed,
        "strict": strict,
        "relevance": relevance,
        "preset": preset,
        "preprocessing file": None if preprocessing_file is None else str(preprocessing_file),
    }
    if subset_file is not None:
        check_subset_file(subset_file)
        subset = subset or True
    if subset:
        options["subset"] = "all criteria" if subset is True else list(subset)
    if state is not None:
        check_destination(state, "--state")
    if checkpoint is not None and not are_paths(images):
        raise UsageError(
            "a checkpoint needs images of a folder or a file, not batches of your own.",
            slug="checkpoint",
        )
    wanted = Wanted(workers, engine, ray_address, allow_partial)
    spread = is_spread(wanted, {"batches of your own": not are_paths(images)})
    if train is not None and profile is not None:
        raise UsageError("--train learns what --profile has: give one of them.")
    if learning and train is None:
        raise UsageError("learning needs train, the images to learn from.")
    if isinstance(profile, str | Path):
        options["profile"] = str(profile)
        path, profile = profile, load_profile(profile)
        with open(path, "rb") as stream:
            options["profile SHA-256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    becoming: dict[str, Any] = {
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": preprocessing_file,
        "preprocessing_config": preprocessing_config,
    }
    running: dict[str, Any] = {
        "taps": taps,
        "input_name": input_name,
        "input_values": input_values,
        "device": device,
        "batch_size": batch_size,
        "threads": threads,
    }
    suite = positions = None
    if are_paths(images):
        # Before anything is learnt, which may take hours.
        suite = inputs.discover(images, limit, seed)  # type: ignore[arg-type]
        if pair is not None and (isinstance(pair, str) or len(pair) != 2):
            raise UsageError(
                f"pair must be the names of two images, not {pair!r}.", slug="image-name"
            )
        if pair is not None:
            # Where parts of a suite are measured, another part may have an image of the pair.
            first, second = (
                None if state is not None and not suite.called(name) else suite.find(name)
                for name in pair
            )
            positions = first, second
        if subset_file is not None and any("\n" in name or "\r" in name for name in suite.files):
            raise UsageError(
                "--subset lists a path a line; the path of an image here has several.",
                slug="subset",
            )
    elif pair is not None:
        raise UsageError(
            "pair names images of a folder; batches of your own have no names.", slug="image-name"
        )
    if train is not None:
        options["train"] = _described(train)
        options |= learning or {}
        profile = learn(
            model,
            train,
            **running,
            **becoming,
            **(learning or {}),
            strict=strict,
            progress=progress,
        )
    shared: dict[str, Any] = {
        **running,
        "parameters": parameters,
        "adjacency": adjacency,
        "per_image": per_image,
        "per_layer": per_layer,
        "profile": profile,
        "profile_parameters": profile_parameters,
        "subset": subset,
    }
    if state is not None and not spread:
        shared["keep"] = scratch(Path(state).absolute().parent)
    if suite is None:
        batches = limited(images, limit, becoming.values())
        result = _analyze_batches(Analyzer(model, **shared), batches, options, subset_file, state)
        return replace(result, notes=(*result.notes, OF_BATCHES)) if relevance else result

    kept = None
    if checkpoint is not None:
        kept = Checkpoint(checkpoint, checkpoint_every)
        if not spread:
            shared["keep"] = kept.open
    analyzer = None
    try:
        analyzer = Analyzer(model, pair=positions, **shared)
        resolved = resolve(analyzer.image_input, analyzer.model.metadata, model, suite, **becoming)
        if profile is not None:
            require_same_preprocessing(profile, resolved.fields)
        explain_with: dict[str, Any] = {
            "input_name": analyzer.image_input.name,
            "input_values": input_values,
            "device": device,
            "threads": threads,
        }
        # With its bytes, which the analyzer lets go when it has a session.
        explainable = analyzer.model if relevance else None
        explained = partial(
            _explained, analyzer, explainable, suite, resolved.preprocessing, explain_with
        )
        name = None if subset_file is None else Path(subset_file).name
        if spread:
            result = analyze_spread(
                analyzer,
                suite,
                resolved,
                wanted,
                asked={
                    "model": model,
                    **becoming,
                    **running,
                    **shared,
                    "images": images,
                    "limit": limit,
                    "seed": seed,
                    "strict": strict,
                    "pair": pair,
                    "state": state,
                    "subset_file": name,
                },
                pair=positions,
                profile=profile,
                options=options,
                explained=explained,
                progress=progress,
                checkpoint=kept,
            )
            _list_subset(subset_file, suite, result)
            if kept is not None:
                when_in_place(kept.remove)
            return result
        manifest = inputs.Manifest()
        if kept is None:
            if explainable is not None:
                item = resolved.preprocessing.item_shape
                analyzer.prepare(item, len(suite))
                ready = made_ready(
                    explainable, item, len(suite), analyzer.batch_size, **explain_with
                )
                explained = partial(explained, ready=ready)
            skipped = feed(
                analyzer,
                suite,
                resolved.preprocessing,
                strict=strict,
                manifest=manifest,
                progress=progress,
            )
        else:
            depends = {**options, "per-image": per_layer is not None}
            skipped, before = feed_on(
                kept,
                analyzer,
                suite,
                resolved.preprocessing,
                identity_of_run(analyzer, suite, resolved, depends, profile),
                strict=strict,
                manifest=manifest,
                progress=progress,
            )
            list_images(manifest, analyzer.images, before)
        result = analyzer.result(
            images=ImageFacts(
                source=suite.source,
                found=suite.found,
                used=analyzer.inputs,
                skipped=skipped,
                per_image_table=None if per_image is None else Path(per_image).name,
                manifest_sha256=manifest.sha256(suite.full_name),
            ),
            preprocessing=resolved.fields,
            notes=resolved.notes,
            options=options,
            thumbnail=lambda index: thumbnail_if_any(suite, index),
            subset_file=name,
        )
        _list_subset(subset_file, suite, result)
        result = explained(result)
        if state is not None:
            part = analyzer.part(result, positions=len(suite), root=suite.folder, pair=pair or ())
            save_state(part, state)
        if kept is not None:
            when_in_place(kept.remove)
        return result
    finally:
        if analyzer is not None:
            analyzer.close()
        if kept is not None:
            kept.close()


def _explained(
    analyzer: Analyzer,
    model: graph.Model | None,
    suite: inputs.Suite,
    preprocessing: inputs.Preprocessing | inputs.Unchanged,
    options: Mapping[str, Any],
    result: Result,
    ready: Ready | None = None,
) -> Result:
    """Add heat maps of relevance, where a model to explain is given."""
    if model is None:
        return result
    with analyzer.record.phase("relevance"):
        result = with_relevance(
            result,
            model,
            suite,
            preprocessing,
            batch_size=analyzer.batch_size,
            ready=ready,
            **options,
        )
    return replace(result, run=replace(result.run, seconds=analyzer.record.spent))


def _analyze_batches(
    analyzer: Analyzer,
    batches: Iterable[tuple[np.ndarray, np.ndarray | None]],
    options: Mapping[str, Any],
    subset_file: str | Path | None,
    state: str | Path | None,
) -> Result:
    try:
        for data, _ in batches:
            analyzer.update(data)
        name = None if subset_file is None else Path(subset_file).name
        result = analyzer.result(options=options, subset_file=name)
        if subset_file is not None and result.subset is not None:
            list_subset(subset_file, [image.path for image in result.subset.images])
        if state is not None:
            save_state(analyzer.part(result, positions=analyzer.inputs), state)
        return result
    finally:
        analyzer.close()


def _list_subset(path: str | Path | None, suite: inputs.Suite, result: Result) -> None:
    if path is not None and result.subset is not None:
        list_subset(path, [path_of(suite, image.index) for image in result.subset.images])


def _described(images: Any) -> str | list[str]:
    """Name training images for the report."""
    if not are_paths(images):
        return "batches"
    return str(images) if isinstance(images, str | Path) else [str(one) for one in images]
