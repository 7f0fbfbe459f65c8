"""Whether the memory suffices, before it is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax

from cleanai_onnx import graph, runtime
from cleanai_onnx.errors import ModelError
from cleanai_onnx.relevance.network import Network

__all__ = ["check_model", "check_walk"]

_GIB = 2**30


def check_model(model: graph.Model, image_input: str, shape: tuple[int, ...]) -> None:
    """Refuse a model whose own tensors are too large for a batch of `shape`.

    Raises
    ------
    ModelError
        With the figures and what to do.
    """
    nothing_tapped = graph.Taps((), (), image_input, ())
    estimate = graph.estimate_memory(model, shape, nothing_tapped)
    graph.check_memory(estimate, runtime.available_memory())


def check_walk(network: Network, activations: Iterable[str], weights: Any, batch: int) -> None:
    """Refuse a walk back that needs more memory than there is.

    Each activation that the walk asks for is held at once, and relevance of the same size passes
    by; weights are held in the forms that the rules use.

    Raises
    ------
    ModelError
        With the figures and what to do.
    """
    held = sum(math.prod(network.shape(name)) for name in activations) * network.dtype.itemsize
    stored = sum(leaf.nbytes for leaf in jax.tree.leaves(weights))
    available = runtime.available_memory()
    if 2 * held + stored > available:
        smaller = "use a smaller --batch-size" if batch > 1 and stored < available else (
            "it needs a machine with more memory"
        )  # fmt: skip
        raise ModelError(
            f"relevance of {batch} image{'s' if batch > 1 else ''} at once needs "
            f"{(2 * held + stored) / _GIB:,.2f} GiB of memory but the machine has "
            f"{available / _GIB:,.2f} GiB: {smaller}."
        )
