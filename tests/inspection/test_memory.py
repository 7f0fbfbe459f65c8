"""Memory does not grow with the number of images."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np

from cleanai_onnx import inspect_models
from cleanai_onnx.inspection import Function
from tests.inspection.planted import mlp


def batches(count: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.normal(size=(64, 6)).astype(np.float32)


def peak(count: int) -> int:
    tracemalloc.start()
    try:
        inspect_models(
            mlp(0, 6, 400), batches(count),
            [Function("first", lambda batch: batch[:, 0]),
             Function("positive", lambda batch: batch[:, 1] > 0, "binary")],
            ["pearson", "spearman", "auc"], keep=200, batch_size=64,
        )  # fmt: skip
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_flat() -> None:
    peak(4)  # what is imported and compiled once
    assert peak(200) < 1.2 * peak(20)
