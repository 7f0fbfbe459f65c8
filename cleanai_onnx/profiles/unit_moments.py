"""The moments of all units, gathered where the activations are and merged in float64 now and then.

There are millions of units. To read the activations of a batch once is all that a compiled kernel
costs; numpy, in float64, takes tens of times as long. So extrema and sums are kept in float32
beside the activations for a number of batches, a window, and are then merged into moments in
float64. Summed are distances from a shift, and their squares. The shift is the mean of what came
before the window (where nothing did, of its first batch), and no window is longer than `_GROWTH`
times what came before: however far a window's values are from the shift, most of that distance
is part of the variance of all, so that little of the squares cancels. Deviations below 1e-19 count
as 0: their squares are no normal numbers of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array, lax

from cleanai_onnx.container import UnfitError, array_in, list_in, whole_in
from cleanai_onnx.profiles.moments import Moments
from cleanai_onnx.runtime.compilation import compiled, current_platform

__all__ = ["UnitMoments"]

_GROWTH = 3
_FOLDS = 32
"""Batches in a window, at most: the sums are rounded once for each of them."""
_CHUNK = 1 << 13
"""Units that are merged at once, so that their float64 stays in the processor's cache."""
_LARGE = 1e15
"""The squares of larger values are, or sum up to, more than float32 holds."""
_NOTHING = complex(np.inf, -np.inf)
_FIELDS = ("count", "low", "high", "mean", "squares")


class UnitMoments:
    """Gathers the moments of the units of layers, batch by batch.

    Parameters
    ----------
    sizes : sequence of int
        How many units each layer has.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._layers = [_Layer(size) for size in sizes]
        self._before = self._inside = self._folds = 0

    def add(self, activations: Sequence[Array], valid: int) -> None:
        """Fold a batch in.

        Parameters
        ----------
        activations
            For each layer ``(B, N)`` float32.
        valid
            How many of the rows are inputs; those after them repeat the last one.
        """
        # All layers are under way before the first is waited for.
        plain = [layer.fold(a, valid) for layer, a in zip(self._layers, activations, strict=True)]
        for layer, a, is_plain in zip(self._layers, activations, plain, strict=True):
            if is_plain:
                layer.inside += valid
            else:
                layer.merge(Moments.of(np.asarray(a)[:valid]))
        self._inside += valid
        self._folds += 1
        if self._folds == _FOLDS or self._inside >= _GROWTH * self._before:
            self._close()

    def moments(self) -> Moments:
        """Return the moments of what came so far, one layer after the other."""
        self._close()
        layers = [layer.merged for layer in self._layers]
        return Moments(
            *(np.concatenate([getattr(one, name) for one in layers]) for name in _FIELDS)
        )

    def stored(self) -> dict[str, Any]:
        """Return all that is known, the open window included, for `restore`."""
        return {
            "before": self._before,
            "inside": self._inside,
            "folds": self._folds,
            "layers": [layer.stored() for layer in self._layers],
        }

    def restore(self, tree: Any) -> None:
        """Go on from what `stored` returned.

        Raises
        ------
        UnfitError
            If the tree is not of such layers.
        """
        if not isinstance(tree, Mapping):
            raise UnfitError("it has no units")
        self._before, self._inside, self._folds = (
            whole_in(tree, name) for name in ("before", "inside", "folds")
        )
        trees = list_in(tree, "layers", len(self._layers))
        for layer, own in zip(self._layers, trees, strict=True):
            layer.restore(own)

    def _close(self) -> None:
        for layer in self._layers:
            layer.close()
        self._before, self._inside, self._folds = self._before + self._inside, 0, 0


class _Window(NamedTuple):
    """What is kept of N units while batches come, ``(N,)`` each.

    `extrema` is complex64: the minimum as the real part, the maximum as the imaginary one. So is
    `sums`: of the distances from `shift` (float32), and of their squares.
    """

    extrema: Array
    sums: Array
    shift: Array


class _Layer:
    """The moments of one layer before the window, the window, and how many inputs are inside."""

    def __init__(self, size: int) -> None:
        self.merged = Moments.none(size)
        self.inside = 0
        self._window: _Window | None = None

    def fold(self, a: Array, valid: int) -> Array:
        """Fold a batch in, unless it has values that the window cannot take; return whether."""
        kernels, count = _kernels(current_platform()), np.int32(valid)
        if self._window is None:
            known = bool(self.merged.count.any())
            shift = jnp.asarray(_shift(self.merged.mean)) if known else kernels.centre(a, count)
            self._window = kernels.begin(shift)
        self._window, plain = kernels.fold(self._window, a, count)
        return plain

    def stored(self) -> dict[str, Any]:
        window = None
        if self._window is not None:
            window = {name: np.asarray(one) for name, one in self._window._asdict().items()}
        return {"moments": self.merged.stored(), "inside": self.inside, "window": window}

    def restore(self, tree: Any) -> None:
        if not isinstance(tree, Mapping) or not isinstance(tree.get("moments"), Mapping):
            raise UnfitError("it has no moments")
        size, window = len(self.merged.count), tree.get("window")
        self.merged = Moments.restored(tree["moments"], size)
        self.inside = whole_in(tree, "inside")
        if isinstance(window, Mapping):
            self._window = _Window(
                jnp.asarray(array_in(window, "extrema", np.complex64, size)),
                jnp.asarray(array_in(window, "sums", np.complex64, size)),
                jnp.asarray(array_in(window, "shift", np.float32, size)),
            )

    def merge(self, other: Moments, units: slice = slice(None)) -> None:
        """Merge moments of some of the units into what is known of them, in place."""
        own = Moments(*(getattr(self.merged, name)[units] for name in _FIELDS))
        new = own.merged(other)
        for name in _FIELDS:
            getattr(self.merged, name)[units] = getattr(new, name)

    def close(self) -> None:
        """Merge the window, in float64."""
        if self._window is not None and self.inside:
            extrema, sums, shift = map(np.asarray, self._window)
            for first in range(0, len(shift), _CHUNK):
                units = slice(first, first + _CHUNK)
                total, squares = (part.astype(np.float64) for part in _parts(sums[units]))
                low, high = _parts(extrema[units])
                step = total / self.inside
                other = Moments(
                    np.full(len(step), self.inside),
                    low,
                    high,
                    shift[units] + step,
                    np.maximum(squares - total * step, 0),
                )
                self.merge(other, units)
        self._window, self.inside = None, 0


def _parts(
    pairs: npt.NDArray[np.complex64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    return pairs.real, pairs.imag


def _shift(mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the means as far as distances from them can be summed, and 0 elsewhere."""
    with np.errstate(over="ignore"):
        return np.where(np.abs(mean) < _LARGE, mean, 0).astype(np.float32)


class _Kernels(NamedTuple):
    centre: Callable[..., Array]
    begin: Callable[..., _Window]
    fold: Callable[..., tuple[_Window, Array]]


@cache
def _kernels(platform: str) -> _Kernels:
    return _Kernels(
        compiled(_centre, platform, wide=True),
        compiled(_begin, platform, wide=True),
        compiled(_fold, platform, wide=True, donate_argnums=0),
    )


def _begin(shift: Array) -> _Window:
    nothing = jnp.full(shift.shape, _NOTHING, jnp.complex64)
    return _Window(nothing, jnp.zeros_like(nothing), shift)


def _centre(a: Array, valid: Array) -> Array:
    """Return the mean of the rows in use of ``(B, N)``, 0 where it is none to begin with."""
    used = jnp.arange(a.shape[0])[:, None] < valid
    mean = jnp.sum(jnp.where(used, a, 0), axis=0) / valid.astype(jnp.float32)
    # Between the extrema: the distances of a constant unit are exactly 0.
    mean = jnp.clip(mean, jnp.min(a, axis=0), jnp.max(a, axis=0))
    return jnp.where(jnp.abs(mean) < _LARGE, mean, 0)


def _fold(window: _Window, a: Array, valid: Array) -> tuple[_Window, Array]:
    """Fold ``(B, N)`` into a window in one reading; false if it has what a window cannot take."""
    used = lax.broadcast_in_dim(jnp.arange(a.shape[0]) < valid, a.shape, (0,))
    distance = jnp.where(used, a - window.shift, 0)

    def both(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
        return _widened(x[0], y[0]), x[1] + y[1]

    extrema, sums = lax.reduce(
        (lax.complex(a, a), lax.complex(distance, distance * distance)),
        (np.complex64(_NOTHING), np.complex64(0)),
        both,
        (0,),
    )
    # A comparison with NaN is false, and so is one of an infinite value here.
    plain = jnp.all((jnp.real(extrema) > -_LARGE) & (jnp.imag(extrema) < _LARGE))
    new = _Window(
        jnp.where(plain, _widened(window.extrema, extrema), window.extrema),
        jnp.where(plain, window.sums + sums, window.sums),
        window.shift,
    )
    return new, plain


def _widened(a: Array, b: Array) -> Array:
    """Return complex extrema that hold both; NaN where one of them is."""
    low = lax.min(lax.real(a), lax.real(b))
    return lax.complex(low, lax.max(lax.imag(a), lax.imag(b)))
