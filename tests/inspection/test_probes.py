"""Joint measures against scikit-learn on the same split, and the weights of the fits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from cleanai_onnx.inspection.claims import Claim
from cleanai_onnx.inspection.fitting import fit_lasso, fit_ridge, standardised
from cleanai_onnx.inspection.probes import held_out
from tests.inspection.measuring import neurons, scores


def peer(penalty: str) -> LogisticRegression:
    l1 = {"l1_ratio": 1.0, "solver": "saga"} if penalty == "l1" else {"solver": "lbfgs"}
    return LogisticRegression(C=1.0, tol=1e-10, max_iter=20_000, random_state=0, **l1)


def fitted(model: LogisticRegression, x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y)


def layer(seed: int, images: int = 160, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return a layer, and three concepts that it encodes more or less, and a category."""
    x = neurons(seed, images, width)
    random = np.random.default_rng(seed + 1)
    z = StandardScaler().fit_transform(x)
    direction = random.normal(size=(width, 3))
    y = (z @ direction + random.normal(0, [0.1, 2, 8], (images, 3)) > [0, 1, 0]).astype(float)
    kind = np.digitize(z[:, 0] + random.normal(0, 0.3, images), [-0.5, 0.7])
    return x, np.column_stack([y, kind])


CLAIMS = [
    *(Claim(name, "binary", number) for number, name in enumerate("abc")),
    Claim("kind", "categorical", 3, categories=("x", "y", "z")),
]


@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_scikit_learns(seed: int) -> None:
    x, y = layer(seed)
    layers = [range(5), range(5, 12)]
    found = scores(x, y, CLAIMS, ["logistic-l1", "probe"], layers=layers)
    train, tested = held_out(len(x), 0)
    for row, part in enumerate(layers):
        scaler = StandardScaler().fit(x[train][:, part])
        known, unseen = (scaler.transform(x[rows][:, part]) for rows in (train, tested))
        for place in range(3):
            lasso = fitted(peer("l1"), known, y[train, place])
            expected = f1_score(y[tested, place], lasso.predict(unseen))
            assert found["logistic-l1"].score[row, place] == pytest.approx(expected, abs=1e-6)
        for place in range(4):
            ridge = fitted(peer("l2"), known, y[train, place])
            expected = ridge.score(unseen, y[tested, place])
            assert found["probe"].score[row, place] == pytest.approx(expected, abs=1e-6)


def fitted_by_us(penalty: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return fit_lasso(x, y, 1.0) if penalty == "l1" else fit_ridge(x, y, 1.0, categories=False)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_the_weights_are_scikit_learns(penalty: str) -> None:
    x, y = layer(9)
    z, _ = standardised(x, x)
    weights, intercepts = fitted_by_us(penalty, z, y[:, :3])
    for place in range(3):
        model = fitted(peer(penalty), z, y[:, place])
        assert weights[:, place] == pytest.approx(model.coef_[0], abs=3e-4)
        assert intercepts[place] == pytest.approx(model.intercept_[0], abs=3e-4)
    if penalty == "l1":
        assert (weights == 0).any()


def test_the_weights_of_categories_are_scikit_learns() -> None:
    x, y = layer(9)
    z, _ = standardised(x, x)
    weights, _ = fit_ridge(z, (y[:, 3:] == [0, 1, 2]).astype(float), 1.0, categories=True)
    model = fitted(peer("l2"), z, y[:, 3])
    assert pytest.approx(model.coef_, abs=1e-4) == weights.T


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_all_hypotheses_together_are_each_alone(penalty: str) -> None:
    x, y = layer(2)
    z, _ = standardised(x, x)
    together, _ = fitted_by_us(penalty, z, y[:, :3])
    for place in range(3):
        alone, _ = fitted_by_us(penalty, z, y[:, place : place + 1])
        assert together[:, place] == pytest.approx(alone[:, 0], abs=1e-4)


@pytest.mark.parametrize("penalty", ["l1", "l2"])
@pytest.mark.parametrize(("images", "width"), [(60, 200), (200, 60), (150, 400)])
def test_wide_and_correlated_layers(penalty: str, images: int, width: int) -> None:
    """The slopes at the minimum are what they must be, whatever the shape."""
    random = np.random.default_rng(images)
    hidden = random.normal(size=(images, 8))
    x = np.maximum(hidden @ random.normal(size=(8, width)) + random.normal(size=(images, width)), 0)
    z, _ = standardised(x.astype(np.float32), x.astype(np.float32))
    y = (hidden[:, :3] + random.normal(size=(images, 3)) > 0).astype(float)
    weights, intercepts = fitted_by_us(penalty, z, y)
    slope = 1 / (1 + np.exp(-(z @ weights + intercepts))) - y
    assert np.abs(slope.sum(axis=0)).max() < (1e-3 if penalty == "l2" else 0.05)
    if penalty == "l2":
        assert np.abs(z.T @ slope + weights).max() < 1e-3
        return
    gradient = z.T @ slope
    assert np.abs(gradient).max() <= 1 + 2e-3
    chosen = weights != 0
    np.testing.assert_allclose(gradient[chosen], -np.sign(weights[chosen]), atol=2e-3)
    assert 0 < chosen.mean() < 0.8


def test_what_cannot_be_learnt_has_no_score() -> None:
    x, _ = layer(0, images=30)
    y = np.column_stack([np.ones(30), np.zeros(30)])
    for one in scores(x, y, CLAIMS[:2], ["logistic-l1", "probe"]).values():
        assert np.isnan(one.score).all()
    few = scores(x[:8], np.tile([[0.0], [1.0]], (4, 1)), CLAIMS[:1], ["logistic-l1", "probe"])
    assert all(np.isnan(one.score).all() for one in few.values())


def test_what_is_held_out_depends_on_the_seed_alone() -> None:
    train, tested = held_out(100, 3)
    assert len(tested) == 30
    assert sorted([*train, *tested]) == list(range(100))
    assert np.array_equal(held_out(100, 3)[1], tested)
    assert not np.array_equal(held_out(100, 4)[1], tested)
