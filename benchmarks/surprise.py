"""Distance-based surprise beside the products of matrices that it cannot do without.

The limit are the BLAS products (numpy, float32) of the very searches: of the test traces with the
training traces of their class, and of the neighbours so found with all training traces; once in
large blocks, and once in the small batches in which a model is run. An analysis gathers its images
until they are as many as one search should have. The peer
takes differences in a loop over the test traces, as the papers' programs do; it is measured on a
slice and extrapolated openly. All are interleaved in one process; printed are medians of the times,
and of the ratios within a round.

    python benchmarks/surprise.py [--test 10000] [--train 50000] [--columns 128] [--classes 10]
        [--processor-time]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from cleanai_onnx.measuring.gathering import MOST_ROWS
from cleanai_onnx.surprise import ClassDensity, NearestTraces

SLICE = 50
BLOCK = 256
BATCH = 32


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how long a call takes."""
    start = clock()
    call()
    return clock() - start


def traces_of(
    rng: np.random.Generator, count: int, columns: int, kinds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rectified values around one centre for each class, and the classes."""
    classes = rng.integers(0, kinds, count)
    centres = np.random.default_rng(7).normal(size=(kinds, columns))
    values = centres[classes] + rng.normal(size=(count, columns))
    return np.maximum(values, 0).astype(np.float32), classes


def products(train: np.ndarray, test: np.ndarray, block: int) -> None:
    """Multiply all training traces with blocks of test traces, and do nothing with it."""
    buffer = np.empty(len(train) * block, np.float32)
    for first in range(0, len(test), block):
        some = test[first : first + block]
        out = buffer[: len(train) * len(some)].reshape(len(train), len(some))
        np.matmul(train, some.T, out=out)


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
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="of all threads, where others use the machine too: with OPENBLAS_NUM_THREADS=1, and "
        "taskset to one core, because threads of BLAS wait for each other at full speed",
    )
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    rng = np.random.default_rng(0)
    train, classes = traces_of(rng, arguments.train, arguments.columns, arguments.classes)
    test, predicted = traces_of(rng, arguments.test, arguments.columns, arguments.classes)
    print(
        f"{platform.machine()}, load {os.getloadavg()[0]:.1f}, numpy {np.__version__}; "
        f"{arguments.test:,} test x {arguments.train:,} training traces of {arguments.columns} "
        f"in {arguments.classes:,} classes"
    )
    own = [(train[classes == one], test[predicted == one]) for one in range(arguments.classes)]
    parts = [slice(first, first + BATCH) for first in range(0, len(test), BATCH)]
    gathered = [slice(first, first + MOST_ROWS) for first in range(0, len(test), MOST_ROWS)]
    limit, small = "limit: the products of both searches", f"limit in batches of {BATCH}"
    times: dict[str, list[float]] = {}
    taken_by = partial(seconds, clock=clock)

    def add(name: str, taken: float) -> None:
        times.setdefault(name, []).append(taken)

    for p in (slice(None), *gathered, parts[0]):  # compiles
        NearestTraces(train, classes).surprise(test[p], predicted[p])
    for _ in range(arguments.rounds):
        whole, parted = NearestTraces(train, classes), NearestTraces(train, classes)
        add("ours, in one call", taken_by(partial(whole.surprise, test, predicted)))
        # A neighbour is looked at once, however many test traces have it.
        neighbours = test[: whole.neighbours]
        taken = taken_by(partial(products, train, neighbours, BLOCK))
        add(limit, taken + sum(taken_by(partial(products, *pair, BLOCK)) for pair in own))
        some = NearestTraces(train, classes)
        ours = [taken_by(partial(some.surprise, test[p], predicted[p])) for p in gathered]
        add(f"ours, gathered to {MOST_ROWS:,} as in an analysis", sum(ours))
        ours = [taken_by(partial(parted.surprise, test[p], predicted[p])) for p in parts]
        add(f"ours, in batches of {BATCH}", sum(ours))
        # A batch has a few traces of each class.
        few = max(BATCH // arguments.classes, 1)
        taken = taken_by(partial(products, train, neighbours, BATCH))
        add(small, taken + sum(taken_by(partial(products, *pair, few)) for pair in own))
        call = partial(loops, train, classes, test[:SLICE], predicted[:SLICE])
        add(f"peer: differences in a loop (from {SLICE})", taken_by(call) * len(test) / SLICE)
    for name, each in times.items():
        against = small if "batches" in name else limit
        ratio = statistics.median(a / b for a, b in zip(each, times[against], strict=True))
        print(f"  {name:45} {statistics.median(each):8.2f} s   {ratio:6.2f}")
    traces, queries = own[0]
    density = ClassDensity.of(traces)
    assert density is not None
    taken = taken_by(lambda: density.surprise(queries))
    print(f"  lsa and mdsa of {len(queries):,}, {len(traces):,} of their class: {taken:.2f} s")


if __name__ == "__main__":
    main()
