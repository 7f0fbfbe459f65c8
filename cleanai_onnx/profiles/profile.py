"""A profile: what was learnt from the training images, bound to one model by its hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.coverage import Learnt, LearntRelevance, LearntTraces
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.profiles.moments import Moments
from cleanai_onnx.profiles.sample import Sample
from cleanai_onnx.result import LayerFacts, PreprocessingField, ProfileFacts

__all__ = [
    "Profile",
    "Relevance",
    "channel_columns",
    "learnt_from",
    "merge",
    "require_same",
    "require_same_preprocessing",
]


@dataclass(frozen=True, eq=False)
class Relevance:
    """Relevance summed over images, by the class that was explained.

    Attributes
    ----------
    images
        ``(K,)`` int64, how many images of each class were explained; K is 1 without classes.
    sums
        For each traced layer ``(K, C)`` float64: the relevance of each channel (summed over its
        positions), summed over the images of each class.
    """

    images: npt.NDArray[np.int64]
    sums: Mapping[str, npt.NDArray[np.float64]]

    def merged(self, other: Relevance) -> Relevance:
        """Return the sums over both."""
        return Relevance(
            self.images + other.images,
            {name: array + other.sums[name] for name, array in self.sums.items()},
        )


@dataclass(frozen=True, eq=False)
class Profile:
    """What was learnt from the training images.

    Attributes
    ----------
    facts
        What the profile is of.
    moments
        Of the neurons of all layers, one layer after the other.
    sample
        Activation traces of the traced layers.
    relevance
        Of the traced layers; None if it was not summed.
    """

    facts: ProfileFacts
    moments: Moments
    sample: Sample
    relevance: Relevance | None

    @property
    def layers(self) -> tuple[LayerFacts, ...]:
        """The tapped layers."""
        return self.facts.layers


def channel_columns(layers: Sequence[LayerFacts]) -> tuple[slice, ...]:
    """Return where the channels of each layer are among those of all layers."""
    ends = tuple(accumulate(layer.channels for layer in layers))
    return tuple(slice(end - layer.channels, end) for end, layer in zip(ends, layers, strict=True))


_SAME: tuple[tuple[str, str], ...] = (
    ("model_sha256", "the model (SHA-256)"),
    ("view", "the neuron view"),
    ("traced", "the traced layers (--layers)"),
    ("traces", "the number of traces (--traces)"),
    ("composite", "the rules of relevance"),
    ("relevance_of", "the images whose relevance is summed"),
    ("classes", "the number of classes"),
)


def merge(profiles: Sequence[Profile]) -> Profile:
    """Return the profile of all images together.

    It equals that of one pass: counts, extrema and traces exactly, means, variances and sums of
    relevance but for rounding.

    Raises
    ------
    UsageError
        If they are not of the same model and settings; the sentence names the difference.
    """
    first = profiles[0]
    for other in profiles[1:]:
        for field, what in _SAME:
            _require_equal(getattr(first.facts, field), getattr(other.facts, field), what, "merged")
        _require_layers(first.layers, other.layers, "merged")
        _require_preprocessing(first.facts.preprocessing, other.facts.preprocessing, "merged")
    facts = replace(
        first.facts,
        sources=tuple(source for profile in profiles for source in profile.facts.sources),
        images=sum(profile.facts.images for profile in profiles),
        skipped=sum(profile.facts.skipped for profile in profiles),
        labels=", ".join(dict.fromkeys(profile.facts.labels for profile in profiles)),
        labelled=sum(profile.facts.labelled for profile in profiles),
        correct=sum(profile.facts.correct for profile in profiles),
        remarks=tuple(dict.fromkeys(r for profile in profiles for r in profile.facts.remarks)),
        started=min(profile.facts.started for profile in profiles),
    )
    moments, relevance = first.moments, first.relevance
    for profile in profiles[1:]:
        moments = moments.merged(profile.moments)
        if relevance is not None and profile.relevance is not None:
            relevance = relevance.merged(profile.relevance)
    sample = first.sample.merged(*(profile.sample for profile in profiles[1:]))
    return Profile(facts, moments, sample, relevance)


def require_same(profile: Profile, model_sha256: str, layers: Sequence[LayerFacts]) -> None:
    """Refuse a profile of another model or of other layers.

    Raises
    ------
    UsageError
        The sentence names the difference.
    """
    _require_equal(profile.facts.model_sha256, model_sha256, "the model (SHA-256)", "used here")
    _require_layers(profile.layers, layers, "used here")


def require_same_preprocessing(
    profile: Profile, preprocessing: Sequence[PreprocessingField]
) -> None:
    """Refuse a profile whose images became inputs in another way.

    Raises
    ------
    UsageError
        The sentence names the difference.
    """
    _require_preprocessing(profile.facts.preprocessing, preprocessing, "used here")


def learnt_from(profile: Profile) -> Learnt:
    """Return what the metrics of a suite want to know of a profile."""
    moments, facts, sample = profile.moments, profile.facts, profile.sample
    chosen = np.ones(len(sample), np.bool_)
    if facts.relevance_of == "correct":
        # Clusters are of the images whose relevance was summed.
        chosen = sample.labels == sample.classes
    remarks = []
    if facts.images > len(sample):
        remarks.append(
            f"Clusters and surprise are of a uniform sample of {len(sample):,} of {facts.images:,} "
            "training images (--traces)."
        )
    relevance = []
    for layer, columns in zip(profile.layers, channel_columns(profile.layers), strict=True):
        if profile.relevance is not None and layer.name in facts.traced:
            relevance.append(
                LearntRelevance(
                    name=layer.name,
                    columns=columns,
                    fully_connected=layer.units == layer.channels,
                    relevance=profile.relevance.sums[layer.name].sum(axis=0),
                    traces=sample.traces[layer.name][chosen],
                    by_class=None if facts.classes is None else profile.relevance.sums[layer.name],
                    trace_classes=None if facts.classes is None else sample.classes[chosen],
                )
            )
    why = "; ".join(remark.rstrip(".") for remark in facts.remarks if "relevance" in remark)
    return Learnt(
        view=facts.view,
        layers=tuple(layer.name for layer in profile.layers),
        sizes=tuple(layer.size(facts.view) for layer in profile.layers),
        low=moments.low,
        high=moments.high,
        deviation=moments.deviation,
        ranged=moments.ranged,
        relevance=tuple(relevance),
        without_relevance=why or "the profile was learnt without relevance",
        remarks=tuple(remarks),
        traces=tuple(
            LearntTraces(layer.name, columns, sample.traces[layer.name], sample.classes)
            for layer, columns in zip(profile.layers, channel_columns(profile.layers), strict=True)
            if layer.name in facts.traced
        ),
        has_classes=facts.classes is not None,
    )


def _require_equal(one: Any, other: Any, what: str, verb: str) -> None:
    if one != other:
        raise UsageError(
            f"the profile cannot be {verb}: {what} is {_text(one)} in the profile and "
            f"{_text(other)} here; learn a new one with `cleanai-onnx profile`."
        )


def _require_layers(one: Sequence[LayerFacts], other: Sequence[LayerFacts], verb: str) -> None:
    if [(layer.name, layer.shape) for layer in one] == [(o.name, o.shape) for o in other]:
        return
    for layer, second in zip(one, other, strict=False):
        if (layer.name, layer.shape) != (second.name, second.shape):
            _require_equal(
                f"{layer.name} {list(layer.shape)}",
                f"{second.name} {list(second.shape)}",
                "a layer (--taps)",
                verb,
            )
    _require_equal(len(one), len(other), "the number of layers (--taps)", verb)


def _require_preprocessing(
    one: Sequence[PreprocessingField], other: Sequence[PreprocessingField], verb: str
) -> None:
    values, others = ({field.name: field.value for field in fields} for fields in (one, other))
    for name in {**values, **others}:
        _require_equal(
            values.get(name, "not set"), others.get(name, "not set"), f"preprocessing: {name}", verb
        )


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    return shown(str(value), 80)
