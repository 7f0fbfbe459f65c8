"""The moments of all units, gathered where the activations are and merged in float64 now and then.

There are millions of units. To read the activations of a batch once is all that a compiled kernel
costs; numpy, in float64, takes tens of times as long. So sums are kept in float32 beside the
activations for a number of batches, a window, and are then merged into mean and squares in float64,
by another kernel. Summed are distances from a shift, and their squares. The shift is the mean of
what came before the window (where nothing did, of its first batch), and no window is longer than
`_GROWTH` times what came before: however far a window's values are from the shift, most of that
distance is part of the variance of all, so that little of the squares cancels. Deviations below
1e-19 count as 0: their squares are no normal numbers of float32.

Values that float32 cannot sum the squares of, and those that are not a number, are rare. The
kernel passes over them and says so; then they are looked up and merged one by one.
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
from cleanai_onnx.runtime.compilation import compiled, current_platform, double_precision

__all__ = ["UNIT_BYTES", "UnitMoments"]

UNIT_BYTES = 68
"""Bytes for each unit: 36 while batches come, and 24 to 32 more when the moments are asked for."""
_GROWTH = 3
_FOLDS = 32
"""Batches in a window, at most: the sums are rounded once for each of them."""
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
        self._under_way: list[tuple[_Layer, Array, Array]] = []
        self._valid = 0

    def add(self, activations: Sequence[Array], valid: int) -> None:
        """Begin to fold a batch in; its memory must stay as it is until `wait` has returned.

        Parameters
        ----------
        activations
            For each layer ``(B, N)`` float32.
        valid
            How many of the rows are inputs; those after them repeat the last one.
        """
        self.wait()
        self._valid = valid
        # All layers are under way before the first is waited for.
        self._under_way = [
            (layer, a, layer.fold(a, valid))
            for layer, a in zip(self._layers, activations, strict=True)
        ]

    def wait(self) -> None:
        """Wait for the batch that is under way, if there is one."""
        if not self._under_way:
            return
        for layer, a, odd in self._under_way:
            if odd:
                layer.set_aside(np.asarray(a)[: self._valid])
        self._under_way = []
        self._inside += self._valid
        self._folds += 1
        if self._folds == _FOLDS or self._inside >= _GROWTH * self._before:
            self._close()

    def moments(self) -> Moments:
        """Return the moments of what came so far, one layer after the other."""
        self.wait()
        self._close()
        layers = [layer.moments(self._before) for layer in self._layers]
        found = {
            name: np.concatenate([getattr(layer, name) for layer in layers]) for name in _FIELDS[1:]
        }
        # One count for all of them takes no memory, and memory that was never touched is slow.
        count = np.broadcast_to(np.int64(self._before), len(found["mean"]))
        if any(layer.has_aside for layer in self._layers):
            count = np.concatenate([layer.count for layer in layers])
        return Moments(count, **found)

    def stored(self) -> dict[str, Any]:
        """Return all that is known, the open window included, for `restore`."""
        self.wait()
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
            layer.close(self._before, self._inside)
        self._before, self._inside, self._folds = self._before + self._inside, 0, 0


class _State(NamedTuple):
    """What is kept of N units while batches come, ``(N,)`` each.

    `extrema` is complex64: the minimum as the real part, the maximum as the imaginary one. So is
    `sums` over the window: of the distances from `shift` (float32), and of their squares. `mean`
    and `squares` (float64) are of what came before the window.
    """

    extrema: Array
    sums: Array
    shift: Array
    mean: Array
    squares: Array


_KINDS = (np.complex64, np.complex64, np.float32, np.float64, np.float64)
"""Of the fields of `_State`."""


class _Aside(NamedTuple):
    """What the kernels passed over in a layer: how often, before and in the window, and what."""

    before: npt.NDArray[np.int64]
    inside: npt.NDArray[np.int64]
    moments: Moments


class _Layer:
    """The moments of one layer."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._state: _State | None = None
        self._aside: _Aside | None = None

    @property
    def has_aside(self) -> bool:
        """Whether some values were set aside, so that counts differ."""
        return self._aside is not None

    def fold(self, a: Array, valid: int) -> Array:
        """Fold a batch in; return whether it has values that must be `set_aside`."""
        kernels, count = _kernels(current_platform()), np.int32(valid)
        if self._state is None:
            with double_precision():
                self._state = kernels.begin(a, count)
        kept = self._state
        extrema, sums, odd = kernels.fold(kept.extrema, kept.sums, kept.shift, a, count)
        self._state = kept._replace(extrema=extrema, sums=sums)
        return odd

    def set_aside(self, values: npt.NDArray[np.float32]) -> None:
        """Take note of the values of a batch that the kernel passed over."""
        if self._aside is None:
            none = Moments.none(self.size)
            self._aside = _Aside(np.zeros_like(none.count), np.zeros_like(none.count), none)
        odd = ~(np.abs(values) < _LARGE)
        units = np.flatnonzero(odd.any(axis=0))
        odd, values = odd[:, units], values[:, units]
        self._aside.inside[units] += odd.sum(axis=0)
        known = self._aside.moments
        own = Moments(*(getattr(known, name)[units] for name in _FIELDS))
        new = own.merged(Moments.of(np.where(odd, values, np.float32(np.nan))))
        for name in _FIELDS:
            getattr(known, name)[units] = getattr(new, name)

    def close(self, before: int, inside: int) -> None:
        """Merge the window, of `inside` inputs, into what is known of the `before` before it."""
        if self._state is None or not inside:
            return
        counts = np.array([before]), np.array([inside])
        if self._aside is not None:
            counts = before - self._aside.before, inside - self._aside.inside
            self._aside.before[:] += self._aside.inside
            self._aside.inside[:] = 0
        with double_precision():
            self._state = _kernels(current_platform()).close(
                self._state, *(count.astype(np.float64) for count in counts)
            )

    def moments(self, inputs: int) -> Moments:
        """Return what is known of all `inputs`, when the window is closed."""
        if self._state is None:
            return Moments.none(self.size)
        extrema, _, _, mean, squares = map(np.asarray, self._state)
        count = np.broadcast_to(np.int64(inputs), self.size)
        if self._aside is None:
            return Moments(count, extrema.real, extrema.imag, mean, squares)
        ordinary = count - self._aside.before
        found = Moments(ordinary, extrema.real, extrema.imag, mean, squares)
        return found.merged(self._aside.moments)

    def stored(self) -> dict[str, Any]:
        """Return all that is known, for `restore`."""
        state = aside = None
        if self._state is not None:
            state = {name: np.asarray(one) for name, one in self._state._asdict().items()}
        if self._aside is not None:
            aside = {
                "before": self._aside.before,
                "inside": self._aside.inside,
                "moments": self._aside.moments.stored(),
            }
        return {"state": state, "aside": aside}

    def restore(self, tree: Any) -> None:
        """Go on from what `stored` returned."""
        if not isinstance(tree, Mapping):
            raise UnfitError("it has no layers of units")
        state, aside = tree.get("state"), tree.get("aside")
        if isinstance(state, Mapping):
            arrays = [
                array_in(state, name, kind, self.size)
                for name, kind in zip(_State._fields, _KINDS, strict=True)
            ]
            with double_precision():
                self._state = _State(*map(jnp.asarray, arrays))
        if isinstance(aside, Mapping):
            moments = aside.get("moments")
            if not isinstance(moments, Mapping):
                raise UnfitError("it has no moments of odd values")
            self._aside = _Aside(
                array_in(aside, "before", np.int64, self.size),
                array_in(aside, "inside", np.int64, self.size),
                Moments.restored(moments, self.size),
            )


class _Kernels(NamedTuple):
    begin: Callable[..., _State]
    fold: Callable[..., tuple[Array, Array, Array]]
    close: Callable[..., _State]


@cache
def _kernels(platform: str) -> _Kernels:
    return _Kernels(
        compiled(_begin, platform, wide=True),
        compiled(_fold, platform, wide=True, donate_argnums=(0, 1)),
        compiled(_close, platform, wide=True, donate_argnums=0),
    )


def _begin(a: Array, valid: Array) -> _State:
    """Return the state before the first batch ``(B, N)``, the shift being the mean of its rows."""
    used = (jnp.arange(a.shape[0])[:, None] < valid) & (jnp.abs(a) < _LARGE)
    count = jnp.sum(used, axis=0, dtype=jnp.int32).astype(jnp.float32)
    mean = jnp.sum(jnp.where(used, a, 0), axis=0) / jnp.maximum(count, 1)
    # Between the extrema: the distances of a constant unit are exactly 0.
    low = jnp.min(a, axis=0, where=used, initial=jnp.inf)
    high = jnp.max(a, axis=0, where=used, initial=-jnp.inf)
    nothing = jnp.full(mean.shape, _NOTHING, jnp.complex64)
    zeros = jnp.zeros(mean.shape, jnp.float64)
    shift = jnp.where(count > 0, jnp.clip(mean, low, high), 0)
    return _State(nothing, jnp.zeros_like(nothing), shift, zeros, zeros)


def _fold(
    extrema: Array, sums: Array, shift: Array, a: Array, valid: Array
) -> tuple[Array, Array, Array]:
    """Fold ``(B, N)`` into a window in one reading; true if it has values that were passed over."""
    used = lax.broadcast_in_dim(jnp.arange(a.shape[0]) < valid, a.shape, (0,))
    ordinary = jnp.abs(a) < _LARGE  # a comparison with NaN is false
    distance = jnp.where(used & ordinary, a - shift, 0)

    def fold(
        x: tuple[Array, Array, Array], y: tuple[Array, Array, Array]
    ) -> tuple[Array, Array, Array]:
        return _widened(x[0], y[0]), x[1] + y[1], x[2] | y[2]

    # A reduction of few arrays is faster than one of many: hence complex numbers.
    new_extrema, new_sums, odd = lax.reduce(
        (
            lax.complex(jnp.where(ordinary, a, jnp.inf), jnp.where(ordinary, a, -jnp.inf)),
            lax.complex(distance, distance * distance),
            ~ordinary,
        ),
        (np.complex64(_NOTHING), np.complex64(0), np.bool_(False)),
        fold,
        (0,),
    )
    return _widened(extrema, new_extrema), sums + new_sums, jnp.any(odd)


def _close(state: _State, before: Array, inside: Array) -> _State:
    """Merge the window by the formulas of `cleanai_onnx.profiles.moments`; counts are float64."""
    total = jnp.real(state.sums).astype(jnp.float64)
    step = total / jnp.maximum(inside, 1)
    of_window = jnp.maximum(jnp.imag(state.sums).astype(jnp.float64) - total * step, 0)
    weight = inside / jnp.maximum(before + inside, 1)
    apart = state.shift.astype(jnp.float64) + step - state.mean
    mean = state.mean + apart * weight
    squares = state.squares + of_window + jnp.square(apart) * before * weight
    shift = mean.astype(jnp.float32)
    return _State(state.extrema, jnp.zeros_like(state.sums), shift, mean, squares)


def _widened(a: Array, b: Array) -> Array:
    """Return complex extrema that hold both."""
    low = lax.min(lax.real(a), lax.real(b))
    return lax.complex(low, lax.max(lax.imag(a), lax.imag(b)))
