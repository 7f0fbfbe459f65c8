"""Figures of single images: what ranks them, and what the table of images holds.

For each image and metric that is counted per input, the share of the whole model (`nc`, `tc`, `nbc`
and the intervals of `mnc`: counted neurons over all neurons; `tknc`: the mean of the selected
activations), in both neuron views; and the same for each layer where it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cleanai_onnx.coverage.engine import InputFigures, counter_names
from cleanai_onnx.coverage.metric import BOTH_VIEWS
from cleanai_onnx.coverage.parameters import Parameters
from cleanai_onnx.result import LayerFacts, View

__all__ = ["ADDS", "RANKED_BY", "Scores", "order_free", "score_names", "scores_of"]

RANKED_BY = "nc/unit"
"""The score that ranks images in the report."""
ADDS = "adds "
"""How the names of scores begin that say what an image covers and none before it did."""


@dataclass(frozen=True)
class Scores:
    """Scores of the images of one batch.

    `model` is ``(images, scores)``, `layers` is ``(images, layers, scores)``, both float64 in the
    order of `score_names`; NaN where a score does not exist (`nbc` of an image that set the
    bounds).
    """

    model: np.ndarray
    layers: np.ndarray


def score_names(parameters: Parameters) -> tuple[str, ...]:
    """Return the names of the scores: metric, or metric and interval, and the neuron view."""
    intervals = [f"mnc[{low:g},{high:g}]" for low, high in parameters.intervals]
    counters = [
        intervals[number] if metric == "mnc" else metric
        for metric, number in counter_names(parameters)
    ]
    return tuple(f"{name}/{view}" for view in BOTH_VIEWS for name in (*counters, "tknc"))


def order_free(name: str, *, bounded: bool = False) -> bool:
    """Return whether a score is of its image alone, whatever came before it.

    `bounded` says that the bounds of `nbc` are known, whatever came before.
    """
    return not name.startswith(ADDS if bounded else (ADDS, "nbc/"))


def scores_of(
    figures: InputFigures, layers: Sequence[LayerFacts], parameters: Parameters, seen_before: int
) -> Scores:
    """Return the scores of a batch that came after `seen_before` images."""
    of_model, of_layers = [], []
    for view in BOTH_VIEWS:
        counts = figures.counts[view].astype(np.float64)
        for number, (metric, _) in enumerate(counter_names(parameters)):
            if metric == "nbc":
                set_bounds = max(parameters.bounds_from - seen_before, 0)
                counts[:set_bounds, :, number] = np.nan
        sizes = _sizes(layers, view)
        selected = np.array(
            [
                parameters.top_k if parameters.cleanai_compat else min(parameters.top_k, size)
                for size in sizes
            ],
            np.float64,
        )
        top = figures.top_sum[view].astype(np.float64)
        of_model += [counts.sum(axis=1) / sizes.sum(), (top.sum(axis=1) / selected.sum())[:, None]]
        of_layers += [counts / sizes[:, None], (top / selected)[..., None]]
    return Scores(np.concatenate(of_model, axis=-1), np.concatenate(of_layers, axis=-1))


def _sizes(layers: Sequence[LayerFacts], view: View) -> np.ndarray:
    sizes = [layer.size(view) for layer in layers]
    return np.array(sizes, np.float64)
