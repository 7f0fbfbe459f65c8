"""The 10,000 MNIST digits and the split of them that the bundled models keep to.

The split stands in ``split.json``: the sorted indices of the 2,000 test digits; all others are for
training. Neither file needs torch, so that tests can check the split without it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
DEFAULT_DATA = HERE.parent.parent / "shared" / "real" / "mnist_10k.npz"
SPLIT = HERE / "split.json"


class Digits(NamedTuple):
    """Images (N, 28, 28) uint8, labels (N,) uint8, and the two disjoint, sorted index arrays."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def sha256(array: NDArray[Any]) -> str:
    """SHA-256 of an array's bytes in C order, little-endian."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


def load(data: Path = DEFAULT_DATA, split: Path = SPLIT) -> Digits:
    """Read the digits and their split, and refuse any other data than the split was made for.

    Parameters
    ----------
    data : pathlib.Path
        An ``.npz`` with ``images`` (10000, 28, 28) uint8 and ``labels`` (10000,) uint8.
    split : pathlib.Path
        ``split.json``.

    Raises
    ------
    ValueError
        If the images, the labels or the indices have another SHA-256 than the split file says.
    """
    with np.load(data, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    written = json.loads(split.read_text(encoding="utf-8"))
    test = np.array(written["test_indices"], dtype=np.int64)
    train = np.setdiff1d(np.arange(len(images), dtype=np.int64), test)
    digests = {"images": images, "labels": labels, "train_indices": train, "test_indices": test}
    for name, array in digests.items():
        if sha256(array) != written["sha256"][name]:
            raise ValueError(f"{data}: the SHA-256 of the {name} is not the one in {split.name}")
    return Digits(images, labels, train, test)
