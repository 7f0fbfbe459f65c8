"""A part of a suite that was measured: everything that a run knows, in a form that merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cleanai_onnx import coverage
from cleanai_onnx.coverage import Parameters, ProfileParameters
from cleanai_onnx.measuring.cover_items import Covers
from cleanai_onnx.measuring.criteria import Criterion
from cleanai_onnx.profiles import Profile
from cleanai_onnx.result import Result
from cleanai_onnx.states.images import Images

__all__ = ["STATE_FORMAT_VERSION", "CoverFacts", "PairImage", "Part", "StateFacts"]

STATE_FORMAT_VERSION = 1
"""Version of a stored state. It grows by one whenever a reader of the old form would break."""


@dataclass(frozen=True, eq=False)
class PairImage:
    """An image that the pair metrics may compare.

    `place` is 0 for the first and 1 for the second image that was asked for, and None where none
    was: then the first two images of the suite are compared. `activations` are, for each layer,
    ``(1, N)`` float32, or on the device an array of JAX.
    """

    index: int
    name: str
    place: int | None
    activations: Sequence[Any]


@dataclass(frozen=True)
class CoverFacts:
    """Of which criteria a state knows what each image covers, and of how many images at most."""

    criteria: tuple[Criterion, ...]
    most: int


@dataclass(frozen=True)
class StateFacts:
    """What a state says of the run besides its result.

    Attributes
    ----------
    positions
        How many images the suite had, with those that were skipped.
    root
        The folder that the names of images are relative to; empty where they are in an array.
    pair
        The images that the pair metrics were asked to compare; empty for the first two.
    adjacency
        Pairs of layers for the interaction metrics; None for each layer and the next.
    parameters, profile_parameters
        Of the metrics; the second None without a profile.
    profile_digest
        Of the profile's content; empty without one.
    scores
        The names of the scores of each image.
    layer_scores
        The names of the scores of each image and layer; empty where they are not kept.
    name_bytes
        How long the names of all images are.
    covers
        None where what each image covers was not recorded.
    """

    positions: int
    root: str
    pair: tuple[str, ...]
    adjacency: tuple[tuple[int, ...], ...] | None
    parameters: Parameters
    profile_parameters: ProfileParameters | None
    profile_digest: str
    scores: tuple[str, ...]
    layer_scores: tuple[str, ...]
    name_bytes: int = 0
    covers: CoverFacts | None = None
    format_version: int = STATE_FORMAT_VERSION


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a suite, measured.

    Attributes
    ----------
    facts : StateFacts
    result : Result
        What a report of this part says.
    profile : Profile or None
        What it was measured against.
    state, against
        The states of the metrics, and of those that need the profile.
    pair : tuple of PairImage
        Those that this part has.
    images : Images
        The figures of each image.
    covers : Covers or None
        What each image covers, where that was recorded.
    """

    facts: StateFacts
    result: Result
    profile: Profile | None
    state: coverage.State
    against: tuple[Any, ...]
    pair: tuple[PairImage, ...]
    images: Images
    covers: Covers | None = None
