"""Which training traces can be the nearest one to a query, by products of matrices in float32.

A trace t is the nearer to x, the larger x·t - |t|²/2 is. Products of matrices give this score of
all pairs, but for rounding, of which the worst case is known. What is left are the few traces that
may be the nearest ones; measuring these exactly is up to the caller.

Two searches do the same. The kernel, compiled by XLA, keeps the best of every few scores while a
block of them is still in the processor's cache, and their second best: where that one may be the
nearest too, the kernel is not sure, and the search with numpy, which looks at each score, is. That
one also serves searches that are too small for the kernel to pay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array, lax

from cleanai_onnx.runtime.compilation import compiled, current_platform

__all__ = ["Candidates", "Ranking"]

_PART = 8192
"""Training traces are held in arrays of so many, so that the compiled shapes are few."""
_BLOCK = 512
"""Training traces in one product of the kernel, so few that it stays in the processor's cache."""
_FOLDED = 16
"""Scores of which the kernel keeps the best and the second best; a power of 2."""
_QUERIES = (32, 128, 512)
"""The kernel's numbers of queries. A call is padded to the next one."""
_STRIP = 32
"""numpy first looks for the largest score of each strip of so many training traces."""
_FAR = 1e15
"""Queries with values this many times those of the training traces are not ranked at all."""


class Candidates(NamedTuple):
    """Pairs of a training trace and a query of which it may be the nearest: ``(n,)`` each."""

    rows: npt.NDArray[np.int64]
    queries: npt.NDArray[np.int64]


class Ranking:
    """Training traces as they are ranked: centred, scaled, and in the order of their classes.

    Parameters
    ----------
    traces
        ``(N, C)`` float32, finite.
    order
        ``(n,)``: which of them are ranked, in which order. Rows are numbered by it from here on.
    classes
        ``(n,)`` int64, in ascending order: their classes, numbered from 0.
    """

    def __init__(
        self,
        traces: npt.NDArray[np.float32],
        order: npt.NDArray[np.intp],
        classes: npt.NDArray[np.int64],
    ) -> None:
        self.columns = traces.shape[1]
        bounds = np.searchsorted(classes, np.arange(int(classes.max(initial=-1)) + 2))
        self._ranges = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        parts = [order[first : first + _PART] for first in range(0, len(order), _PART)]
        # Small numbers lose less: what is ranked are differences from the mean, over a power of 2.
        self._centre = traces.mean(axis=0, dtype=np.float64) if len(traces) else 0.0
        largest = max((float(np.abs(traces[p] - self._centre).max()) for p in parts), default=0.0)
        self._scale = 2.0 ** -np.frexp(largest)[1] if largest else 1.0
        longest, self._parts, self._classes = 0.0, [], []
        for place, part in enumerate(parts):
            whole = -(-len(part) // _BLOCK) * _BLOCK
            ranked = np.zeros((whole, self.columns + 1), np.float32)
            known = ranked[: len(part)]
            known[:, :-1] = (traces[part] - self._centre) * self._scale
            lengths = np.einsum("ij,ij->i", known[:, :-1], known[:, :-1], dtype=np.float64)
            longest = max(longest, float(lengths.max()))
            # The last column, for which a query has a 1, subtracts |t|²/2.
            ranked[:, -1] = -np.inf
            known[:, -1] = -lengths / 2
            numbers = np.full((whole, 1), -1, np.int32)
            numbers[: len(part), 0] = classes[place * _PART : place * _PART + len(part)]
            self._parts.append(jnp.asarray(ranked))
            self._classes.append(jnp.asarray(numbers))
        self._longest = float(np.sqrt(longest))

    def candidates(
        self, queries: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], *, same: bool
    ) -> Candidates:
        """Return the traces that may be the nearest of the same class, or of all others.

        Parameters
        ----------
        queries
            ``(B, C)`` float32, finite.
        classes
            ``(B,)`` int64, numbered as those of the traces.
        same
            Whether to look at the traces of the query's class or at those of the others.
        """
        order = np.argsort(classes, kind="stable")
        found = []
        for part in np.split(order, _cuts(classes[order], by_class=same)):
            start, stop = 0, self._ranges[-1][1]
            if same:
                start, stop = self._ranges[classes[part[0]]][0], self._ranges[classes[part[-1]]][1]
            some = _Queries.of(queries[part], classes[part], self)
            search = self._by_kernel if _pays(len(part), stop - start) else self._by_numpy
            rows, of_part = search(some, start, stop, same=same)
            found.append((rows, part[of_part]))
        return Candidates(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def _by_kernel(self, queries: _Queries, start: int, stop: int, *, same: bool) -> Candidates:
        count = len(queries.slack)
        padded = next(size for size in _QUERIES if size >= count)
        columns = np.zeros((self.columns + 1, padded), np.float32)
        columns[:, :count] = queries.columns
        reach, classes = np.zeros((1, padded), np.float32), np.full((1, padded), -2, np.int32)
        # No score is above it, but for rounding.
        reach[0, :count] = queries.lengths * self._longest
        classes[0, :count] = queries.classes
        given = jax.device_put((columns, reach, classes))
        fold, nearest = _kernel(current_platform()), _none(padded)
        for place in range(start // _PART, -(-stop // _PART)):
            first = place * _PART
            blocks = (
                np.int32(max(start - first, 0) // _BLOCK),
                np.int32(-(-min(stop - first, _PART) // _BLOCK)),
            )
            part = self._parts[place], self._classes[place], np.int32(first)
            nearest = fold(nearest, *part, *blocks, *given, same=same)
        best, block, second = (np.asarray(each)[:, :count] for each in nearest)
        lane = np.arange(len(best))[:, None]
        rows = block + (best & (_FOLDED - 1)) * len(best) + lane
        distance = (best & -_FOLDED).view(np.float32)
        limit = distance.min(axis=0) + queries.slack
        unsure = ((second & -_FOLDED).view(np.float32) <= limit).any(axis=0)
        lanes, sure = np.nonzero((distance <= limit) & ~unsure)
        found = Candidates(rows[lanes, sure].astype(np.int64), sure)
        if not unsure.any():
            return found
        others = np.flatnonzero(unsure)
        more = self._by_numpy(queries.some(others), start, stop, same=same)
        return Candidates(
            np.concatenate([found.rows, more.rows]),
            np.concatenate([found.queries, others[more.queries]]),
        )

    def _by_numpy(self, queries: _Queries, start: int, stop: int, *, same: bool) -> Candidates:
        best = np.full(len(queries.slack), -np.inf, np.float32)
        near: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]
        near, buffer = [], np.empty((min(_PART, stop - start), len(best)), np.float32)
        for place in range(start // _PART, -(-stop // _PART)):
            first, last = max(start, place * _PART), min(stop, (place + 1) * _PART)
            ranked = np.asarray(self._parts[place])[first - place * _PART : last - place * _PART]
            scores = np.matmul(ranked, queries.columns, out=buffer[: last - first])
            for column, label in enumerate(queries.classes.tolist()):
                low, high = (max(bound - first, 0) for bound in self._ranges[label])
                for unwanted in (slice(low), slice(high, None)) if same else (slice(low, high),):
                    scores[unwanted, column] = -np.inf
            strips = _largest_of_strips(scores)
            best = np.maximum(best, strips.max(axis=0))
            strip, query = np.nonzero(strips >= best - queries.slack)
            rows = strip[:, None] * _STRIP + np.arange(_STRIP)
            inside = rows < last - first
            values = scores[np.minimum(rows, last - first - 1), query[:, None]]
            close = inside & (values >= (best - queries.slack)[query, None]) & (values > -np.inf)
            which, row = np.nonzero(close)
            near.append((rows[which, row] + first, query[which], values[which, row]))
        found, owners, scored = (np.concatenate(parts) for parts in zip(*near, strict=True))
        close = scored >= (best - queries.slack)[owners]
        return Candidates(found[close], owners[close])


class _Queries(NamedTuple):
    """Queries as they are ranked.

    `columns` is ``(C + 1, B)`` float32. `lengths` are those of the columns, `slack` is twice what
    rounding can do to the difference of two scores: ``(B,)`` each; so are `classes`.
    """

    columns: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.float64]
    slack: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]

    @staticmethod
    def of(
        queries: npt.NDArray[np.float32], classes: npt.NDArray[np.int64], ranking: Ranking
    ) -> _Queries:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (queries.astype(np.float64) - ranking._centre) * ranking._scale
            ranked = scaled.astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", ranked, ranked, dtype=np.float64))
        far = ~(lengths < _FAR)
        ranked[far], lengths[far] = 0, 0
        columns = np.ones((ranked.shape[1] + 1, len(ranked)), np.float32)
        columns[:-1] = ranked.T
        # Of a sum of C products, of a few further steps, and of the last bits that the kernel uses.
        share = (queries.shape[1] + 8) * 2.0**-22 + _FOLDED * 2.0**-21
        slack = share * (lengths + ranking._longest) * ranking._longest
        slack[far] = np.inf
        return _Queries(columns, lengths, slack, classes)

    def some(self, places: npt.NDArray[np.intp]) -> _Queries:
        """Return those at `places`."""
        return _Queries(
            self.columns[:, places], self.lengths[places], self.slack[places], self.classes[places]
        )


def _cuts(classes: npt.NDArray[np.int64], *, by_class: bool) -> list[int]:
    """Return where to cut ascending `classes` of queries into parts that are searched together.

    A part has at most the kernel's largest number of queries, and, where it is cut by class, at
    least its smallest or whole classes: fewer would take as long.
    """
    ends = [len(classes)]
    if by_class:
        ends = [*(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    cuts, last = [], 0
    for end in ends:
        while end - last > _QUERIES[-1]:
            last += _QUERIES[-1]
            cuts.append(last)
        if end - last >= _QUERIES[0] and end < len(classes):
            last = end
            cuts.append(last)
    return cuts


def _pays(queries: int, rows: int) -> bool:
    """Return whether the kernel is faster than numpy."""
    # Measured: below, what compiled calls cost besides the products counts for more.
    return queries * rows >= 1 << 18 and rows >= _BLOCK


def _largest_of_strips(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the largest of each `_STRIP` rows of ``(R, Q)``, and of what is left of them."""
    whole = len(scores) // _STRIP
    parts = scores[: whole * _STRIP].reshape(whole, _STRIP, scores.shape[1])
    strips: npt.NDArray[np.float32] = parts.max(axis=1)
    if whole * _STRIP == len(scores):
        return strips
    return np.concatenate([strips, scores[whole * _STRIP :].max(axis=0, keepdims=True)])


class _Nearest(NamedTuple):
    """What the kernel keeps: ``(_BLOCK / _FOLDED, Q)`` int32 each, one row for each lane.

    In a lane are the training traces whose places in their blocks leave the same remainder. Ranked
    is by |x| L - x·t + |t|²/2, with L the length of the longest trace: it is never negative, and so
    its bits, read as an integer, are in the same order. The last bits are replaced by where in its
    lane a trace is: `best` says which trace of the block is meant, `block` the row that this starts
    with, and `second` is the next larger one of the lane.
    """

    best: Array
    block: Array
    second: Array


def _none(queries: int) -> _Nearest:
    shape = (_BLOCK // _FOLDED, queries)
    nothing = np.full(shape, np.inf, np.float32).view(np.int32)
    return _Nearest(*jax.device_put((nothing, np.zeros(shape, np.int32), nothing)))


@cache
def _kernel(platform: str) -> Callable[..., _Nearest]:
    return compiled(_fold, platform, wide=True, static_argnames="same")


def _fold(
    nearest: _Nearest,
    part: Array,
    of_part: Array,
    row: Array,
    first: Array,
    last: Array,
    columns: Array,
    reach: Array,
    classes: Array,
    *,
    same: bool,
) -> _Nearest:
    """Fold the blocks `first` to `last` of a part that starts with `row` into what is nearest."""
    lanes = _BLOCK // _FOLDED

    def fold(number: Array, kept: _Nearest) -> _Nearest:
        start = number * _BLOCK
        traces = lax.dynamic_slice_in_dim(part, start, _BLOCK)
        theirs = lax.dynamic_slice_in_dim(of_part, start, _BLOCK).reshape(_FOLDED, lanes, 1)
        scores = lax.dot(traces, columns, precision=lax.Precision.HIGHEST)
        scores = scores.reshape(_FOLDED, lanes, -1)
        best = second = None
        for place in range(_FOLDED):
            wanted = (theirs[place] == classes) == same
            distance = jnp.where(wanted, jnp.maximum(reach - scores[place], 0), jnp.inf)
            bits = (lax.bitcast_convert_type(distance, jnp.int32) & -_FOLDED) | place
            if best is None or second is None:
                best, second = bits, jnp.full_like(bits, jnp.iinfo(jnp.int32).max)
            else:
                second = jnp.minimum(second, jnp.maximum(best, bits))
                best = jnp.minimum(best, bits)
        assert best is not None and second is not None
        # As one complex number, so that XLA makes both in one loop.
        both = lax.optimization_barrier(lax.complex(_as_float(best), _as_float(second)))
        best, second = _as_bits(lax.real(both)), _as_bits(lax.imag(both))
        return _Nearest(
            jnp.minimum(kept.best, best),
            jnp.where(best < kept.best, row + start, kept.block),
            jnp.minimum(jnp.minimum(kept.second, second), jnp.maximum(kept.best, best)),
        )

    return lax.fori_loop(first, last, fold, nearest)


def _as_float(bits: Array) -> Array:
    return lax.bitcast_convert_type(bits, jnp.float32)


def _as_bits(numbers: Array) -> Array:
    return lax.bitcast_convert_type(numbers, jnp.int32)
