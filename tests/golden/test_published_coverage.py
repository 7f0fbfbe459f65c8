"""Neuron and top-k coverage of published LeNets: Table 4 of the paper on IDC, exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import cleanai_onnx

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "idc"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/idc is not here")
LAYERS = ("Relu", "MaxPool", "Softmax")
"""The layers of the authors' Keras models; their LeNet-5 has one of its own before the softmax."""


@pytest.mark.parametrize(
    ("model", "taps"), [("di_lenet1", LAYERS), ("di_lenet5", (*LAYERS, "logits"))]
)
def test_anchors(model: str, taps: tuple[str, ...]) -> None:
    text = (GOLDEN / "json" / "anchors_nc_tknc.json").read_text(encoding="utf-8")
    expected = json.loads(text)[model]
    proto = onnx.load(GOLDEN / "models" / f"{model}.logits.onnx")
    proto.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["classes"], axis=-1))
    proto.graph.output[0].name = "classes"
    images = np.load(GOLDEN / "data" / "mnist_test10k_recovered.npz")["X"]
    result = cleanai_onnx.analyze(
        proto.SerializeToString(),
        (images.reshape(-1, 1, 28, 28) / 255).astype(np.float32),
        taps=taps,
        batch_size=500,
    )
    for metric, field, percent in (
        ("nc-suite-scaled", "NC_075", "paper_NC"),
        ("tknc-suite", "TKNC3", "paper_TKNC"),
    ):
        table = result.table(metric, "channel")
        assert table.total is not None
        assert list(table.total[1:3]) == expected[field]
        assert table.coverage is not None
        # The paper cuts its figures off after one digit.
        assert int(table.coverage * 1000 + 1e-9) / 10 == expected[percent]
