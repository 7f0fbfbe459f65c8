"""Logistic regression with all claims in one fit, by an accelerated proximal gradient in JAX.

Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm for linear inverse problems,
SIAM J. Imaging Sciences 2(1), 2009, with the restart of O'Donoghue and Candès (2015). The step is
the inverse of a bound of the curvature, so nothing has to be tuned; the fit ends where no weight
moves any more. Double precision, switched on for these functions alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["fit_binary", "fit_softmax", "standardised"]

Floats: TypeAlias = npt.NDArray[np.float64]

_MOST_STEPS = 20_000
_STILL = 1e-9
"""The fit ends where no weight moves by more than this, as a part of the largest."""


def standardised(
    train: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Return both in units in which each column of `train` has mean 0 and deviation 1.

    Columns that are constant in `train` become 0.
    """
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    factor = np.where(deviation > 1e-12 * np.abs(mean), 1 / np.where(deviation, deviation, 1), 0)
    return (train - mean) * factor, (others - mean) * factor


def fit_binary(x: Floats, y: Floats, lasso: float, ridge: float) -> tuple[Floats, Floats]:
    """Fit K logistic regressions.

    Parameters
    ----------
    x
        ``(n, C)``.
    y
        ``(n, K)``, 0 or 1.
    lasso, ridge
        λ₁ and λ₂ of Σ log(1 + exp(-(2y - 1) z)) + λ₁ |w|₁ + λ₂ |w|² / 2 for each claim; z = xw + b,
        and b is not penalised.

    Returns
    -------
    weights, intercepts : array
        ``(C, K)`` and ``(K,)``.
    """
    return _fit("binary", x, y, lasso, ridge)


def fit_softmax(x: Floats, y: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Fit one multinomial regression to m categories, ``y`` being ``(n, m)`` of 0 and 1."""
    return _fit("softmax", x, y, 0.0, ridge)


def _fit(loss: str, x: Floats, y: Floats, lasso: float, ridge: float) -> tuple[Floats, Floats]:
    import jax

    # A column of ones carries the intercept. It is as long as the others, so the step suits both.
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    with jax.enable_x64(True):
        found = np.asarray(_solver(loss)(design, y, np.float64(lasso), np.float64(ridge)))
    return found[:-1], found[-1]


@cache
def _solver(loss: str) -> Any:
    import jax
    import jax.numpy as jnp
    from jax import lax

    def residual(z: Any, y: Any) -> Any:
        chances = jax.nn.softmax(z, axis=1) if loss == "softmax" else jax.nn.sigmoid(z)
        return chances - y

    def solve(x: Any, y: Any, lasso: Any, ridge: Any) -> Any:
        penalised = jnp.ones((x.shape[1], 1)).at[-1].set(0.0)

        def power(_: Any, v: Any) -> Any:
            v = x.T @ (x @ v)
            return v / jnp.linalg.norm(v)

        v = lax.fori_loop(0, 50, power, jnp.ones(x.shape[1]) / x.shape[1] ** 0.5)
        # The largest eigenvalue from below by the power method, so a little more of it.
        largest = 1.05 * jnp.linalg.norm(x.T @ (x @ v))
        step = 1 / (largest * (0.5 if loss == "softmax" else 0.25) + ridge)

        def body(state: Any) -> Any:
            w, ahead, momentum, count, _ = state
            gradient = x.T @ residual(x @ ahead, y) + ridge * penalised * ahead
            new = ahead - step * gradient
            bound = step * lasso * penalised
            new = jnp.sign(new) * jnp.maximum(jnp.abs(new) - bound, 0)
            # Momentum that leads uphill is dropped, for each claim by itself.
            uphill = jnp.sum((ahead - new) * (new - w), axis=0) > 0
            momentum = jnp.where(uphill, 1.0, momentum)
            following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * (new - w)
            moved = jnp.abs(new - w).max() / jnp.maximum(jnp.abs(new).max(), 1.0)
            return new, ahead, following, count + 1, moved

        start = jnp.zeros((x.shape[1], y.shape[1]))
        state = (start, start, jnp.ones(y.shape[1]), jnp.int32(0), jnp.asarray(jnp.inf))
        return lax.while_loop(lambda s: (s[3] < _MOST_STEPS) & (s[4] > _STILL), body, state)[0]

    return jax.jit(solve)
