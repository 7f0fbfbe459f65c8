"""The smallest set cover, proven, or the best one found in a given time with a lower bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cleanai_onnx.selection.reduction import reduce_cover

__all__ = ["Cover", "smallest_cover"]

TOLERANCE = 1e-6
"""By how much a bound of the solver may be too high."""


@dataclass(frozen=True)
class Cover:
    """A choice of rows that covers every item that can be covered.

    Attributes
    ----------
    rows
        (k,) int64, ascending; None if the time was too short to find one.
    lower_bound
        No choice has fewer rows.
    """

    rows: NDArray[np.int64] | None
    lower_bound: int


def smallest_cover(sets: Any, seconds: float) -> Cover:
    """Find a smallest choice of rows that covers all items: minimise Σx, Aᵀx ≥ 1, x in {0, 1}.

    The problem is reduced, and HiGHS solves the rest by branch and bound. It is proven to be the
    smallest where `lower_bound` is its length.

    Parameters
    ----------
    sets
        (n, m) `scipy.sparse.csr_array` of ones: row i covers the items j where it has one.
    seconds
        After how long the solver is stopped; the reductions are not counted.
    """
    # Here and in the modules beside: importing scipy takes a third of a second.
    from scipy.optimize import Bounds, LinearConstraint, milp

    reduced = reduce_cover(sets)
    if not len(reduced.rows):
        return Cover(np.sort(reduced.forced), len(reduced.forced))
    result = milp(
        np.ones(len(reduced.rows)),
        integrality=np.ones(len(reduced.rows)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(reduced.sets.T.tocsc(), lb=1),
        # A gap of 1e-4, which is the default, is one image in ten thousand.
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    bound = result.mip_dual_bound
    known = bound is not None and math.isfinite(bound)
    # What is left has an item, so that something must be chosen.
    lower = len(reduced.forced) + (max(math.ceil(bound - TOLERANCE), 1) if known else 1)
    if result.x is None:
        return Cover(None, lower)
    chosen = np.asarray(result.x) > 0.5
    if (reduced.sets[chosen].sum(axis=0) == 0).any():
        # Within the solver's tolerance of a cover, but none.
        return Cover(None, lower)
    return Cover(np.sort(np.concatenate([reduced.forced, reduced.rows[chosen]])), lower)
