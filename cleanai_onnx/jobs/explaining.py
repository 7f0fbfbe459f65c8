"""Explaining a suite: images in, heat maps and a record of them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx.config import Settings
from cleanai_onnx.errors import UsageError

if TYPE_CHECKING:
    from cleanai_onnx import inputs
    from cleanai_onnx.relevance import Attribution, Explainer
    from cleanai_onnx.report.archive import GrowingArchive
    from cleanai_onnx.report.explanation import ExplainedImage, ExplanationFile, Summary
    from cleanai_onnx.report.folder import GrowingFolder

__all__ = ["explain"]

ARCHIVE = "relevance.npz"
_BATCH = 8


def explain(
    model: str,
    images: Sequence[str],
    settings: Settings,
    path: Path,
    folder: Path,
    *,
    input_name: str | None,
    input_values: Mapping[str, str],
    preset: str | None,
    preprocessing: Mapping[str, Any],
    preprocessing_file: str | None,
    preprocessing_config: Mapping[str, Any],
    device: Any,
    batch_size: int | None,
    threads: int | None,
    limit: int | None,
    seed: int,
    strict: bool,
    progress: Callable[[int], Callable[[int], None]] | None = None,
) -> Summary:
    """Explain a model's decisions on images, and write what was found.

    Memory does not grow with the number of images.

    Parameters
    ----------
    model, images
        As for `cleanai_onnx.analyze`, and so are the parameters from `input_name` on.
    settings
        For the options of `config.EXPLANATION`.
    path
        The JSON file to write.
    folder
        Where the heat maps go, and the arrays if layers were asked for.

    Raises
    ------
    CleanAIError
        With one sentence that says what is wrong and what to do. Nothing is written then.
    """
    from cleanai_onnx import graph, inputs, runtime
    from cleanai_onnx.measuring.featured_relevance import WIDENED
    from cleanai_onnx.measuring.feeding import resolve
    from cleanai_onnx.provenance import RunRecord
    from cleanai_onnx.relevance import Explainer
    from cleanai_onnx.report.explanation import ExplanationFile
    from cleanai_onnx.report.folder import GrowingFolder

    runtime.require_onnxruntime()
    record = RunRecord()
    suite = inputs.discover(images, limit, seed)
    with record.phase("load model"):
        loaded = graph.load_model(model)
        image_input = graph.find_image_input(loaded, input_name)
    resolved = resolve(
        image_input,
        loaded.metadata,
        model,
        suite,
        preset=preset,
        preprocessing=preprocessing,
        preprocessing_file=preprocessing_file,
        preprocessing_config=preprocessing_config,
    )
    composite = settings["composite"]
    parameters = _parameters(settings, resolved.preprocessing)
    layers: Any = settings["layer"]
    explainer = Explainer(
        loaded,
        composite=composite,
        layers="activations" if layers == ("activations",) else layers or None,
        output=settings["model-output"],
        input_name=input_name,
        input_values=input_values,
        fallback=settings["fallback"],
        device=device,
        batch_size=batch_size or min(_BATCH, len(suite) or 1),
        threads=threads,
        **parameters,
    )
    notes = (*resolved.notes, WIDENED) if explainer.widened else resolved.notes
    output, document, archive = GrowingFolder(folder), ExplanationFile(path), None
    if layers:
        from cleanai_onnx.report.archive import GrowingArchive

        archive = GrowingArchive(output, ARCHIVE)
    work = _Work(suite, resolved.preprocessing, explainer, settings["target"], output, archive)
    try:
        document.add_members(
            {
                "format": "cleanai-onnx explanation",
                "format_version": 1,
                "model": {"name": loaded.name, "file": loaded.file, "sha256": loaded.sha256},
                "source": suite.source,
                "found": suite.found,
                "preprocessing": resolved.fields,
                "notes": notes,
                "target": settings["target"],
                "composite": composite,
                "parameters": parameters,
                "heat_maps": folder.name,
                "arrays": ARCHIVE if archive else None,
            }
        )
        done = progress(len(suite)) if progress is not None else None
        summary = None
        with inputs.stream(
            suite, resolved.preprocessing, explainer.batch_size, strict=strict
        ) as batches:
            for batch in batches:
                with record.phase("relevance"):
                    found = work.explained(batch)
                if summary is None:
                    summary = _begin(document, found, loaded.name, suite, work)
                with record.phase("heat maps"):
                    for image in work.written(batch, found):
                        document.add(image)
                        summary.add(image)
                if done is not None:
                    done(batches.used + len(batches.skipped))
            skipped = batches.skipped
        assert summary is not None  # the stream refuses a suite without a usable image
        if archive is not None:
            with record.phase("arrays"):
                archive.finish()
        facts = record.facts(
            work.device,
            "onnxruntime",
            explainer.batch_size,
            {"limit": limit, "seed": seed},
            resolved.fields,
        )
        document.add_members({"skipped": skipped, "run": facts})
        output.finish()
        document.finish()
    finally:
        if archive is not None:
            archive.discard()
        output.discard()
        document.discard()
    summary.skipped = skipped
    summary.seconds = sum(record.seconds.values())
    summary.notes = tuple(note.text for note in notes)
    return summary


def _begin(
    document: ExplanationFile, found: Attribution, model: str, suite: inputs.Suite, work: _Work
) -> Summary:
    """Write what is known once the first batch is explained."""
    from cleanai_onnx.report.explanation import Summary

    work.name_arrays(found)
    document.add_members(
        {
            "start": found.start,
            "rules": [{"node": node, "rule": rule} for node, rule in found.rules],
            "without_rule": found.without_rule,
            "passes": found.passes,
            "layers": [
                {"array": key, "tensor": name, "shape": found.layers[name].shape[1:]}
                for name, key in work.keys.items()
            ],
        }
    )
    return Summary(
        model=model,
        source=suite.source,
        composite=found.composite,
        start=found.start,
        found=suite.found,
        without_rule=found.without_rule,
    )


class _Work:
    """Explains batches, and writes their heat maps and arrays.

    Attributes
    ----------
    keys
        The array of each layer, by the layer's name.
    """

    def __init__(
        self,
        suite: inputs.Suite,
        preprocessing: inputs.Preprocessing | inputs.Unchanged,
        explainer: Explainer,
        target: str | int,
        output: GrowingFolder,
        archive: GrowingArchive | None,
    ) -> None:
        self._suite, self._preprocessing = suite, preprocessing
        self._explainer, self._output, self._archive = explainer, output, archive
        self._target = None if target == "predicted" else target
        self.keys: dict[str, str] = {}

    @property
    def device(self) -> str:
        """Where relevance was computed, in words."""
        from cleanai_onnx.provenance import device_name

        device = self._explainer.device
        return device_name("cpu" if device.platform == "cpu" else "cuda", device)

    def name_arrays(self, found: Attribution) -> None:
        """Give each layer the name of an array, which is harmless as the name of a file."""
        from cleanai_onnx.report.names import file_stem

        taken = {"index", "value", "target", "input"}
        for name in found.layers:
            plain = key = file_stem(name).strip("_") or "layer"
            number = 1
            while key in taken:
                number += 1
                key = f"{plain}_{number}"
            taken.add(key)
            self.keys[name] = key

    def explained(self, batch: inputs.Batch) -> Attribution:
        """Explain a batch."""
        return self._explainer.explain(batch.data[: batch.valid], target=self._target)

    def written(self, batch: inputs.Batch, found: Attribution) -> Iterator[ExplainedImage]:
        """Write what was found of a batch, and return a record for each image."""
        if self._archive is not None:
            arrays = {"index": np.asarray(batch.indexes), "value": found.values}
            if found.targets is not None and found.target_of(0) is not None:
                arrays["target"] = found.targets
            arrays["input"] = found.relevance
            arrays |= {key: found.layers[name] for name, key in self.keys.items()}
            self._archive.add(arrays)
        for row in range(batch.valid):
            yield self._one(batch, found, row)

    def _one(self, batch: inputs.Batch, found: Attribution, row: int) -> ExplainedImage:
        from cleanai_onnx import inputs
        from cleanai_onnx.report import figures
        from cleanai_onnx.report.explanation import ExplainedImage, heat_map_name
        from cleanai_onnx.report.heat_maps import draw_heat_map, heat_map

        name, index = batch.names[row], batch.indexes[row]
        target, value = found.target_of(row), float(found.values[row])
        plane = inputs.as_plane(found.relevance[row], self._preprocessing)
        file = scale = None
        if np.isfinite(plane).all():
            made = heat_map(plane, inputs.picture(batch.data[row], self._preprocessing))
            file, scale = heat_map_name(index, len(self._suite), name), made.scale
            what = "output" if target is None else f"class {target}"
            caption = f"{what}: {figures.value(float(f'{value:.5g}'))}, {found.composite}"
            self._output.write(file, draw_heat_map(made, name, (caption,)))
        return ExplainedImage(
            path=name,
            index=index,
            target=target,
            value=value,
            **found.conservation.of(row),
            scale=scale,
            heat_map=file,
        )


def _parameters(
    settings: Settings, preprocessing: inputs.Preprocessing | inputs.Unchanged
) -> dict[str, Any]:
    """Return the composite's parameters."""
    from cleanai_onnx import inputs

    composite = settings["composite"]
    parameters: dict[str, Any] = {"epsilon": settings["epsilon"]}
    if composite != "epsilon-gamma-box":
        for name in ("gamma", "input-range"):
            if settings.origin(name) == f"--{name}":
                raise UsageError(
                    f"--{name} belongs to the composite epsilon-gamma-box: leave it out, or give "
                    "--composite epsilon-gamma-box."
                )
        return parameters
    parameters["gamma"] = settings["gamma"]
    given = settings["input-range"]
    if given is not None:
        low, high = given
    elif isinstance(preprocessing, inputs.Unchanged):
        raise UsageError(
            "the composite epsilon-gamma-box needs the smallest and the largest input value, which "
            "arrays that are ready do not tell: give --input-range LOW HIGH."
        )
    else:
        low, high = inputs.value_range(preprocessing)
    return parameters | {"low": low, "high": high}
