"""Small classifiers of 8 x 8 gray images, ready to be searched."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from cleanai_onnx import graph
from cleanai_onnx.exploration.search import Outcome, Rules, Seeds, run, searcher
from cleanai_onnx.exploration.searched import SearchedModel, prepare
from cleanai_onnx.exploration.space import PIXELS, View
from tests.cli.material import build, node

SIZE, HIDDEN, CLASSES = 8, 5, 3


def weights(seed: int) -> dict[str, np.ndarray]:
    """Return those of two classifiers that mostly agree, but not everywhere."""
    common, own = np.random.default_rng(7), np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return (common.standard_normal(shape) + 0.3 * own.standard_normal(shape)).astype(np.float32)

    return {"w": normal(SIZE**2, HIDDEN) / 8, "b": normal(HIDDEN), "v": normal(HIDDEN, CLASSES)}


def classifier(seed: int, activation: str = "Tanh", *, softmax: bool = False) -> onnx.ModelProto:
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["h"]),
        node(activation, ["h"], ["a"]),
        node("MatMul", ["a", "v"], ["y"]),
    ]
    if softmax:
        nodes.append(node("Softmax", ["y"], ["p"]))
    return build(nodes, weights(seed))


def lowered(
    proto: onnx.ModelProto, batch: int, layers: tuple[Any, ...] = (), *, waking: bool = True
) -> SearchedModel:
    model = graph.load_model(proto)
    image_input = graph.find_image_input(model)
    view = View(channels_first=True)
    shape = (batch, 1, SIZE, SIZE)
    return prepare(model, image_input, shape, view, layers, waking=waking)


def layers_of(proto: onnx.ModelProto) -> tuple[Any, ...]:
    model = graph.load_model(proto)
    return graph.find_taps(model, graph.find_image_input(model), (1, 1, SIZE, SIZE)).layers


def images(count: int, seed: int = 0) -> np.ndarray:
    """Return points ``(count, 8, 8, 1)``."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 1))
    return (pixels / 255).astype(np.float32)


def seeds_of(points: np.ndarray, goals: tuple[Any, ...] = (), padding: int = 0) -> Seeds:
    count = len(points)
    padded = np.concatenate([points, np.repeat(points[-1:], padding, axis=0)])
    numbers = np.minimum(np.arange(count + padding), count - 1).astype(np.int32)
    return Seeds(padded, np.zeros(len(padded), np.int32), numbers, goals, np.int32(count))


def search(
    models: tuple[SearchedModel, ...], rules: Rules, seeds: Seeds, batch: int, chance: int = 0
) -> Outcome:
    outcome, finished = run(
        searcher(models, rules, PIXELS), tuple(model.weights for model in models), seeds, batch,
        chance, lambda: False, lambda _: None,
    )  # fmt: skip
    assert finished
    return outcome
