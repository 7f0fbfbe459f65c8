"""Networks whose channels are known to compute certain concepts."""

from __future__ import annotations

import numpy as np
import onnx

from tests.cli.material import build, node


def network(order: list[int], size: int) -> onnx.ModelProto:
    """Return a network whose k-th channel passes the input's channel ``order[k]`` on, rectified.

    A second layer of as many channels computes mixtures of them, for which nothing was planted.
    """
    count = len(order)
    passed = np.zeros((count, count, 1, 1), np.float32)
    passed[range(count), order] = 1
    mixed = np.random.default_rng(0).normal(size=(count, count, 3, 3)).astype(np.float32)
    return build(
        [
            node("Conv", ["x", "passed"], ["c1"]),
            node("Relu", ["c1"], ["planted"]),
            node("Conv", ["planted", "mixed"], ["c2"], pads=[1, 1, 1, 1]),
            node("Relu", ["c2"], ["mixture"]),
        ],
        {"passed": passed, "mixed": mixed},
        inputs={"x": ("N", count, size, size)},
    )


def pictures(
    seed: int, images: int, concepts: int, size: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs ``(images, concepts, size, size)``, and which concepts each of them shows.

    Channel k is brighter by one, on average, where concept k is; the mean of the noise over a
    channel stays below half of that.
    """
    random = np.random.default_rng(seed)
    shows = random.random((images, concepts)) < random.uniform(0.2, 0.8, concepts)
    shows[0], shows[1] = True, False
    x = random.uniform(0, noise, (images, concepts, size, size)) + shows[:, :, None, None]
    return x.astype(np.float32), shows


def mlp(seed: int, inputs: int, hidden: int) -> onnx.ModelProto:
    """Return a random network with a hidden layer."""
    random = np.random.default_rng(seed)
    weights = {
        "w": random.normal(size=(inputs, hidden)).astype(np.float32),
        "v": random.normal(size=(hidden, 3)).astype(np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["hidden"]),
        node("MatMul", ["hidden", "v"], ["y"]),
    ]
    return build(nodes, weights, inputs={"x": ("N", inputs)})
