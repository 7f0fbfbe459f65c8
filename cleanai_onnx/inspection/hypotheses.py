"""Hypotheses: what a neuron may encode, as a value for each image.

A hypothesis is asked for the values of a batch and answers with ``(B,)`` float64: the number
itself, 0 or 1 for a binary one, the number of the category for a categorical one, and NaN where the
value is not known. An image without a value is left out for that hypothesis alone.

A mask says besides which pixels of the image show the concept; its value is whether any does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx import inputs
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.pictures import pictures

__all__ = [
    "Categories",
    "Column",
    "Function",
    "Hypothesis",
    "Kind",
    "Masks",
    "Seen",
    "folder_classes",
]

Kind = Literal["binary", "numeric", "categorical", "mask"]
Floats: TypeAlias = npt.NDArray[np.float64]
Categories: TypeAlias = tuple[str, ...]

MOST_CATEGORIES = 1_000
"""More are refused: a column of so many different words is a name, not a concept."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A batch as hypotheses see it.

    Attributes
    ----------
    data
        ``(B, ...)``, as the model takes it.
    names
        The names of the images; numbers as text where they have none.
    preprocessing
        How the images became inputs.
    suite, indexes
        Where each image lies in the suite; None for batches of the user's own.
    """

    data: npt.NDArray[Any]
    names: Sequence[str]
    preprocessing: inputs.Preprocessing | inputs.Unchanged
    suite: inputs.Suite | None = None
    indexes: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def pictures(self) -> npt.NDArray[np.float32]:
        """``(B, height, width, channels)`` float32: the pixels after resizing, from 0 to 1.

        Inputs that were ready are taken as they are, their channels last.
        """
        return pictures(self.data, self.preprocessing)


class Hypothesis(Protocol):
    """What every hypothesis has."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def kind(self) -> Kind:
        """What kind of values it has."""

    @property
    def categories(self) -> Categories:
        """The names of the categories of a categorical one, otherwise empty."""

    def values(self, seen: Seen) -> Floats:
        """Return the value of each image, ``(B,)``."""


@dataclass(frozen=True, eq=False)
class Column:
    """A value for each image by its name, such as a column of a table.

    Attributes
    ----------
    known
        The value of each image: a number, or the number of its category.
    """

    name: str
    kind: Kind
    known: Mapping[str, float]
    categories: Categories = ()

    def values(self, seen: Seen) -> Floats:
        """Return the value of each image, ``(B,)``."""
        return np.array([self.known.get(name, np.nan) for name in seen.names], np.float64)


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the input, called once for each batch.

    Attributes
    ----------
    call
        Takes ``(B, ...)`` and returns ``(B,)``: numbers, booleans for a binary hypothesis, or
        entries of `categories`.
    of
        What it takes: the ``inputs`` as the model takes them, or the ``pictures``,
        ``(B, height, width, channels)`` float32 from 0 to 1.
    """

    name: str
    call: Callable[[npt.NDArray[Any]], Any]
    kind: Kind = "numeric"
    categories: Categories = ()
    of: Literal["inputs", "pictures"] = "inputs"

    def __post_init__(self) -> None:
        if self.kind == "mask" or (self.kind == "categorical") != bool(self.categories):
            raise UsageError(
                f"the function {shown(self.name)}: a categorical function names its categories, "
                "and a function is binary, numeric or categorical."
            )

    def values(self, seen: Seen) -> Floats:
        """Return the value of each image, ``(B,)``."""
        found = np.asarray(self.call(seen.data if self.of == "inputs" else seen.pictures))
        if found.shape != (len(seen),):
            raise UsageError(
                f"the function {shown(self.name)} gave the shape {found.shape} for a batch of "
                f"{len(seen)}: it must give one value for each input."
            )
        if self.kind == "categorical":
            numbers = {name: number for number, name in enumerate(self.categories)}
            try:
                return np.array([numbers[str(one)] for one in found.tolist()], np.float64)
            except KeyError as error:
                raise UsageError(
                    f"the function {shown(self.name)} gave {shown(str(error.args[0]), 40)}, which "
                    "is none of its categories."
                ) from None
        if found.dtype.kind not in "biuf":
            raise UsageError(f"the function {shown(self.name)} must give numbers.")
        values = found.astype(np.float64)
        if self.kind == "binary" and not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            raise UsageError(f"the function {shown(self.name)} is binary and must give 0 or 1.")
        if np.isinf(values).any():
            raise UsageError(f"the function {shown(self.name)} gave a value that is not finite.")
        return values


@dataclass(frozen=True, eq=False)
class Masks:
    """Pixels that show a concept: a mask image for each image.

    Attributes
    ----------
    files
        The path of the mask of each image by the image's name. Images without one are left out.
    """

    name: str
    files: Mapping[str, str]
    kind: Kind = field(default="mask", init=False)
    categories: Categories = field(default=(), init=False)

    def pixels(self, seen: Seen) -> npt.NDArray[np.float32]:
        """Return ``(B, height, width)`` float32: 1 where the concept is, NaN without a mask.

        A mask undergoes the geometry of its image, so that it lies over what the model sees.
        """
        if not isinstance(seen.preprocessing, inputs.Preprocessing) or seen.suite is None:
            raise UsageError("masks are for images of a folder, whose geometry is known.")
        shown_size = seen.preprocessing.size
        found = np.full((len(seen), *shown_size), np.nan, np.float32)
        for row, (name, index) in enumerate(zip(seen.names, seen.indexes, strict=True)):
            if name in self.files:
                found[row] = inputs.load_mask(
                    self.files[name], seen.suite, index, seen.preprocessing
                )
        return found

    def values(self, seen: Seen) -> Floats:
        """Return whether each image shows the concept, ``(B,)``."""
        return self.presence(self.pixels(seen))

    @staticmethod
    def presence(pixels: npt.NDArray[np.float32]) -> Floats:
        """Return the same where the pixels are known."""
        # The largest of a row of NaN is NaN: not known.
        return pixels.max(axis=(1, 2)).astype(np.float64)


def folder_classes(names: Sequence[str], called: str = "folder") -> Column:
    """Return the folder that each image lies in as a hypothesis.

    Raises
    ------
    UsageError
        If images lie in no folder, or all in the same one.
    """
    folders = {name: PurePosixPath(name).parent.name for name in names}
    categories = tuple(sorted(set(folders.values())))
    if not all(categories):
        raise UsageError("--functions folders: some images do not lie in a folder of their class.")
    return categorical(called, folders, categories)


def categorical(name: str, words: Mapping[str, str], categories: Categories) -> Column:
    """Return a categorical column from the word of each image.

    Raises
    ------
    UsageError
        If there are fewer than two categories, or too many.
    """
    if not 2 <= len(categories) <= MOST_CATEGORIES:
        raise UsageError(
            f"the number of categories of the hypothesis {shown(name)} is {len(categories):,}: "
            f"from 2 to {MOST_CATEGORIES:,} can be told apart."
        )
    numbers = {category: float(number) for number, category in enumerate(categories)}
    known = {image: numbers[word] for image, word in words.items()}
    return Column(name, "categorical", known, categories)
