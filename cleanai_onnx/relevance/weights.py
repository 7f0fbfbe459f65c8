"""The weights of a walk back, in the forms that its rules use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cleanai_onnx.relevance.plan import LinearStep, Step

__all__ = ["prepared_weights"]

_MOST_THREADS = 4


def prepared_weights(steps: Sequence[Step], threads: int | None = None) -> list[Any]:
    """Return `LinearStep.prepared` of each step, None for other steps.

    Numpy copies without Python's lock, so that the threads work at the same time.
    """
    workers = min(threads or os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(_prepared, steps))


def _prepared(step: Step) -> Any:
    return step.prepared() if isinstance(step, LinearStep) else None
