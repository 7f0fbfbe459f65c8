"""Before a run: which taps, how many inputs at once, and whether the memory suffices."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cleanai_onnx import coverage, graph, runtime
from cleanai_onnx.errors import UsageError

__all__ = ["UNIT_BYTES", "Plan", "plan"]

UNIT_BYTES = 2 * coverage.STATE_BYTES
"""What measuring keeps for each unit: both neuron views, at the most."""

LARGEST_BATCH = 8
"""Larger batches bring no speed to models with many activations."""
LARGEST_SMALL_BATCH = 32
SMALL_INPUT_BYTES = 2**20
"""Models with fewer activations for each input than this run in larger batches: what costs there is
not the arithmetic but each step."""
TAPPED_BYTES = 320 * 2**20
"""Activations of one batch are kept below this, so that they stay near the processor's cache."""
RUNTIME_BYTES = 512 * 2**20
"""Left to onnxruntime's and XLA's own needs when a batch size is chosen."""


@dataclass(frozen=True)
class Plan:
    """The taps and the shape of a batch."""

    taps: graph.Taps
    shape: tuple[int, ...]

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once."""
        return self.shape[0]

    @property
    def item(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.shape[1:]


def plan(
    model: graph.Model,
    image_input: graph.ImageInput,
    item: tuple[int, ...],
    select: tuple[str, ...],
    batch_size: int | None = None,
    most: int | None = None,
    unit_bytes: int = UNIT_BYTES,
) -> Plan:
    """Find the taps, choose the batch size, and check that the memory suffices.

    Parameters
    ----------
    model, image_input
        The model and the input that takes the images.
    item : tuple of int
        The shape of one input without the batch axis.
    select : tuple of str
        What to tap; see `graph.find_taps`.
    batch_size : int, optional
        As the user wants it; by default chosen from the memory.
    most : int, optional
        How many inputs there will be at most.
    unit_bytes : int
        Bytes that will be kept for each unit, whatever the batch size.

    Raises
    ------
    ModelError
        If there is nothing to tap, or not enough memory; the sentence says how much.
    UsageError
        If the model's batch size is fixed at another number.
    """
    fixed = image_input.batch
    if fixed is not None and batch_size not in (None, fixed):
        raise UsageError(f"--batch-size {batch_size}: the model's batch size is fixed at {fixed}.")
    if batch_size is not None and most is not None and fixed is None:
        # More rows than there are inputs would only be computed to be thrown away.
        batch_size = min(batch_size, most)
    size = fixed or batch_size or 1
    taps = graph.find_taps(model, image_input, (size, *item), select)
    if fixed is None and batch_size is None:
        size = _chosen(model, taps, item, most, unit_bytes)
        if size > 1:
            taps = graph.find_taps(model, image_input, (size, *item), select)
    shape = (size, *item)
    room = runtime.available_memory() - unit_bytes * _units(taps)
    graph.check_memory(graph.estimate_memory(model, shape, taps), max(room, 0))
    return Plan(taps, shape)


def _chosen(
    model: graph.Model, taps: graph.Taps, item: tuple[int, ...], most: int | None, unit_bytes: int
) -> int:
    """Return the power of two that memory, cache and the number of inputs allow."""
    estimate = graph.estimate_memory(model, (1, *item), taps)
    tapped, kept = 4 * _units(taps), unit_bytes * _units(taps)
    room = runtime.available_memory() - estimate.weights_bytes - kept - RUNTIME_BYTES
    fits = min(
        room // 2 // max(estimate.batch_bytes, 1),
        TAPPED_BYTES // max(tapped, 1),
        LARGEST_SMALL_BATCH if tapped < SMALL_INPUT_BYTES else LARGEST_BATCH,
        LARGEST_SMALL_BATCH if most is None else 1 << (most - 1).bit_length(),
    )
    return 1 << (max(fits, 1).bit_length() - 1)


def _units(taps: graph.Taps) -> int:
    return sum(math.prod(shape) for shape in taps.shapes if shape is not None)
