"""Recognise layer normalisation that an exporter wrote as nine nodes."""

from __future__ import annotations

import onnx

from cleanai_onnx.graph.canonical.editing import Edited, is_standard
from cleanai_onnx.graph.canonical.functions import wrap
from cleanai_onnx.graph.canonical.passes import CanonicalPass

__all__ = ["RECOGNISE_LAYER_NORM", "recognise_layer_norm"]


def recognise_layer_norm(proto: onnx.ModelProto) -> bool:
    r"""Make one function call of the nodes of a layer normalisation.

    .. math:: \frac{x - \bar x}{\sqrt{\overline{(x - \bar x)^2} + ε}} \cdot g + b

    The mean is subtracted once or twice, the square is a power or a product, and g and b may be
    missing: that is how exporters differ.
    """
    edited = Edited(proto)
    for index, _ in edited.nodes("Div"):
        found = _normalisation(edited, index)
        if found is None:
            continue
        source, members = found
        last = _affine(edited, index)
        wrap(edited, "LayerNorm", members | set(last), last[-1], source)
    return edited.finish()


def _normalisation(edited: Edited, division: int) -> tuple[str, set[int]] | None:
    """Return x and the nodes of the normalisation that ends with a Div."""
    graph, topology = edited.graph, edited.topology
    numerator, root = (topology.producer.get(name) for name in graph.node[division].input)
    members = {division}
    centred = _centred(edited, numerator)
    if centred is None or root is None or not is_standard(graph.node[root], "Sqrt"):
        return None
    source, inner = centred
    members |= {root, *inner}
    total = topology.producer.get(graph.node[root].input[0])
    if total is None or not is_standard(graph.node[total], "Add"):
        return None
    members.add(total)
    variance = next((name for name in graph.node[total].input if topology.scalar(name) is None), "")
    mean = topology.producer.get(variance)
    if mean is None or not is_standard(graph.node[mean], "ReduceMean"):
        return None
    square = topology.producer.get(graph.node[mean].input[0])
    if square is None:
        return None
    members |= {mean, square}
    node = graph.node[square]
    power = is_standard(node, "Pow") and topology.scalar(node.input[1]) == 2.0
    product = is_standard(node, "Mul") and node.input[0] == node.input[1]
    again = _centred(edited, topology.producer.get(node.input[0])) if power or product else None
    if again is None or again[0] != source:
        return None
    return source, members | again[1]


def _centred(edited: Edited, index: int | None) -> tuple[str, set[int]] | None:
    """Return x and the nodes of x - mean(x)."""
    if index is None or not is_standard(edited.graph.node[index], "Sub"):
        return None
    x, mean = edited.graph.node[index].input
    reduction = edited.topology.producer.get(mean)
    if reduction is None:
        return None
    node = edited.graph.node[reduction]
    if not is_standard(node, "ReduceMean") or node.input[0] != x:
        return None
    return x, {index, reduction}


def _affine(edited: Edited, index: int) -> list[int]:
    """Return a node, the Mul by a constant and the Add of a constant that may follow."""
    chain = [index]
    for operator in ("Mul", "Add"):
        after = edited.sole_reader(edited.graph.node[chain[-1]].output[0])
        if after is None or not is_standard(edited.graph.node[after], operator):
            continue
        if any(edited.array(name) is not None for name in edited.graph.node[after].input):
            chain.append(after)
    return chain


RECOGNISE_LAYER_NORM = CanonicalPass(
    name="recognise layer normalisation",
    requires="factor and shift are stored tensors",
    ensures="the nodes of a layer normalisation are one call of a function, unless something else "
    "reads what is inside",
    apply=recognise_layer_norm,
)
