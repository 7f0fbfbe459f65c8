"""Which training traces can be the nearest one to a query, by products of matrices in float32.

A trace t is the nearer to x, the smaller |t|²/2 - x·t is. Products of matrices give this of all
pairs, but for rounding, of which the worst case is known. What is left are the few traces that may
be the nearest ones; measuring these exactly is up to the caller.

Two searches do the same. The kernel (`cleanai_onnx.surprise.kernel`), compiled by XLA, keeps the
best of every few distances, and their second best: where that one may be the nearest too, the
kernel is not sure, and the search with numpy, which looks at each distance, is. That one also
serves searches that are too small for the kernel to pay. Searches run side by side, one on each
core.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from cleanai_onnx.runtime.compilation import current_platform
from cleanai_onnx.runtime.processors import processors
from cleanai_onnx.surprise.kernel import BLOCK, FOLDED, kernel, nothing

__all__ = ["Candidates", "Ranking"]

_PART = 8192
"""Training traces are held in arrays of so many, so that the compiled shapes are few."""
_QUERIES = (32, 128, 512)
"""The kernel's numbers of queries. A call is padded to the next one."""
_STRIP = 32
"""numpy first looks for the smallest distance in each strip of so many training traces."""
_LARGEST = float(np.finfo(np.float32).max)
_WORTH = 1 << 21
"""Pairs of a query and a training trace that are worth a thread."""
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
            whole = -(-len(part) // BLOCK) * BLOCK
            ranked = np.zeros((whole, self.columns + 2), np.float32)
            known = ranked[: len(part)]
            known[:, :-2] = (traces[part] - self._centre) * self._scale
            lengths = np.einsum("ij,ij->i", known[:, :-2], known[:, :-2], dtype=np.float64)
            longest = max(longest, float(lengths.max()))
            # A query has a 1 for |t|²/2, and for the 1 what makes all its distances positive.
            ranked[:, -2], ranked[:, -1] = np.inf, 1
            known[:, -2] = lengths / 2
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
        parts = np.split(order, _cuts(classes[order], by_class=same))
        wanted = []
        for part in parts:
            start, stop = 0, self._ranges[-1][1]
            if same:
                start, stop = self._ranges[classes[part[0]]][0], self._ranges[classes[part[-1]]][1]
            wanted.append((part, start, stop))
        # XLA has other processors than the cores busy as it is.
        most = processors() if current_platform() == "cpu" else 1
        pairs = sum(len(part) * (stop - start) for part, start, stop in wanted)
        threads = min(most, 1 + pairs // _WORTH)
        shares = -(-threads // len(wanted))
        jobs = [
            (part, *share)
            for part, start, stop in wanted
            for share in _shares(start, stop, min(shares, 1 + len(part) * (stop - start) // _WORTH))
        ]
        device = getattr(jax.config, "jax_default_device", None)
        search = partial(self._search, queries, classes, same, device)
        if threads == 1:
            found = list(map(search, jobs))
        else:
            with ThreadPoolExecutor(threads, thread_name_prefix="surprise") as pool:
                found = list(pool.map(search, jobs))
        return Candidates(*(np.concatenate(each) for each in zip(*found, strict=True)))

    def _search(
        self,
        queries: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int64],
        same: bool,
        device: jax.Device | None,
        job: tuple[npt.NDArray[np.intp], int, int],
    ) -> Candidates:
        part, start, stop = job
        some = _Queries.of(queries[part], classes[part], self)
        search = self._by_kernel if _pays(len(part), stop - start) else self._by_numpy
        # JAX's default device is each thread's own.
        with jax.default_device(device):
            rows, of_part = search(some, start, stop, same=same)
        return Candidates(rows, part[of_part])

    def _mixed(self, classes: npt.NDArray[np.int64], *, same: bool) -> npt.NDArray[np.bool_]:
        """Return of which blocks some query of these classes does not look at each trace."""
        starts = np.arange(sum(len(part) for part in self._parts) // BLOCK) * BLOCK
        stops = np.minimum(starts + BLOCK, self._ranges[-1][1])
        mixed = np.zeros(len(starts), np.bool_)
        for label in np.unique(classes).tolist():
            low, high = self._ranges[label]
            if same:
                mixed |= (starts < low) | (stops > high)
            else:
                mixed |= (starts < high) & (stops > low)
        return mixed

    def _by_kernel(self, queries: _Queries, start: int, stop: int, *, same: bool) -> Candidates:
        count = len(queries.slack)
        padded = next(size for size in _QUERIES if size >= count)
        columns = np.zeros((self.columns + 2, padded), np.float32)
        columns[:, :count] = queries.columns
        classes = np.full((1, padded), -2, np.int32)
        classes[0, :count] = queries.classes
        mixed = self._mixed(queries.classes, same=same)
        fold, nearest = kernel(current_platform()), nothing(padded)
        for place in range(start // _PART, -(-stop // _PART)):
            first = place * _PART
            blocks = (
                np.int32(max(start - first, 0) // BLOCK),
                np.int32(-(-min(stop - first, _PART) // BLOCK)),
            )
            part = self._parts[place], self._classes[place], np.int32(first)
            of_part = mixed[first // BLOCK : (first + _PART) // BLOCK]
            nearest = fold(nearest, *part, *blocks, of_part, columns, classes, same=same)
        best, block, second = (np.asarray(each)[:, :count] for each in nearest)
        lane = np.arange(len(best))[:, None]
        rows = block + (best & (FOLDED - 1)) * len(best) + lane
        distance = (best & -FOLDED).view(np.float32)
        # Among these rows there may be none that a query looks at, and all distances are infinite.
        limit = np.minimum(distance.min(axis=0) + queries.slack, _LARGEST)
        unsure = ((second & -FOLDED).view(np.float32) <= limit).any(axis=0)
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
        best = np.full(len(queries.slack), np.inf, np.float32)
        near: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]
        near, buffer = [], np.empty((min(_PART, stop - start), len(best)), np.float32)
        for place in range(start // _PART, -(-stop // _PART)):
            first, last = max(start, place * _PART), min(stop, (place + 1) * _PART)
            ranked = np.asarray(self._parts[place])[first - place * _PART : last - place * _PART]
            distances = np.matmul(ranked, queries.columns, out=buffer[: last - first])
            for column, label in enumerate(queries.classes.tolist()):
                low, high = (max(bound - first, 0) for bound in self._ranges[label])
                for unwanted in (slice(low), slice(high, None)) if same else (slice(low, high),):
                    distances[unwanted, column] = np.inf
            strips = _smallest_of_strips(distances)
            best = np.minimum(best, strips.min(axis=0))
            strip, query = np.nonzero(strips <= best + queries.slack)
            rows = strip[:, None] * _STRIP + np.arange(_STRIP)
            inside = rows < last - first
            values = distances[np.minimum(rows, last - first - 1), query[:, None]]
            close = inside & (values <= (best + queries.slack)[query, None]) & (values < np.inf)
            which, row = np.nonzero(close)
            near.append((rows[which, row] + first, query[which], values[which, row]))
        found, owners, distance = (np.concatenate(parts) for parts in zip(*near, strict=True))
        close = distance <= (best + queries.slack)[owners]
        return Candidates(found[close], owners[close])


class _Queries(NamedTuple):
    """Queries as they are ranked.

    `columns` is ``(C + 2, B)`` float32. `slack` is twice what rounding can do to the difference of
    two distances, ``(B,)``; so are `classes`.
    """

    columns: npt.NDArray[np.float32]
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
        # Of a sum of C products, of a few further steps, and of the last bits that the kernel uses.
        share = (queries.shape[1] + 8) * 2.0**-22 + FOLDED * 2.0**-21
        slack = share * (lengths + ranking._longest) * ranking._longest
        columns = np.empty((ranked.shape[1] + 2, len(ranked)), np.float32)
        np.negative(ranked.T, out=columns[:-2])
        # x·t is no larger than |x| times the longest |t|, and than that with the slack as computed.
        columns[-2], columns[-1] = 1, lengths * ranking._longest + slack
        slack[far] = np.inf
        return _Queries(columns, slack, classes)

    def some(self, places: npt.NDArray[np.intp]) -> _Queries:
        """Return those at `places`."""
        return _Queries(self.columns[:, places], self.slack[places], self.classes[places])


def _cuts(classes: npt.NDArray[np.int64], *, by_class: bool) -> list[int]:
    """Return where to cut ascending `classes` of queries into parts that are searched together.

    A part has at most the kernel's largest number of queries, and, where it is cut by class, at
    least its smallest or whole classes: fewer would take as long. No more than half of the largest
    number are cut once more rather than padded to it.
    """
    ends = [len(classes)]
    if by_class:
        ends = [*(np.flatnonzero(np.diff(classes)) + 1).tolist(), len(classes)]
    cuts, last = [], 0
    for end in ends:
        while end - last > _QUERIES[-1]:
            last += _QUERIES[-1]
            cuts.append(last)
        if _QUERIES[1] < end - last <= 2 * _QUERIES[1]:
            last += _QUERIES[1]
            cuts.append(last)
        if end - last >= _QUERIES[0] and end < len(classes):
            last = end
            cuts.append(last)
    return cuts


def _shares(start: int, stop: int, count: int) -> list[tuple[int, int]]:
    """Divide rows into at most `count` ranges of whole blocks."""
    blocks = np.linspace(start // BLOCK, -(-stop // BLOCK), count + 1).astype(int)
    cuts = [start, *np.maximum(blocks[1:-1] * BLOCK, start).tolist(), stop]
    return [(low, high) for low, high in pairwise(cuts) if low < high]


def _pays(queries: int, rows: int) -> bool:
    """Return whether the kernel is faster than numpy."""
    # Measured: below, what compiled calls cost besides the products counts for more.
    return queries * rows >= 1 << 18 and rows >= BLOCK


def _smallest_of_strips(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the smallest of each `_STRIP` rows of ``(R, Q)``, and of what is left of them."""
    whole = len(distances) // _STRIP
    parts = distances[: whole * _STRIP].reshape(whole, _STRIP, distances.shape[1])
    strips: npt.NDArray[np.float32] = parts.min(axis=1)
    if whole * _STRIP == len(distances):
        return strips
    return np.concatenate([strips, distances[whole * _STRIP :].min(axis=0, keepdims=True)])
