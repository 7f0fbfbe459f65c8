"""Logistic regression for many claims, with an L1 or an L2 penalty.

With an L2 penalty, all claims are one fit by scipy's L-BFGS: their gradients are one matrix
product. It walks along the principal axes of the neurons, each in the unit of its own curvature, so
that few steps are needed. With an L1 penalty, scikit-learn's coordinate descent (Yuan, Ho and Lin,
JMLR 13, 2012) leaves all such methods behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError

__all__ = ["fit_lasso", "fit_ridge", "standardised"]

Floats: TypeAlias = npt.NDArray[np.float64]
Loss: TypeAlias = Callable[[Floats, Floats], tuple[float, Floats]]
"""From z and y, ``(n, K)``, to the loss and its slope in z."""

_MOST_STEPS = 2_000
_STILL = 1e-4
"""The fit ends where no slope is steeper; the steepest at its beginning are about √n."""


def standardised(
    train: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Return both in units in which each column of `train` has mean 0 and deviation 1.

    Columns that are constant in `train` become 0.
    """
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    factor = np.where(deviation > 1e-12 * np.abs(mean), 1 / np.where(deviation, deviation, 1), 0)
    return (train - mean) * factor, (others - mean) * factor


def fit_lasso(x: Floats, y: Floats, lasso: float) -> tuple[Floats, Floats]:
    """Fit K logistic regressions with an L1 penalty, by scikit-learn's coordinate descent.

    Minimises Σ log(1 + exp(-(2y - 1) z)) + λ |w|₁ for each claim; z = xw + b.

    Parameters
    ----------
    x
        ``(n, C)``, columns with mean 0.
    y
        ``(n, K)``, 0 or 1, each with both.
    lasso
        λ.

    Returns
    -------
    weights, intercepts : array
        ``(C, K)`` and ``(K,)``.

    Raises
    ------
    UsageError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UsageError(
            "--measures logistic-l1 needs scikit-learn; install it with "
            "`pip install 'cleanai-onnx[inspect]'`.",
            slug="package-missing",
        ) from error
    # liblinear penalises b too, unless it is made small by its scale.
    model = LogisticRegression(
        C=1 / lasso,
        l1_ratio=1.0,
        solver="liblinear",
        tol=1e-6,
        max_iter=1000,
        intercept_scaling=1000,
        random_state=0,
    )
    weights, intercepts = np.empty((x.shape[1], y.shape[1])), np.empty(y.shape[1])
    for place in range(y.shape[1]):
        model.fit(x, y[:, place])
        weights[:, place], intercepts[place] = model.coef_[0], model.intercept_[0]
    return weights, intercepts


def fit_ridge(x: Floats, y: Floats, ridge: float, *, categories: bool) -> tuple[Floats, Floats]:
    """Fit logistic regressions with an L2 penalty.

    Minimises the loss of `fit_lasso`, or the cross-entropy of `categories` that exclude each other,
    plus λ |w|² / 2.

    Parameters
    ----------
    x, y
        As for `fit_lasso`; of categories, each row of `y` has a single 1.
    ridge
        λ.
    categories

    Returns
    -------
    weights, intercepts : array
        ``(C, K)`` and ``(K,)``.
    """
    n = len(x)
    curvature = 0.5 if categories else 0.25
    # Along the principal axes, the curvature of the loss is at most that of each axis.
    if n < x.shape[1]:
        powers, left = np.linalg.eigh(x @ x.T)
        kept = powers > 1e-12 * max(powers[-1], 1e-300)
        axes = x.T @ (left[:, kept] / np.sqrt(powers[kept]))
    else:
        powers, axes = np.linalg.eigh(x.T @ x)
        kept = powers > 1e-12 * max(powers[-1], 1e-300)
        axes = axes[:, kept]
    scale = 1 / np.sqrt(curvature * powers[kept] + ridge)
    design = np.concatenate([(x @ axes) * scale, np.full((n, 1), (curvature * n) ** -0.5)], axis=1)
    penalty = np.append(ridge * scale**2, 0.0)[:, None]
    found = _minimum(design, y, _softmax if categories else _binary, penalty)
    return axes @ (found[:-1] * scale[:, None]), found[-1] * (curvature * n) ** -0.5


def _binary(z: Floats, y: Floats) -> tuple[float, Floats]:
    """Return the loss and its slope in z."""
    from scipy.special import expit

    return float((np.logaddexp(0, z) - y * z).sum()), expit(z) - y


def _softmax(z: Floats, y: Floats) -> tuple[float, Floats]:
    """Return the loss and its slope in z."""
    from scipy.special import log_softmax

    logarithms = log_softmax(z, axis=1)
    return float(-(y * logarithms).sum()), np.exp(logarithms) - y


def _minimum(x: Floats, y: Floats, loss: Loss, ridge: Floats) -> Floats:
    """Return the weights ``(C, K)`` of the columns of `x` where loss and penalty are least.

    `ridge` is the penalty of each weight, ``(C, 1)``.
    """
    from scipy.optimize import minimize

    shape = (x.shape[1], y.shape[1])

    def objective(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(shape)
        value, slope = loss(x @ w, y)
        penalised = ridge * w
        return value + float(np.vdot(penalised, w)) / 2, (x.T @ slope + penalised).ravel()

    found = minimize(
        objective,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "ftol": 0.0, "gtol": _STILL},
    )
    weights: Floats = found.x.reshape(shape)
    return weights
