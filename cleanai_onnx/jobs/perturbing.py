"""Perturbing the seeds of an exploration instead of searching from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cleanai_onnx import graph
from cleanai_onnx.exploration import perturbations
from cleanai_onnx.exploration.perturbations import Perturbation
from cleanai_onnx.exploration.searched import SearchedModel
from cleanai_onnx.jobs.seeding import Points, SeedImages

__all__ = ["Perturber"]


class Perturber:
    """Perturbs batches of seeds.

    Parameters
    ----------
    model, searched, weights
        The model, and it lowered for batches of `batch` seeds.
    seeds
        How points become its inputs.
    kind, strength, share
        What is done to an image; how much, as a part of the range of values; and to which part of
        its pixels.
    input_values
        Text for further inputs of the model.
    seed
        What noise is drawn by, with the number of each image.
    """

    def __init__(
        self,
        model: graph.Model,
        searched: SearchedModel,
        weights: Any,
        seeds: SeedImages,
        *,
        kind: Perturbation,
        strength: float,
        share: float,
        batch: int,
        input_values: Mapping[str, str],
        seed: int,
    ) -> None:
        self._seeds, self._kind, self._share, self._seed = seeds, kind, share, seed
        space = seeds.space
        self._low, self._high = space.low, space.high
        self._amount = strength * (space.high - space.low)
        self._batch, self._weights = batch, weights
        if kind == "relevant":
            from cleanai_onnx.relevance import Explainer

            self._explainer = Explainer(
                model,
                composite="epsilon",
                batch_size=batch,
                input_name=searched.image_input,
                input_values=input_values,
                fallback="gradient",
            )
        elif kind in ("fgsm", "bim"):
            self._gradient = perturbations.loss_gradient(lambda x, w: searched(w, x)[0])

    def __call__(self, points: Points, classes: Sequence[int], numbers: Sequence[int]) -> Points:
        """Return the images after the perturbation.

        Parameters
        ----------
        points
            ``(n, ...)``, the seeds.
        classes
            What the model predicts for them: the attacks move away from it.
        numbers
            Of the seeds in the suite.
        """
        if self._kind in ("fgsm", "bim"):
            return self._attacked(points, np.asarray(classes, np.int32))
        chances = [np.random.default_rng((self._seed, number)) for number in numbers]
        masks = self._masks(points, chances)
        return np.concatenate(
            [
                perturbations.noisy(
                    points[i : i + 1], mask, self._amount, chance, self._low, self._high
                )
                for i, (mask, chance) in enumerate(zip(masks, chances, strict=True))
            ]
        )

    def _masks(self, points: Points, chances: Sequence[np.random.Generator]) -> list[Any]:
        if self._kind == "gaussian":
            return [True] * len(points)
        planes = points.shape[:3] if points.ndim == 4 else points.shape
        if self._kind == "relevant":
            relevance = self._explainer.explain(self._seeds.inputs(points, 0)).relevance
            if self._seeds.views[0].channels_first:
                relevance = np.moveaxis(relevance, 1, -1)
            if points.ndim == 4:
                relevance = relevance.sum(axis=-1)
            masks = perturbations.relevant_pixels(relevance, self._share)
        else:
            size = int(np.prod(planes[1:]))
            count = np.arange(size) < max(1, round(self._share * size))
            masks = np.concatenate(
                [
                    perturbations.random_pixels(count.reshape(1, *planes[1:]), chance)
                    for chance in chances
                ]
            )
        return [mask[None, ..., None] if points.ndim == 4 else mask[None] for mask in masks]

    def _attacked(self, points: Points, classes: np.ndarray) -> Points:
        found = []
        for first in range(0, len(points), self._batch):
            part, labels = points[first : first + self._batch], classes[first : first + self._batch]
            missing = self._batch - len(part)
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            labels = np.concatenate([labels, np.repeat(labels[-1:], missing)])
            steps = perturbations.BIM_STEPS if self._kind == "bim" else 1
            moved = perturbations.ascend_signs(
                self._gradient_for(labels),
                padded,
                self._amount,
                steps,
                self._low,
                self._high,
            )
            found.append(moved[: len(part)])
        return np.concatenate(found)

    def _gradient_for(self, labels: np.ndarray) -> Callable[[Any], Any]:
        return lambda x: self._gradient(x, labels, self._weights)
