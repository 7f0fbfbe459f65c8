"""The sample depends on what the images contain, not on their order or on how they were split."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.profiles.sample import Sample, Sampler, image_keys
from tests.coverage.suites import thorough


def sampled(images: np.ndarray, capacity: int, batch: int) -> Sample:
    sampler = Sampler(capacity, {"layer": 3})
    for first in range(0, len(images), batch):
        part = images[first : first + batch]
        classes = part[:, 0].astype(np.int64)
        sampler.add(image_keys(part), classes, classes % 2, {"layer": part})
    return sampler.sample()


def same(a: Sample, b: Sample) -> None:
    for name in ("keys", "classes", "labels"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.traces["layer"], b.traces["layer"])


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 60),
    st.integers(1, 20),
    st.integers(1, 7),
    st.integers(0, 60),
)
@thorough(100)
def test_order_batches_and_parts_do_not_matter(
    seed: int, count: int, capacity: int, batch: int, split: int
) -> None:
    random = np.random.default_rng(seed)
    # Few different values, so that some images are there twice.
    images = random.integers(0, 3, (count, 3)).astype(np.float32)
    whole = sampled(images, capacity, batch)
    assert len(whole) == min(capacity, count)
    same(whole, sampled(random.permutation(images), capacity, 5))
    parts = [sampled(part, capacity, batch) for part in (images[:split], images[split:])]
    same(whole, parts[0].merged(parts[1]))
    same(whole, parts[1].merged(parts[0]))


def test_a_sample_is_uniform() -> None:
    images = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    kept = sampled(images, 500, 100).traces["layer"][:, 0] / 3
    # Half of 1,000: the mean of a uniform sample has a standard error of 9.
    assert abs(kept.mean() - 499.5) < 40
    assert len(np.unique(kept)) == 500
