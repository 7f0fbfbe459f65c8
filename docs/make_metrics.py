"""Write docs/metrics.md from the registry, so that page and program say the same.

Run from the repository: ``python docs/make_metrics.py``. A test compares the page with this.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleanai_onnx.coverage import METRICS, PROFILED, Parameters, ProfileParameters
from cleanai_onnx.coverage.metric import Definition, Metric

PAGE = Path(__file__).parent / "metrics.md"

INTRODUCTION = """\
# The metrics

This page is written by `docs/make_metrics.py` from the program itself.

A **layer** is one tap: a post-activation tensor of the graph. **Unit** view: a neuron is one scalar
of the layer's output for one input. **Channel** view: a neuron is one channel, and its value is the
spatial mean (for tokens, the mean over the tokens). Every metric is computed in both views.

Rules that hold for all of them:

- a is a neuron's activation, in float32 (other types are cast in the graph); comparisons are strict
  unless written otherwise.
- Counts are exact integers at any number of images; ratios are derived from them at the end. Only
  the sums of `tknc` are floating-point sums, accumulated in float64.
- A value that is not a number counts as not covered, and the result says how many there were. The
  mean of a layer that holds one is not a number, and covers nothing in `nc`.
- The mean of `nc` is a float32 sum in an order that depends on the size of the layer only, clamped
  to the layer's extrema, so that rounding never puts a constant layer above its own mean. CleanAI's
  plain sum can: a layer of seven times 0.3 has seven of seven neurons above its mean there, and
  none here.
- Where CleanAI's program departs from its definition, `--cleanai-compat` follows it: `vv` uses 0.05
  for the second layer whatever t is, and `tknc` divides by k for each layer even where a layer has
  fewer neurons. `--taps last-call` counts the layers that its hooks record.
- Subnormal activations (below 1.2e-38) count as zero, as XLA flushes them.
- *Per input* metrics are summed over the images, as CleanAI does: covered / total is an average. A
  *suite* metric is a union: what at least one image, or one pair of images, covers. A *pair* metric
  compares two images, by default the first two (`--pair A B`).

"""

PROFILE = """
# Metrics that need a profile

`cleanai-onnx profile model.onnx train/ -o model.profile` learns the range, mean and standard
deviation of every neuron from the training images in one pass; `--profile model.profile` then adds
the metrics below. They count the neurons of the view that the profile was learnt in, channels by
default (`--view unit`: every scalar). A value that is not a number covers nothing.

Programs that compute them differ. Comparisons are strict here, as in DeepGauge's text: with ≤ and ≥
every ReLU that was 0 in training covers its lower corner. Sections are closed at both ends, so that
the very extrema of the training images lie in one. A neuron of zero range has no sections; it is
left out of the total, and counted.

"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page."""
    sections = [section(metric, metric.parameters(Parameters())) for metric in METRICS.values()]
    profiled = [
        section(metric, family.parameters(ProfileParameters()))
        for family in PROFILED
        for metric in family.metrics
    ]
    return INTRODUCTION + "\n".join(sections) + PROFILE + "\n".join(profiled)


def section(metric: Metric | Definition, parameters: Mapping[str, Any]) -> str:
    """Return what the page says of one metric."""
    defaults = ", ".join(f"{name} = {value}" for name, value in parameters.items()) or "none"
    card = metric.card
    promises = {
        "grows or stays when images are added": card.monotone,
        "does not depend on the order of the images": card.order_free,
        "parts of a suite can be merged": card.mergeable,
        "needs a profile of the training images": card.needs_profile,
    }
    yes = [promise for promise, holds in promises.items() if holds]
    return (
        f"## `{metric.id}`: {metric.title}\n\n"
        f"{metric.definition}\n\n"
        f"- Scope: {card.scope}\n"
        f"- Parameters and defaults: {defaults}\n"
        f"- Promises: {'; '.join(yes) or 'none'}\n"
        f"- Source: {card.source}\n"
    )


if __name__ == "__main__":
    main()
