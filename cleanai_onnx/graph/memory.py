"""How much memory a batch will need, from shapes alone and before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph.external import stored_tensors
from cleanai_onnx.graph.loading import Model
from cleanai_onnx.graph.names import shown
from cleanai_onnx.graph.shapes import Inferred, infer
from cleanai_onnx.graph.sizing import size_operands, value_free
from cleanai_onnx.graph.taps import Taps
from cleanai_onnx.graph.tensors import stored_bytes, tensor_bytes
from cleanai_onnx.graph.topology import Topology, all_graphs, read_names, subgraphs

__all__ = ["MemoryEstimate", "check_memory", "estimate_memory"]

_GIB = 2**30


@dataclass(frozen=True)
class MemoryEstimate:
    """What running one batch will hold at once.

    Attributes
    ----------
    weights_bytes
        The stored tensors, and tensors that follow from them alone: a runtime computes these when
        it loads the model, and keeps them.
    batch_bytes
        Inputs, taps (in float32) and the largest set of intermediate tensors alive at one time.
        A runtime that reuses buffers needs less.
    largest
        The largest single tensor and its bytes, for messages.
    unknown_tensors
        Tensors whose size shape inference cannot tell; they count nothing.
    unsized
        Those among them whose size the model computes from constants and known shapes in a way
        that cannot be followed. No exporter writes that, and it can ask for any amount.
    """

    weights_bytes: int
    batch_bytes: int
    largest: tuple[str, int]
    unknown_tensors: tuple[str, ...]
    unsized: tuple[str, ...] = ()


def estimate_memory(model: Model, input_shape: tuple[int, ...], taps: Taps) -> MemoryEstimate:
    """Estimate what one batch will hold, from inferred shapes.

    Parameters
    ----------
    model, taps
        The model and what is exposed of it.
    input_shape
        The shape of the batch, such as (8, 3, 224, 224).
    """
    inferred = infer(model.proto, {taps.image_input: input_shape})
    graph = model.proto.graph
    weights = sum(stored_bytes(tensor) for tensor, _ in stored_tensors(model.proto))
    stored = {tensor.name for tensor in graph.initializer}
    fed = [value.name for value in graph.input if value.name not in stored]
    from_inputs = set(fed)
    sizes: dict[str, int] = {}
    unknown: list[str] = []
    folded = 0
    for node in graph.node:
        varying = not from_inputs.isdisjoint(read_names(node))
        for name in node.output:
            size = _size(name, inferred)
            if not name:
                continue
            if size is None:
                unknown.append(name)
            if varying:
                from_inputs.add(name)
                sizes[name] = size or 0
            elif node.op_type != "Constant":
                folded += size or 0
    exposed = sum(_tap_bytes(shape, input_shape[0]) for shape in taps.shapes)
    fed_bytes = sum(_size(name, inferred) or 0 for name in fed)
    largest = max(
        ((name, _size(name, inferred) or 0) for name in (*inferred.shapes, *inferred.nested)),
        key=lambda pair: pair[1],
        default=("", 0),
    )
    return MemoryEstimate(
        weights_bytes=weights + folded,
        batch_bytes=fed_bytes + exposed + _peak(model, sizes, inferred),
        largest=largest,
        unknown_tensors=tuple(unknown),
        unsized=_unsized(model, inferred),
    )


def _unsized(model: Model, inferred: Inferred) -> tuple[str, ...]:
    found: list[str] = []
    outer: frozenset[str] = frozenset()
    for graph in all_graphs(model.proto.graph):
        suspects = [
            node
            for node in graph.node
            if size_operands(node) and inferred.known(node.output[0]) is None
        ]
        if not suspects and outer:
            continue
        free = outer | value_free(Topology.of(graph), inferred.shapes, outer)
        outer = outer or free
        found += [
            node.output[0]
            for node in suspects
            if free.issuperset(size_operands(node)) and _known_data(node, inferred)
        ]
    return tuple(found)


def _known_data(node: onnx.NodeProto, inferred: Inferred) -> bool:
    """Say whether all else that an allocating node reads has a known shape."""
    return all(not name or inferred.known(name) is not None for name in node.input)


def _size(name: str, inferred: Inferred) -> int | None:
    shape = inferred.known(name)
    return None if shape is None else tensor_bytes(inferred.types.get(name, 1), shape)


def _tap_bytes(shape: tuple[int, ...] | None, batch: int) -> int:
    return 0 if shape is None else tensor_bytes(1, (batch, *shape))


def _peak(model: Model, sizes: dict[str, int], inferred: Inferred) -> int:
    """Return the largest sum of tensors alive at one time when the nodes run in order."""
    graph = model.proto.graph
    last = {name: index for index, node in enumerate(graph.node) for name in read_names(node)}
    last |= {value.name: len(graph.node) for value in graph.output}
    ending: dict[int, list[str]] = {}
    for name, index in last.items():
        ending.setdefault(index, []).append(name)
    alive = peak = 0
    for index, node in enumerate(graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        inside = sum(
            _size(name, inferred) or 0
            for body in subgraphs(node)
            for nested in all_graphs(body)
            for child in nested.node
            for name in child.output
        )
        peak = max(peak, alive + inside)
        alive -= sum(sizes.get(name, 0) for name in ending.get(index, ()))
        alive -= sum(sizes.get(name, 0) for name in node.output if name not in last)
    return peak


def check_memory(estimate: MemoryEstimate, available_bytes: int) -> None:
    """Refuse a batch that needs more memory than there is.

    Raises
    ------
    ModelError
        With the figures in GiB and what to do.
    """
    if estimate.unsized:
        raise ModelError(
            f"how much memory the tensor {shown(estimate.unsized[0])} takes cannot be told before "
            "running, because the model computes its size in an unusual way: export it again with "
            "fixed sizes."
        )
    needed = estimate.weights_bytes + estimate.batch_bytes
    if needed <= available_bytes:
        return
    name, size = estimate.largest
    part = f", of which {_gib(size)} for the tensor {shown(name)}" if name else ""
    if estimate.weights_bytes > available_bytes:
        advice = "a smaller batch does not help, the model needs a machine with more memory"
    else:
        advice = "use a smaller --batch-size, or fewer taps (--taps)"
    raise ModelError(
        f"the model asks for {_gib(needed)} of memory ({_gib(estimate.weights_bytes)} for weights "
        f"and {_gib(estimate.batch_bytes)} for a batch{part}) but the machine has "
        f"{_gib(available_bytes)}: {advice}."
    )


def _gib(count: int) -> str:
    if count > 10**30:
        return f"{float(count / _GIB) if count < 10**300 else float('inf'):.1e} GiB"
    return f"{count / _GIB:,.2f} GiB"
