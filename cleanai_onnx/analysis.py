"""The main job in one call: a model and a suite of images in, a `Result` out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs, runtime
from cleanai_onnx.analyzer import Adjacency, Analyzer
from cleanai_onnx.batches import are_paths, limited
from cleanai_onnx.coverage import Parameters, ProfileParameters
from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.featured_relevance import OF_BATCHES, with_relevance
from cleanai_onnx.feeding import Progress, feed
from cleanai_onnx.profiles import Profile, require_same_preprocessing
from cleanai_onnx.profiles import load as load_profile
from cleanai_onnx.result import ImageFacts, Result

if TYPE_CHECKING:
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
    profile_parameters: ProfileParameters | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure how much of a model a suite of images exercises.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
    images : path, glob pattern, several of them, array, or iterable of batches
        Paths name a folder of images, an image, or a ``.npy`` or ``.npz`` file. An array is
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
    profile_parameters : ProfileParameters, optional
        Of those metrics.
    relevance : bool
        Add heat maps of relevance to the images that the report features, after the suite was
        measured. Where that fails, a note of the result says why.
    progress : callable, optional
        Called with the number of images, returns a function that is called with the number of
        images done after each batch.

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
    if isinstance(profile, str | Path):
        options["profile"] = str(profile)
        profile = load_profile(profile)
    shared: dict[str, Any] = {
        "parameters": parameters,
        "taps": taps,
        "input_name": input_name,
        "input_values": input_values,
        "device": device,
        "batch_size": batch_size,
        "threads": threads,
        "adjacency": adjacency,
        "per_image": per_image,
        "per_layer": per_layer,
        "profile": profile,
        "profile_parameters": profile_parameters,
    }
    if not are_paths(images):
        if pair is not None:
            raise UsageError("pair names images of a folder; batches of your own have no names.")
        settings = (preset, preprocessing, preprocessing_file, preprocessing_config)
        batches = limited(images, limit, settings)
        result = _analyze_batches(Analyzer(model, **shared), batches)
        return replace(result, notes=(*result.notes, OF_BATCHES)) if relevance else result

    suite = inputs.discover(images, limit, seed)  # type: ignore[arg-type]
    if pair is not None and (isinstance(pair, str) or len(pair) != 2):
        raise UsageError(f"pair must be the names of two images, not {pair!r}.")
    positions = None if pair is None else (suite.find(pair[0]), suite.find(pair[1]))
    analyzer = Analyzer(model, pair=positions, **shared)
    resolved = inputs.resolve_preprocessing(
        analyzer.image_input,
        given=preprocessing or {},
        config=preprocessing_config,
        preset=preset,
        file=None if preprocessing_file is None else Path(preprocessing_file),
        model_path=Path(model) if isinstance(model, str | Path) else None,
        metadata=analyzer.model.metadata,
        suite=suite,
    )
    if profile is not None:
        require_same_preprocessing(profile, resolved.fields)
    try:
        skipped = feed(analyzer, suite, resolved.preprocessing, strict=strict, progress=progress)
        result = analyzer.result(
            images=ImageFacts(
                source=suite.source,
                found=suite.found,
                used=analyzer.inputs,
                skipped=skipped,
                per_image_table=None if per_image is None else Path(per_image).name,
            ),
            preprocessing=resolved.fields,
            notes=resolved.notes,
            options=options,
            thumbnail=lambda index: _thumbnail(suite, index),
        )
        if not relevance:
            return result
        with analyzer.record.phase("relevance"):
            result = with_relevance(
                result,
                analyzer.model,
                suite,
                resolved.preprocessing,
                input_name=analyzer.image_input.name,
                input_values=input_values,
                device=device,
                batch_size=analyzer.batch_size,
                threads=threads,
            )
        return replace(result, run=replace(result.run, seconds=analyzer.record.spent))
    finally:
        analyzer.close()


def _analyze_batches(
    analyzer: Analyzer, batches: Iterable[tuple[np.ndarray, np.ndarray | None]]
) -> Result:
    try:
        for data, _ in batches:
            analyzer.update(data)
        return analyzer.result()
    finally:
        analyzer.close()


def _thumbnail(suite: inputs.Suite, index: int) -> bytes | None:
    try:
        return inputs.thumbnail(suite, index)
    except ImageError:
        # The image was there when it was measured. A report without its picture is still a report.
        return None
