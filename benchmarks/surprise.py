"""Distance-based surprise beside the products of matrices that it cannot do without.

The limit are the BLAS products (numpy, float32) of the very searches: of the test traces with the
training traces of their class, and of the neighbours so found with all training traces. The peer
takes differences in a loop over the test traces, as the papers' programs do; it is measured on a
slice and extrapolated openly. All are interleaved in one process.

    python benchmarks/surprise.py [--test 10000] [--train 50000] [--columns 128] [--rounds 3]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from cleanai_onnx.surprise import ClassDensity, NearestTraces

CLASSES = 10
SLICE = 50
BLOCK = 256
BATCH = 32


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def traces_of(rng: np.random.Generator, count: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rectified values around one centre for each class, and the classes."""
    classes = rng.integers(0, CLASSES, count)
    centres = np.random.default_rng(7).normal(size=(CLASSES, columns))
    values = centres[classes] + rng.normal(size=(count, columns))
    return np.maximum(values, 0).astype(np.float32), classes


def products(train: np.ndarray, test: np.ndarray) -> None:
    """Multiply all training traces with blocks of test traces, and do nothing with it."""
    buffer = np.empty((len(train), BLOCK), np.float32)
    for first in range(0, len(test), BLOCK):
        block = test[first : first + BLOCK]
        np.matmul(train, block.T, out=buffer[:, : len(block)])


def loops(train: np.ndarray, classes: np.ndarray, test: np.ndarray, predicted: np.ndarray) -> None:
    """Search as the papers' programs do."""
    for x, label in zip(test, predicted, strict=True):
        own, others = train[classes == label], train[classes != label]
        nearest = own[np.linalg.norm(own - x, axis=1).argmin()]
        np.linalg.norm(others - nearest, axis=1).min()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    train, classes = traces_of(rng, arguments.train, arguments.columns)
    test, predicted = traces_of(rng, arguments.test, arguments.columns)
    print(
        f"{platform.machine()}, numpy {np.__version__}; {arguments.test:,} test x "
        f"{arguments.train:,} training traces of {arguments.columns}"
    )
    limits, ours, batches, peers = [], [], [], []
    parts = [slice(first, first + BATCH) for first in range(0, len(test), BATCH)]
    for _ in range(arguments.rounds):
        whole, parted = NearestTraces(train, classes), NearestTraces(train, classes)
        ours.append(seconds(partial(whole.surprise, test, predicted)))
        # A neighbour is looked at once, however many test traces have it.
        neighbours = test[: whole.neighbours]
        limits.append(
            seconds(partial(products, train, neighbours))
            + sum(
                seconds(partial(products, train[classes == label], test[predicted == label]))
                for label in range(CLASSES)
            )
        )
        batches.append(sum(seconds(partial(parted.surprise, test[p], predicted[p])) for p in parts))
        few = partial(loops, train, classes, test[:SLICE], predicted[:SLICE])
        peers.append(seconds(few) * len(test) / SLICE)
    limit = statistics.median(limits)
    for name, times in (
        ("limit: the products of both searches", limits),
        ("ours, in one call", ours),
        (f"ours, in batches of {BATCH}", batches),
        (f"peer: differences in a loop (from {SLICE} traces)", peers),
    ):
        median = statistics.median(times)
        print(f"  {name:52} {median:8.2f} s   {median / limit:6.2f}")
    own = train[classes == 0]
    density = ClassDensity.of(own)
    assert density is not None
    of_class = test[predicted == 0]
    taken = seconds(lambda: density.surprise(of_class))
    print(f"  lsa and mdsa of {len(of_class):,} traces, {len(own):,} of their class: {taken:.2f} s")


if __name__ == "__main__":
    main()
