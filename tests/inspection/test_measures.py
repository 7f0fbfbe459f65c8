"""Measures of single neurons against scipy and scikit-learn on the same values."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from cleanai_onnx.inspection.claims import Claim
from cleanai_onnx.inspection.scores import Scores
from tests.inspection.measuring import binary, neurons, scores

CLOSE = {"rel": 1e-6, "abs": 1e-6}
SHAPES = ("normal", "rectified", "rounded")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's, of constant columns
        yield


def case(shape: str, missing: bool) -> tuple[np.ndarray, np.ndarray, list[Claim]]:
    """Return neurons, one of which never changes, and four hypotheses that depend on some."""
    x = neurons(3, 211, 7, shape)
    x[:, 6] = 2.5
    random = np.random.default_rng(4)
    y = np.empty((211, 4))
    y[:, 0] = x[:, 0] + random.normal(0, x[:, 0].std(), 211) > x[:, 0].mean()
    y[:, 1] = random.random(211) < 0.1
    y[:, 2] = x[:, 1] * 0.5 + random.normal(0, 1, 211)
    y[:, 3] = np.round(random.random(211) * 3)
    if missing:
        y[random.random(y.shape) < 0.2] = np.nan
    claims = [
        *binary("depends", "rare"),
        Claim("numeric", "numeric", 2),
        Claim("kind", "categorical", 3, categories=("a", "b", "c", "d")),
        Claim("kind=b", "binary", 3, 1),
    ]
    return x, y, claims


def pairs(
    found: Scores, taken: list[Claim], x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[dict[str, float], np.ndarray, np.ndarray]]:
    """Yield each score with the values that it comes from, complete rows only."""
    for column, claim in enumerate(taken):
        values = y[:, claim.hypothesis]
        rows = ~np.isnan(values)
        values = values[rows]
        if claim.category is not None:
            values = (values == claim.category).astype(float)
        assert found.inputs[column] == rows.sum()
        for neuron in range(x.shape[1]):
            fields = ("score", "low", "high", "p")
            one = {name: float(getattr(found, name)[neuron, column]) for name in fields}
            if neuron == 6:
                assert np.isnan(one["score"]) or one["score"] in (0.0, 0.5)
                continue
            yield one, x[rows, neuron].astype(np.float64), values


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
class TestAgainstReferences:
    def test_pearson(self, shape: str, missing: bool) -> None:
        x, y, claims = case(shape, missing)
        taken = [claims[0], claims[1], claims[2], claims[4]]
        found = scores(x, y, claims, ["pearson"], blocks=(50, 51, 130))["pearson"]
        for one, a, b in pairs(found, taken, x, y):
            peer = stats.pearsonr(a, b)
            interval = peer.confidence_interval(0.95)
            expected = [peer.statistic, interval.low, interval.high, peer.pvalue]
            assert list(one.values()) == pytest.approx(expected, **CLOSE)

    def test_spearman(self, shape: str, missing: bool) -> None:
        x, y, claims = case(shape, missing)
        taken = [claims[0], claims[1], claims[2], claims[4]]
        for one, a, b in pairs(scores(x, y, claims, ["spearman"])["spearman"], taken, x, y):
            peer = stats.spearmanr(a, b)
            assert [one["score"], one["p"]] == pytest.approx([peer.statistic, peer.pvalue], **CLOSE)
            assert one["low"] < one["score"] < one["high"]

    def test_differences(self, shape: str, missing: bool) -> None:
        x, y, claims = case(shape, missing)
        taken = [claims[0], claims[1], claims[4]]
        found = scores(x, y, claims, ["mean-difference", "cohens-d"], blocks=(7, 100))
        for one, a, b in pairs(found["mean-difference"], taken, x, y):
            peer = stats.ttest_ind(a[b == 1], a[b == 0])
            interval = peer.confidence_interval(0.95)
            expected = [a[b == 1].mean() - a[b == 0].mean(), interval.low, interval.high]
            assert [one[name] for name in ("score", "low", "high")] == pytest.approx(
                expected, **CLOSE
            )
            assert one["p"] == pytest.approx(peer.pvalue, **CLOSE)
        for one, a, b in pairs(found["cohens-d"], taken, x, y):
            ones, zeros = (b == 1).sum(), (b == 0).sum()
            peer = stats.ttest_ind(a[b == 1], a[b == 0])
            d = peer.statistic * np.sqrt(1 / ones + 1 / zeros)
            half = 1.959964 * np.sqrt((ones + zeros) / (ones * zeros) + d**2 / (2 * len(b)))
            assert list(one.values()) == pytest.approx(
                [d, d - half, d + half, peer.pvalue], **CLOSE
            )

    def test_auc(self, shape: str, missing: bool) -> None:
        x, y, claims = case(shape, missing)
        taken = [claims[0], claims[1], claims[4]]
        for one, a, b in pairs(scores(x, y, claims, ["auc"])["auc"], taken, x, y):
            test = stats.mannwhitneyu(
                a[b == 1], a[b == 0], method="asymptotic", use_continuity=False
            )
            expected = [metrics.roc_auc_score(b, a), test.pvalue]
            assert [one["score"], one["p"]] == pytest.approx(expected, **CLOSE)

    @pytest.mark.parametrize("quantile", [None, 0.05])
    def test_jaccard(self, shape: str, missing: bool, quantile: float | None) -> None:
        x, y, claims = case(shape, missing)
        taken = [claims[0], claims[1], claims[4]]
        found = scores(x, y, claims, ["jaccard"], quantile=quantile)["jaccard"]
        for one, a, b in pairs(found, taken, x, y):
            chosen = int(b.sum()) if quantile is None else int(quantile * len(a))
            top = a > sorted(a, reverse=True)[chosen]
            table = [
                [(top & (b == 1)).sum(), (top & (b == 0)).sum()],
                [(~top & (b == 1)).sum(), (~top & (b == 0)).sum()],
            ]
            test = stats.fisher_exact(table, alternative="greater")
            union = int((top | (b == 1)).sum())
            interval = stats.binomtest(table[0][0], union).proportion_ci(method="wilson")
            expected = [metrics.jaccard_score(b == 1, top), interval.low, interval.high]
            assert [one[name] for name in ("score", "low", "high")] == pytest.approx(
                expected, **CLOSE
            )
            assert one["p"] == pytest.approx(test.pvalue, **CLOSE)

    def test_mutual_information(self, shape: str, missing: bool) -> None:
        x, y, claims = case(shape, missing)
        found = scores(x, y, claims, ["mutual-information"])["mutual-information"]
        for one, a, b in pairs(found, claims, x, y):
            if len(np.unique(b)) > 4:
                b = binned(b)
            peer = metrics.mutual_info_score(binned(a), b)
            counts = metrics.cluster.contingency_matrix(binned(a), b)
            test = stats.chi2_contingency(counts, correction=False, lambda_="log-likelihood")
            assert [one["score"], one["p"]] == pytest.approx([peer, test.pvalue], **CLOSE)
            assert one["low"] <= one["score"] <= one["high"]


def binned(values: np.ndarray) -> np.ndarray:
    """Eight bins of equal frequency: a value's bin is that of the largest of its equals."""
    ordered = np.sort(values)
    edges = [ordered[-(-len(ordered) * part // 8) - 1] for part in range(1, 8)]
    return np.array([sum(value > edge for edge in edges) for value in values])


def test_what_cannot_be_scored() -> None:
    x = np.array([[1, 0, np.nan], [1, 1, 1], [1, 0, 2], [1, 1, 0]], np.float32)
    y = np.array([[0, 1, np.nan], [1, 1, np.nan], [0, 1, np.nan], [1, 1, np.nan]], float)
    found = scores(x, y, binary("fits", "always", "unknown"))
    for name, one in found.items():
        if one.score.shape[0] == 3:
            assert np.isnan(one.score[:, 1:]).all(), name
            assert np.isnan(one.score[2, 0]), name
        assert one.inputs.tolist() == [4, 4, 0]
    assert np.isnan(found["pearson"].score[0, 0])
    assert found["pearson"].score[1, 0] == pytest.approx(1)
    assert found["cohens-d"].score[1, 0] == np.inf
    assert [found[name].score[1, 0] for name in ("auc", "jaccard")] == [1, 1]
    assert found["mutual-information"].score[1, 0] == pytest.approx(np.log(2))


@pytest.mark.parametrize(("offset", "scale"), [(1e4, 1.0), (0.0, 1e-6), (-3e5, 10.0)])
def test_a_large_mean_costs_no_digits(offset: float, scale: float) -> None:
    random = np.random.default_rng(0)
    x = (random.normal(size=(500, 3)) * scale + offset).astype(np.float32)
    y = (x[:, :1] > np.median(x[:, 0])).astype(float)
    found = scores(x, y, binary("above"), ["pearson"], blocks=range(1, 500))["pearson"]
    peers = [stats.pearsonr(x[:, n].astype(float), y[:, 0]).statistic for n in range(3)]
    assert found.score[:, 0] == pytest.approx(peers, abs=1e-6)
