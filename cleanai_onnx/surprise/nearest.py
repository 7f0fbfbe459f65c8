"""The nearest training trace of the same class, and of another one: distance-based surprise.

All distances are ranked by products of matrices in float32, as x·t - |t|²/2, and a block of them is
looked through while it is still in the processor's cache. What could be nearest within the rounding
of these products is then measured again in float64 from the differences, so that neither the
neighbour nor its distance depends on the cancellation, nor on the size of a batch.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["NearestTraces"]

_TRAIN_ROWS = 4096
_QUERIES = 256
_STRIP = 32
"""The largest product is first known of each strip of so many training traces."""
_CHUNK = 1 << 22
"""Elements of differences that are held at once."""
_FAR = 1e15
"""Queries with values this many times those of the training traces are measured exactly at once."""

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class NearestTraces:
    """Training traces, arranged by class, to look for neighbours in.

    Parameters
    ----------
    traces
        ``(n, C)`` float32, finite.
    classes
        ``(n,)`` int64, the class that the model predicts for each.
    """

    def __init__(self, traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> None:
        order = np.argsort(classes, kind="stable")
        self.traces = np.ascontiguousarray(traces[order])
        self.classes = classes[order]
        labels, first, counts = np.unique(self.classes, return_index=True, return_counts=True)
        self.ranges = {
            int(label): (int(start), int(start + count))
            for label, start, count in zip(labels, first, counts, strict=True)
        }
        exact = self.traces.astype(np.float64)
        # Small numbers lose less: what is ranked are differences from the mean, over a power of 2.
        self._centre = exact.mean(axis=0) if len(exact) else np.zeros(traces.shape[1])
        exact -= self._centre
        largest = float(np.abs(exact).max(initial=0.0))
        self._scale = 2.0 ** -np.frexp(largest)[1] if largest else 1.0
        self._ranked = (exact * self._scale).astype(np.float32)
        lengths = np.einsum("ij,ij->i", self._ranked, self._ranked, dtype=np.float64)
        self._half = (lengths / 2).astype(np.float32)
        self._longest = float(np.sqrt(lengths.max(initial=0.0)))
        self._others = np.full(len(traces), np.nan)

    def surprise(
        self, traces: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Return distance-based surprise adequacy (Kim et al., section 3.3, equations 3 to 5).

        The distance to the nearest training trace of the same class, over the distance from that
        trace to the nearest one of another class.

        Parameters
        ----------
        traces
            ``(B, C)`` float32.
        classes
            ``(B,)`` int64, the predicted classes.

        Returns
        -------
        array
            ``(B,)`` float64; infinite where the traces of two classes coincide; NaN where a trace
            is not finite, its class has no training trace or there is no other class, and for 0/0.
        """
        found = np.full(len(traces), np.nan)
        known = np.isfinite(traces).all(axis=1) & np.isin(classes, list(self.ranges))
        if len(self.ranges) < 2 or not known.any():
            return found
        rows = np.flatnonzero(known)
        neighbours, distances = self._nearest(traces[rows], classes[rows], same=True)
        fresh = np.unique(neighbours[np.isnan(self._others[neighbours])])
        if len(fresh):
            queries = self.traces[fresh]
            self._others[fresh] = self._nearest(queries, self.classes[fresh], same=False)[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            found[rows] = distances / self._others[neighbours]
        return found

    def _nearest(
        self,
        queries: npt.NDArray[np.float32],
        classes: npt.NDArray[np.int64],
        *,
        same: bool,
    ) -> Found:
        """Return the nearest trace of the same class, or of the others: places and distances."""
        places = np.zeros(len(queries), np.int64)
        distances = np.zeros(len(queries))
        for first in range(0, len(queries), _QUERIES) if not same else ():
            part = slice(first, first + _QUERIES)
            places[part], distances[part] = self._search(
                queries[part], 0, len(self.traces), classes[part]
            )
        for label in np.unique(classes) if same else ():
            own = np.flatnonzero(classes == label)
            for first in range(0, len(own), _QUERIES):
                part = own[first : first + _QUERIES]
                places[part], distances[part] = self._search(
                    queries[part], *self.ranges[int(label)], None
                )
        return places, distances

    def _search(
        self,
        queries: npt.NDArray[np.float32],
        start: int,
        stop: int,
        without: npt.NDArray[np.int64] | None,
    ) -> Found:
        """Search the traces from `start` to `stop`, for each query without those of one class."""
        with np.errstate(over="ignore", invalid="ignore"):
            ranked = ((queries.astype(np.float64) - self._centre) * self._scale).astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", ranked, ranked, dtype=np.float64))
        far = ~(lengths < _FAR)
        ranked[far] = 0
        # Twice what rounding can do to the difference of two scores, in a sum of C products.
        slack = (queries.shape[1] + 4) * 2.0**-22 * (lengths + self._longest) * self._longest
        slack[far] = np.inf
        columns = np.ascontiguousarray(ranked.T)
        best = np.full(len(queries), -np.inf, np.float32)
        candidates: list[
            tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
        ]
        candidates = []
        buffer = np.empty((min(_TRAIN_ROWS, stop - start), len(queries)), np.float32)
        for first in range(start, stop, _TRAIN_ROWS):
            last = min(first + _TRAIN_ROWS, stop)
            scores = buffer[: last - first]
            np.matmul(self._ranked[first:last], columns, out=scores)
            scores -= self._half[first:last, None]
            if without is not None:
                for query, label in enumerate(without.tolist()):
                    low, high = self.ranges[label]
                    scores[max(low - first, 0) : max(high - first, 0), query] = -np.inf
            strips = np.maximum.reduceat(scores, np.arange(0, last - first, _STRIP), axis=0)
            best = np.maximum(best, strips.max(axis=0))
            strip, query = np.nonzero(strips >= best - slack)
            rows = strip[:, None] * _STRIP + np.arange(_STRIP)
            inside = rows < last - first
            rows = np.minimum(rows, last - first - 1)
            values = scores[rows, query[:, None]]
            close = inside & (values >= (best - slack)[query][:, None]) & (values > -np.inf)
            which, place = np.nonzero(close)
            candidates.append((rows[which, place] + first, query[which], values[which, place]))
        rows, query, values = (np.concatenate(parts) for parts in zip(*candidates, strict=True))
        close = values >= (best - slack)[query]
        return self._exactly(queries, rows[close], query[close])

    def _exactly(
        self,
        queries: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        query: npt.NDArray[np.int64],
    ) -> Found:
        """Return the nearest of the candidates of each query; of equally near ones the first."""
        squared = np.empty(len(rows))
        step = max(_CHUNK // queries.shape[1], 1)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            difference = self.traces[rows[part]].astype(np.float64) - queries[query[part]]
            squared[part] = np.einsum("ij,ij->i", difference, difference)
        order = np.lexsort((rows, squared, query))
        owners, firsts = np.unique(query[order], return_index=True)
        places = np.zeros(len(queries), np.int64)
        distances = np.full(len(queries), np.nan)
        places[owners] = rows[order][firsts]
        distances[owners] = np.sqrt(squared[order][firsts])
        return places, distances
