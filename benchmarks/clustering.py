"""Ours and scikit-learn side by side: exact k-means and silhouette in one dimension.

Values are those of a rectified neuron: a normal distribution cut off at 0. K-means is compared for
k from 2 to K together: one call of ours against one of `KMeans` with `n_init` starts for each k.
The silhouette is compared on our clusters. Rounds of the two are interleaved in one process;
printed are medians, the median over rounds of their ratio, and by how much the results differ.
scikit-learn's silhouette takes a distance for every pair: 60,000 values need about half a minute
for each k.

    python benchmarks/clustering.py [--values 60000] [--most 5] [--rounds 5] [--score 4]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from cleanai_onnx.importance import cluster, silhouette


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=60_000)
    parser.add_argument("--most", type=int, default=5, help="largest number of clusters")
    parser.add_argument("--starts", type=int, default=10, help="n_init of scikit-learn")
    parser.add_argument("--rounds", type=int, default=5, help="of k-means")
    parser.add_argument("--score", type=int, nargs="+", default=[4], help="k for the silhouette")
    parser.add_argument("--score-rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of scikit-learn; ours has one")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; python {platform.python_version()}, "
        f"numpy {np.__version__}, scikit-learn {sklearn.__version__}; {arguments.values:,} values, "
        f"scikit-learn on {arguments.threads} thread(s)"
    )
    with threadpool_limits(arguments.threads):
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Measure both on values of the size asked for."""
    values = np.maximum(np.random.default_rng(0).normal(1, 2, arguments.values), 0)
    compare_clusterings(values, arguments.most, arguments.starts, arguments.rounds)
    ordered = np.sort(values)
    for clustering in cluster(ordered, max(arguments.score))[1:]:
        if clustering.k in arguments.score:
            compare_scores(ordered, clustering.sizes, arguments.score_rounds)


def compare_clusterings(values: np.ndarray, most: int, starts: int, rounds: int) -> None:
    """Measure k-means and print the rows."""
    column = values[:, None]
    found: list[float] = []
    peers: list[float] = []

    def ours() -> None:
        found[:] = [clustering.inertia for clustering in cluster(values, most)[1:]]

    def theirs() -> None:
        peers[:] = [
            KMeans(k, n_init=starts, random_state=0).fit(column).inertia_
            for k in range(2, most + 1)
        ]

    measure(f"k-means, k = 2 to {most}, n_init {starts}", ours, theirs, rounds)
    excess = (peer / own - 1 for own, peer in zip(found, peers, strict=True))
    print("  inertia of scikit-learn over ours:", *(f"{each:+.1e}" for each in excess))


def compare_scores(ordered: np.ndarray, sizes: np.ndarray, rounds: int) -> None:
    """Measure the silhouette and print the rows."""
    column, labels = ordered[:, None], np.repeat(np.arange(len(sizes)), sizes)
    own: list[float] = []
    peer: list[float] = []
    measure(
        f"silhouette, k = {len(sizes)}",
        lambda: own.append(silhouette(ordered, sizes)),
        lambda: peer.append(float(silhouette_score(column, labels))),
        rounds,
    )
    print(f"  difference {abs(own[-1] - peer[-1]):.1e}")


def measure(
    title: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> None:
    """Time the two in turn and print a row."""
    ours()
    times = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    own, peer = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(f"{title}: ours {own:,.1f} ms, scikit-learn {peer:,.1f} ms, {ratio:,.0f} times as long")


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
