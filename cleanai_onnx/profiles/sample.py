"""Activation traces of a bounded number of training images, chosen by what the images contain.

Each image has a key: a hash of its values as they are fed. A sample of capacity c keeps the images
with the c smallest keys (bottom-k sampling: Cohen and Kaplan, Summarizing data using bottom-k
sketches, PODC 2007). Hashes are as good as random, so this is a uniform sample without replacement;
and it depends neither on the order of the images nor on how they were split, so that samples merge
into the very sample of one pass. Where there are at most c images, all of them are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx.container import array_in, arrays_in

__all__ = ["UNLABELLED", "Sample", "Sampler", "image_keys"]

UNLABELLED = -1
"""The label of an image whose class is not known."""


def image_keys(batch: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """Return the key of each input of a batch ``(B, ...)``, as ``(B,)`` uint64."""
    rows = [
        hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest()
        for row in batch
    ]
    return np.frombuffer(b"".join(rows), "<u8").astype(np.uint64)


@dataclass(frozen=True, eq=False)
class Sample:
    """Traces of the images in the sample, n of them.

    Attributes
    ----------
    capacity
        How many images are kept at most.
    keys
        ``(n,)`` uint64.
    classes, labels
        ``(n,)`` int64: the class that the model predicted (0 where it has none), and the true one
        (`UNLABELLED` where it is not known).
    traces
        For each traced layer ``(n, C)`` float32, the values of its channels.
    """

    capacity: int
    keys: npt.NDArray[np.uint64]
    classes: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    traces: Mapping[str, npt.NDArray[np.float32]]

    @staticmethod
    def none(capacity: int, channels: Mapping[str, int]) -> Sample:
        """Return the empty sample of layers with so many channels; the identity of `merged`."""
        return Sample(
            capacity,
            np.zeros(0, np.uint64),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            {name: np.zeros((0, count), np.float32) for name, count in channels.items()},
        )

    def __len__(self) -> int:
        return len(self.keys)

    def stored(self) -> dict[str, Any]:
        """Return the arrays by name, for `restored`."""
        return {
            "keys": self.keys,
            "classes": self.classes,
            "labels": self.labels,
            "traces": list(self.traces.values()),
        }

    @staticmethod
    def restored(tree: Mapping[str, Any], capacity: int, channels: Mapping[str, int]) -> Sample:
        """Return the sample of such layers that `stored` took apart.

        Raises
        ------
        UnfitError
            If the tree is not of such a sample.
        """
        keys = array_in(tree, "keys", np.uint64, None)
        shapes = [(len(keys), count) for count in channels.values()]
        traces = arrays_in(tree, "traces", np.float32, shapes)
        return Sample(
            capacity,
            keys,
            array_in(tree, "classes", np.int64, len(keys)),
            array_in(tree, "labels", np.int64, len(keys)),
            dict(zip(channels, traces, strict=True)),
        )

    def merged(self, *others: Sample) -> Sample:
        """Return the sample of all together, in the order of the keys."""
        return joined(self.capacity, (self, *others))


def joined(capacity: int, parts: Sequence[Sample]) -> Sample:
    """Return the sample of what the parts are samples of, in the order of the keys."""
    keys = np.concatenate([part.keys for part in parts])
    # Of images with one key all that is kept of them is the same, but for what they are labelled.
    labels = np.concatenate([part.labels for part in parts])
    kept = np.lexsort((labels, keys))[:capacity]
    return Sample(
        capacity,
        keys[kept],
        np.concatenate([part.classes for part in parts])[kept],
        labels[kept],
        {
            name: np.concatenate([part.traces[name] for part in parts])[kept]
            for name in parts[0].traces
        },
    )


class Sampler:
    """Gathers a sample batch by batch; what it holds is at most about twice the capacity."""

    def __init__(self, capacity: int, channels: Mapping[str, int]) -> None:
        self._parts = [Sample.none(capacity, channels)]
        self._rows = 0
        self._capacity = capacity

    def add(
        self,
        keys: npt.NDArray[np.uint64],
        classes: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int64],
        traces: Mapping[str, npt.NDArray[np.float32]],
    ) -> None:
        """Offer the images of a batch."""
        self._parts.append(Sample(self._capacity, keys, classes, labels, dict(traces)))
        self._rows += len(keys)
        if self._rows > 2 * self._capacity:
            self.sample()

    def restore(self, sample: Sample) -> None:
        """Go on from what `sample` returned."""
        self._parts, self._rows = [sample], len(sample)

    def sample(self) -> Sample:
        """Return the sample of what was offered so far."""
        self._parts = [joined(self._capacity, self._parts)]
        self._rows = len(self._parts[0])
        return self._parts[0]
