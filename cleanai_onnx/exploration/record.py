"""What an exploration has to tell: of each seed, and of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cleanai_onnx.result import Note, PreprocessingField, RunFacts, SkippedImage

__all__ = ["FORMAT_VERSION", "Became", "Exploration", "ExploredModel", "Finding", "SeedOutcome"]

FORMAT_VERSION = 1
"""Version of the JSON form. It grows by one whenever a reader of the old form would break."""

Became = Literal["found", "already", "none", "lost"]


@dataclass(frozen=True)
class SeedOutcome:
    """What became of one seed.

    Attributes
    ----------
    index, image
        Its position in the suite, and its name.
    became
        ``found``: an image was found. ``already``: the models disagree on the seed itself.
        ``none``: nothing was found. ``lost``: the search found something that does not hold, in
        onnxruntime or, for one model, beside what was found before.
    steps
        How many steps the search took.
    apart
        The model that was to be set apart, from 1; None for one model.
    before, classes
        The class that each model predicts for the seed, and for where the search ended.
    l2, linf
        Norms of the change, as a part of the range of values; None where nothing was found.
    adds
        How many items the image covers that neither the suite nor an image found before covers.
    covered
        How many items are covered with it, for each model.
    file
        The image, relative to the folder.
    stays
        Without projection to valid pixels: whether the disagreement is still there after the image
        was clipped and rounded to 8 bits.
    """

    index: int
    image: str
    became: Became
    steps: int
    apart: int | None
    before: tuple[int, ...]
    classes: tuple[int, ...]
    l2: float | None = None
    linf: float | None = None
    adds: int = 0
    covered: tuple[int, ...] = ()
    file: str | None = None
    stays: bool | None = None


@dataclass(frozen=True)
class ExploredModel:
    """A model, and its coverage.

    Attributes
    ----------
    name, file, sha256
    items
        How many items its coverage has.
    covered_before, covered
        How many the suite covers, and how many with what was found.
    """

    name: str
    file: str
    sha256: str
    items: int
    covered_before: int
    covered: int


@dataclass(frozen=True, eq=False)
class Finding:
    """A found image for the report, with its seed.

    Attributes
    ----------
    outcome
    seed, found
        (height, width) or (height, width, 3).
    """

    outcome: SeedOutcome
    seed: npt.NDArray[np.uint8]
    found: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Exploration:
    """An exploration.

    Attributes
    ----------
    folder
        Where everything was written.
    models
    source, suite, skipped
        The images, how many there are, and which could not be used.
    searched, found, already, none, lost
        How many seeds were searched from, and what became of them; see `SeedOutcome`.
    objective, metric
        What was sought, and the coverage that is counted.
    settings
        Everything that the search depends on.
    preprocessing
        Of the first model.
    mean_steps
        Over what was found.
    growth
        How many images had been found, and how many items were covered then, for each model.
    interrupted
        Whether it was ended before every seed was searched.
    """

    folder: str
    models: tuple[ExploredModel, ...]
    source: str
    suite: int
    skipped: tuple[SkippedImage, ...]
    searched: int
    found: int
    already: int
    none: int
    lost: int
    objective: str
    metric: str
    settings: Mapping[str, object]
    preprocessing: tuple[PreprocessingField, ...]
    notes: tuple[Note, ...]
    mean_steps: float | None
    growth: tuple[tuple[int, tuple[int, ...]], ...]
    interrupted: bool
    run: RunFacts
    seconds: float
    format: str = "cleanai-onnx exploration"
    format_version: int = FORMAT_VERSION
