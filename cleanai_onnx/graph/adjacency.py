"""Which layers follow which: the graph's real successors, for interaction metrics."""

from __future__ import annotations

from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.taps import Taps
from cleanai_onnx.graph.topology import read_names

__all__ = ["successors"]


def successors(model: Model, taps: Taps) -> tuple[tuple[int, int], ...]:
    """Return the pairs (i, j) of taps where j's value depends on i's with no other tap between.

    Parameters
    ----------
    model, taps
        The model and its taps; i and j number ``taps.points``. Sorted.
    """
    number = {point.tensor: index for index, point in enumerate(taps.points)}
    # For each tensor the taps that it depends on directly, that is, through no further tap.
    origins: dict[str, frozenset[int]] = {}
    pairs: set[tuple[int, int]] = set()
    for node in model.proto.graph.node:
        reached: frozenset[int] = frozenset()
        reached = reached.union(*(origins.get(name, frozenset()) for name in read_names(node)))
        for name in node.output:
            index = number.get(name)
            if index is None:
                origins[name] = reached
            else:
                pairs |= {(earlier, index) for earlier in reached}
                origins[name] = frozenset({index})
    return tuple(sorted(pairs))
