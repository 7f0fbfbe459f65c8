"""Important neurons: the most relevant ones, and the clusters of their activations."""

from cleanai_onnx.importance.clustering import Clustering, cluster
from cleanai_onnx.importance.neurons import (
    UNKNOWN,
    ImportantNeuron,
    important_neurons,
    nearest,
)
from cleanai_onnx.importance.silhouette import silhouette

__all__ = [
    "UNKNOWN",
    "Clustering",
    "ImportantNeuron",
    "cluster",
    "important_neurons",
    "nearest",
    "silhouette",
]
