"""A profiler that is fed a suite, and finds the labels of its images by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx import inputs
from cleanai_onnx.profiles.labels import Labels, find_labels
from cleanai_onnx.profiles.learning import Profiler

__all__ = ["LabelledProfiler"]


class LabelledProfiler:
    """Gives a profiler the labels of images; `Resumable` for `cleanai_onnx.measuring.resuming`.

    Parameters
    ----------
    profiler
    suite
        All images, also where a part of them is fed: names of folders are classes in the order
        that they have among all.
    wanted
        See `cleanai_onnx.learn`.

    Attributes
    ----------
    labels
        Those that were found, once it is started.
    remarks
        Why there are none.
    """

    def __init__(self, profiler: Profiler, suite: inputs.Suite, wanted: str | Path) -> None:
        self._profiler, self._suite, self._wanted = profiler, suite, wanted
        self.record = profiler.record
        self.labels = Labels({}, "none")
        self.remarks: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int:
        """How many inputs it takes at once, after `prepare`."""
        return self._profiler.batch_size

    def prepare(self, item_shape: Sequence[int], most: int | None = None) -> None:
        """Get to know the shape of one input, and how many there will be at most."""
        self._profiler.prepare(item_shape, most)

    def start(self) -> None:
        """Start the profiler, and find the labels."""
        self._profiler.start()
        names = [self._suite.name(index) for index in range(len(self._suite))]
        self.labels, why = find_labels(
            self._wanted, names, self._profiler.classes, self._suite.table
        )
        self._profiler.labelled = bool(self.labels.numbers)
        if why and str(self._wanted) != "none":
            self.remarks = (f"images have no labels: {why}",)

    def stored(self) -> dict[str, Any]:
        """Return what was learnt so far, for another to `resume` from."""
        return self._profiler.stored()

    def resume(self, tree: Mapping[str, Any]) -> None:
        """Go on from what `stored` returned; see `Profiler.resume`."""
        self._profiler.resume(tree)

    def update(
        self, batch: np.ndarray, names: Sequence[str] | None, indexes: Sequence[int] | None
    ) -> None:
        """Learn from a batch of images."""
        self._profiler.update(batch, self.labels.of(names or ()))
