"""Intervals and corrected p-values against scipy, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cleanai_onnx.inspection.scores import (
    Confidence,
    benjamini_hochberg,
    fisher_interval,
    wilson_interval,
)
from tests.coverage.suites import thorough


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
@thorough(60)
def test_wilson(counts: tuple[int, int]) -> None:
    trials, hits = counts
    peer = stats.binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(np.array(hits / trials), np.array(float(trials)), Confidence())
    assert [float(low), float(high)] == pytest.approx([peer.low, peer.high], abs=1e-9)


def test_an_interval_of_everything_has_no_width() -> None:
    confidence = Confidence(1e-6, population=50)
    seen = confidence.effective(np.array([10, 49, 50]))
    assert seen[0] == pytest.approx(10 * 49 / 40)
    assert np.isinf(seen[2])
    low, high = wilson_interval(np.full(3, 0.3), seen, confidence)
    assert low[2] == high[2] == pytest.approx(0.3)
    assert (np.diff(high - low) < 0).all()
    low, high = fisher_interval(np.full(3, 0.3), seen, confidence)
    assert low[2] == high[2] == pytest.approx(0.3)


@pytest.mark.parametrize("r", [-1.0, 1.0])
def test_a_perfect_correlation_has_an_interval(r: float) -> None:
    low, high = fisher_interval(np.array([r]), np.array([20.0]), Confidence())
    assert (low[0], high[0]) == (r, r)


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=30))
@thorough(60)
def test_benjamini_hochberg(numbers: list[float]) -> None:
    p = np.array(numbers)
    found = benjamini_hochberg(p)
    tests = sorted(one for one in numbers if one == one)
    for one, adjusted in zip(numbers, found, strict=True):
        if one != one:
            assert np.isnan(adjusted)
            continue
        # The smallest n p / rank among the p-values no smaller.
        expected = min(len(tests) * p / (rank + 1) for rank, p in enumerate(tests) if p >= one)
        assert adjusted == pytest.approx(min(expected, 1), abs=1e-12)


def test_fewer_discoveries_are_false_than_said() -> None:
    """Of the discoveries at q = 0.1, about a tenth at most are false, over 200 experiments."""
    random = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        z = random.normal(size=100)
        z[:20] += 3
        q = benjamini_hochberg(2 * stats.norm.sf(np.abs(z)))
        found = np.flatnonzero(q <= 0.1)
        shares.append((found >= 20).mean() if len(found) else 0.0)
    assert np.mean(shares) < 0.1
