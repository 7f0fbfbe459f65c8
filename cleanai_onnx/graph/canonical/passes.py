"""What a canonical pass is, and running a list of them until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from cleanai_onnx.errors import ModelError

__all__ = ["CanonicalPass", "run_passes"]

_MOST_ROUNDS = 50


@dataclass(frozen=True)
class CanonicalPass:
    """A rewriting of the graph that changes its form and not its numbers.

    Attributes
    ----------
    name
        What messages and results call it.
    requires, ensures
        What must hold before, and what holds after the pass has been run until it changes nothing.
        Beyond that, every pass requires sorted nodes and ensures them, and ensures that each tensor
        that is left between the nodes has the name and the value that it had in the model given.
    apply
        Changes a model in place and says whether it did. Weights are by far the largest part of a
        model, and a copy for each pass took longer than all passes.
    """

    name: str
    requires: str
    ensures: str
    apply: Callable[[onnx.ModelProto], bool]


def run_passes(
    proto: onnx.ModelProto, passes: Sequence[CanonicalPass]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Run passes in order, again and again, until none of them changes the model.

    Returns
    -------
    proto : onnx.ModelProto
        The canonical model; the one given is not changed.
    applied : tuple of str
        The names of the passes that changed something.
    """
    canonical = onnx.ModelProto()
    canonical.CopyFrom(proto)
    applied: list[str] = []
    for _ in range(_MOST_ROUNDS):
        any_change = False
        for item in passes:
            while item.apply(canonical):
                any_change = True
                if item.name not in applied:
                    applied.append(item.name)
        if not any_change:
            return canonical, tuple(applied)
    raise ModelError(
        "the graph keeps changing form while it is simplified: export it again in a simpler form."
    )
