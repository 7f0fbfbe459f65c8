"""Combinations of the clusters of important neurons, as numbers in mixed radix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import UsageError
from cleanai_onnx.importance import UNKNOWN, ImportantNeuron, nearest

__all__ = ["combinations_of", "require_few"]

MOST_COMBINATIONS = 2**62


def combinations_of(
    neurons: Sequence[ImportantNeuron],
    columns: Sequence[int],
    values: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the number of the combination that each input covers, and whether it covers one.

    Parameters
    ----------
    neurons
        The first has the most significant digit.
    columns
        Whose activations are looked up in the clusters of each neuron: as a rule its own.
    values
        ``(B, C)`` float32, the neurons of the layer.

    Returns
    -------
    array, array
        ``(B,)`` int64, and booleans: an activation that is not a number is in no cluster.
    """
    number = np.zeros(len(values), np.int64)
    known = np.ones(len(values), np.bool_)
    for neuron, column in zip(neurons, columns, strict=True):
        clusters = nearest(neuron.centroids, values[:, column])
        number = number * len(neuron.centroids) + clusters
        known &= clusters != UNKNOWN
    return number, known


def require_few(m: int, neurons: Sequence[ImportantNeuron]) -> None:
    """Refuse more combinations than can be numbered.

    Raises
    ------
    UsageError
        If there are.
    """
    combinations = math.prod(len(neuron.centroids) for neuron in neurons)
    if combinations > MOST_COMBINATIONS:
        raise UsageError(
            f"--important {m}: {combinations:.1e} combinations are too many: choose fewer neurons "
            "or --clusters.",
            slug="memory",
        )
