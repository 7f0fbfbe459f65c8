"""The scale, mean and standard deviation that a model's pixels need, or why that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.precedence import DEFAULT, Finding, Precedence, same_value, value_words
from cleanai_onnx.inputs.presets import PRESETS
from cleanai_onnx.result import PreprocessingField

if TYPE_CHECKING:
    from cleanai_onnx.graph.image_input import ImageInput

__all__ = ["Normalisation", "normalisation_of"]

_NAMES = ("scale", "mean", "std")


@dataclass(frozen=True)
class Normalisation:
    """What ((pixel * scale) - mean) / std needs, with the origin of each."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fields: tuple[PreprocessingField, ...]


def normalisation_of(
    precedence: Precedence, channels: int, image_input: ImageInput
) -> Normalisation:
    """Find scale, mean and standard deviation, and check that they fit the model's input.

    Raises
    ------
    UsageError
        If the scaling is not known, if there are more or fewer means than channels, or if an
        integer input could not hold the result.
    """
    name = shown(image_input.name, 60)
    scale, mean, std = (precedence.find(setting) for setting in _NAMES)
    if scale is None:
        if mean is None and std is None:
            raise UsageError(
                f"Nothing says how pixels are scaled for the input '{name}' ({image_input.dtype}): "
                f"give --preset ({', '.join(PRESETS)}), or --scale with --mean and --std, or "
                "--preprocessing FILE.",
                slug="preprocessing-unknown",
            )
        raise UsageError(
            f"The mean or standard deviation for the input '{name}' is known, but not whether "
            "pixels are 0 to 1 or 0 to 255 before it: give --scale 1/255 or --scale 1.",
            slug="preprocessing-unknown",
        )
    if mean is None:
        mean = Finding((0.0,), f"{DEFAULT} (nothing is subtracted)", precedence.last)
    if std is None:
        std = Finding((1.0,), f"{DEFAULT} (nothing is divided)", precedence.last)
    for setting, finding in (("mean", mean), ("std", std)):
        count = len(finding.value)
        if count not in (1, channels):
            raise UsageError(
                f"The {finding.source} does not fit: it has {count} values of {setting}, but the "
                f"input '{name}' takes {channels} channel{'s' if channels > 1 else ''} "
                f"(--mean, --std, or another --preset such as unit)."
            )
    findings = (scale, mean, std)
    _check_preset(precedence, findings, image_input)
    if np.dtype(image_input.dtype).kind in "iu":
        _check_integers(findings, image_input)
    fields = tuple(
        PreprocessingField(setting, value_words(setting, finding.value), finding.origin)
        for setting, finding in zip(_NAMES, findings, strict=True)
    )
    return Normalisation(scale.value, mean.value, std.value, fields)


def _check_preset(
    precedence: Precedence, findings: tuple[Finding, ...], image_input: ImageInput
) -> None:
    """Refuse a preset that scales pixels for an input which takes them as they are."""
    if precedence.preset is None:
        return
    preset = precedence.sources[-1].settings
    for setting, finding in zip(_NAMES, findings, strict=True):
        by_graph = finding.rank == precedence.last - 2
        if by_graph and setting in preset and not same_value(preset[setting], finding.value):
            raise UsageError(
                f"The preset '{precedence.preset}' does not fit: the input "
                f"'{shown(image_input.name, 60)}' takes {image_input.dtype} pixels as they are; "
                "leave the preset out, or give --scale 1 --mean 0 --std 1 with it."
            )


def _check_integers(findings: tuple[Finding, ...], image_input: ImageInput) -> None:
    scale, mean, std = findings
    info = np.iinfo(image_input.dtype)
    step = scale.value / np.asarray(std.value)
    ends = (np.outer([0.0, 255.0], [scale.value]) - np.asarray(mean.value)) / np.asarray(std.value)
    if np.any(np.abs(step) < 1 - 1e-9) or ends.min() < info.min or ends.max() > info.max:
        raise UsageError(
            f"The scaling from the {scale.source} does not fit: the input "
            f"'{shown(image_input.name, 60)}' takes {image_input.dtype} and would lose pixel "
            "values to rounding or overflow; give --scale 1 --std 1 and a --mean that fits."
        )
