"""The five ResNets: what is tapped is what CleanAI counts, and its last calls are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import architectures
from cleanai_onnx.graph import find_image_input, find_taps, load_model

COUNTS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "cleanai" / "resnet_counts.json").read_text()
)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_counts(depth: int) -> None:
    expected = COUNTS[str(depth)]
    model = load_model(architectures.resnet(depth, seed=None))
    image_input = find_image_input(model)

    def layers(select: str) -> Any:
        return find_taps(model, image_input, (1, 3, 224, 224), (select,)).layers

    every, last = layers("activations"), layers("last-call")
    assert len(every) == expected["relu_calls"]
    assert sum(layer.units for layer in every) == expected["neurons_all_calls"]
    assert len(last) == expected["relu_modules"]
    assert sum(layer.units for layer in last) == expected["neurons_last_call"]
