"""Workers that do their jobs in this process, one at a time, and profiles that should be equal."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cleanai_onnx import Profile
from cleanai_onnx.spread import shard, spreading

LOCK = threading.Lock()


def work_here(patch: pytest.MonkeyPatch, dies: Callable[[shard.Job], bool] | None = None) -> None:
    """Let the workers of `--workers` be calls; those of whose job `dies` is true do nothing."""

    def attempt(
        self: spreading.Processes, job: shard.Job, report: Callable[[int], None]
    ) -> spreading.Outcome | str:
        if dies is not None and dies(job):
            return "signal 9"
        with LOCK:
            message = shard.attempt(job, lambda said: report(said["done"]))
        # As the pipe would carry it.
        return spreading.outcome_of(json.loads(json.dumps(message)))

    patch.setattr(spreading.Processes, "attempt", attempt)


def assert_same(ours: Profile, one: Profile) -> None:
    """All is equal but for the rounding of floating-point sums."""
    assert replace(ours.facts, started="") == replace(one.facts, started="")
    for name in ("count", "low", "high"):
        np.testing.assert_array_equal(getattr(ours.moments, name), getattr(one.moments, name))
    np.testing.assert_allclose(ours.moments.mean, one.moments.mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.moments.squares, one.moments.squares, rtol=1e-5, atol=1e-9)
    for name in ("keys", "classes", "labels"):
        np.testing.assert_array_equal(getattr(ours.sample, name), getattr(one.sample, name))
    for layer, traces in one.sample.traces.items():
        np.testing.assert_array_equal(ours.sample.traces[layer], traces)
    assert (ours.relevance is None) == (one.relevance is None)
    if ours.relevance is not None and one.relevance is not None:
        np.testing.assert_array_equal(ours.relevance.images, one.relevance.images)
        for layer, sums in one.relevance.sums.items():
            np.testing.assert_allclose(ours.relevance.sums[layer], sums, rtol=1e-4, atol=1e-6)
