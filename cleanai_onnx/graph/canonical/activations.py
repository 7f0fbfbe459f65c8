"""Recognise activations that several nodes compute: SiLU, GELU, hard-swish, Mish and others."""

from __future__ import annotations

import onnx

from cleanai_onnx.graph.canonical.editing import Edited
from cleanai_onnx.graph.canonical.functions import wrap
from cleanai_onnx.graph.canonical.passes import CanonicalPass
from cleanai_onnx.graph.composites import find_composites

__all__ = ["RECOGNISE_ACTIVATIONS", "recognise_activations"]


def recognise_activations(proto: onnx.ModelProto) -> bool:
    """Make one function call of the nodes of each composite activation.

    See `cleanai_onnx.graph.composites` for how they are recognised, and
    `cleanai_onnx.graph.canonical.functions` for what becomes of them. Calls are named
    ``SiLU_17`` and so on, the number only keeps them apart.
    """
    edited = Edited(proto)
    stored = set(edited.topology.initializers)
    computed = frozenset(edited.topology.producer) | {v.name for v in edited.graph.input}
    dependent = frozenset(
        name for name in computed - stored if edited.topology.constant(name) is None
    )
    for composite in find_composites(edited.topology, dependent):
        made = {name for i in composite.members for name in edited.graph.node[i].output}
        reads = {name for i in composite.members for name in edited.graph.node[i].input}
        sources = (reads - made) & dependent
        if len(sources) == 1:
            wrap(edited, composite.op, composite.members, composite.node, *sources)
    return edited.finish()


RECOGNISE_ACTIVATIONS = CanonicalPass(
    name="recognise activations",
    requires="constants are small stored tensors",
    ensures="the nodes of an activation in several nodes are one call of a function, unless "
    "something else reads what is inside",
    apply=recognise_activations,
)
