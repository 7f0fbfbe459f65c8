"""Claims: the single statements that hypotheses consist of, each a column of numbers.

A binary or numeric hypothesis is one claim. A categorical one is a claim as a whole, for measures
that take categories, and a binary claim for each category (``digit=3``). A mask is a claim about
pixels, and a binary one about images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inspection.hypotheses import Categories, Hypothesis, Kind

__all__ = ["Claim", "claims_of", "columns_of", "groups_of"]

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Claim:
    """A statement that neurons are held against.

    Attributes
    ----------
    name, kind
    hypothesis
        Which hypothesis it belongs to, by number.
    category
        The number of the category that it is about; None if it is about no single one.
    categories
        The names of the categories if it is about all of them.
    """

    name: str
    kind: Kind
    hypothesis: int
    category: int | None = None
    categories: Categories = ()


def claims_of(hypotheses: Sequence[Hypothesis]) -> tuple[Claim, ...]:
    """Return the claims of all hypotheses, in their order.

    Raises
    ------
    UsageError
        If there are no hypotheses, or two have the same name.
    """
    if not hypotheses:
        raise UsageError(
            "there is no hypothesis to test: give a table (--hypotheses), built-in functions "
            "(--functions) or masks (--masks)."
        )
    names: set[str] = set()
    for one in hypotheses:
        if one.name in names:
            raise UsageError(f"two hypotheses are called {shown(one.name, 60)}: rename one.")
        names.add(one.name)
    return tuple(claim for number, one in enumerate(hypotheses) for claim in _claims(number, one))


def _claims(number: int, one: Hypothesis) -> Iterator[Claim]:
    yield Claim(one.name, one.kind, number, categories=one.categories)
    if one.kind == "mask":
        yield Claim(one.name, "binary", number)
    for category, name in enumerate(one.categories):
        yield Claim(f"{one.name}={name}", "binary", number, category)


def columns_of(claims: Sequence[Claim], values: Floats) -> Floats:
    """Return the column of each claim, from those of the hypotheses.

    Parameters
    ----------
    claims : sequence of Claim
        K of them.
    values : array
        ``(n, H)``, the values of the hypotheses.

    Returns
    -------
    array
        ``(n, K)`` float64: 0 or 1, numbers, or the number of the category; NaN if not known.
    """
    found = np.empty((len(values), len(claims)))
    for place, claim in enumerate(claims):
        column = values[:, claim.hypothesis]
        if claim.category is not None:
            column = np.where(np.isnan(column), np.nan, column == claim.category)
        found[:, place] = column
    return found


def groups_of(columns: Floats) -> list[tuple[npt.NDArray[np.int64], list[int]]]:
    """Group columns that are known for the same rows: these rows, and the numbers of the columns.

    What takes ranks or fits takes complete rows only; columns of a group share the work.
    """
    known = ~np.isnan(columns)
    found: dict[bytes, list[int]] = {}
    for place in range(columns.shape[1]):
        found.setdefault(known[:, place].tobytes(), []).append(place)
    return [(np.flatnonzero(known[:, places[0]]), places) for places in found.values()]
