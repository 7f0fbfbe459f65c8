"""Activations of quantised models: what the next layer sees, and ReLUs that a quantizer absorbed.

In a QDQ model the value after an activation passes QuantizeLinear and DequantizeLinear before the
next layer reads it. Exposing the DequantizeLinear that is there would keep a runtime from fusing
it into the integer kernel of that layer, so a second one is added for the tap.

Quantizers remove a ReLU in front of QuantizeLinear when the zero point is the smallest number of
its type: values below zero saturate there, which is what the ReLU did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from cleanai_onnx.graph.topology import Topology, attribute

__all__ = ["Dequantize", "QuantisedRelu", "quantised_relus", "seen_quantised"]

_LINEAR = frozenset({"Add", "Conv", "ConvTranspose", "Gemm", "MatMul", "Sum"})

# Operator-oriented quantised layers: positions of the scale and zero point of the output.
_OUTPUT_SCALE = {
    "QGemm": (7, 8),
    "QLinearAdd": (6, 7),
    "QLinearConv": (6, 7),
    "QLinearLeakyRelu": (3, 4),
    "QLinearMatMul": (6, 7),
    "QLinearSigmoid": (3, 4),
}
_INTEGER_ACTIVATIONS = {
    "QLinearLeakyRelu": "LeakyRelu (quantised)",
    "QLinearSigmoid": "Sigmoid (quantised)",
}


@dataclass(frozen=True)
class Dequantize:
    """A DequantizeLinear node to be added.

    `quantised` is the integer tensor, `attributes` are those of the node that quantised it
    (serialised AttributeProtos).
    """

    quantised: str
    scale: str
    zero_point: str
    domain: str = ""
    attributes: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class QuantisedRelu:
    """An activation that exists only as a quantised tensor; `source` is what was quantised."""

    tensor: str
    source: str
    op: str
    node: int
    dequantize: Dequantize


def seen_quantised(topology: Topology, tensor: str) -> Dequantize | None:
    """Return how to make what the next layer sees of a tensor that is only ever quantised."""
    readers = topology.readers.get(tensor, ())
    if not readers or tensor in topology.outputs:
        return None
    nodes = [topology.graph.node[index] for index in readers]
    if any(node.op_type != "QuantizeLinear" for node in nodes):
        return None
    return _dequantize(nodes[0])


def _dequantize(quantizer: onnx.NodeProto) -> Dequantize:
    return Dequantize(
        quantised=quantizer.output[0],
        scale=quantizer.input[1],
        zero_point=quantizer.input[2] if len(quantizer.input) > 2 else "",
        domain=quantizer.domain,
        attributes=tuple(
            item.SerializeToString()
            for item in quantizer.attribute
            if item.name in ("axis", "block_size")
        ),
    )


def quantised_relus(topology: Topology) -> Iterator[QuantisedRelu]:
    """Yield the ReLUs that a quantizer absorbed, and activations of integer operators."""
    for index, node in enumerate(topology.graph.node):
        if node.op_type == "QuantizeLinear" and len(node.input) > 1:
            maker = topology.node_of(node.input[0])
            readers = topology.readers.get(node.input[0], ())
            if maker is None or maker.op_type not in _LINEAR or len(readers) != 1:
                continue
            if _is_lowest(topology, node.input[2]) if len(node.input) > 2 else _is_unsigned(node):
                yield QuantisedRelu(
                    node.output[0], node.input[0], "Relu (quantised)", index, _dequantize(node)
                )
        elif node.op_type in _OUTPUT_SCALE:
            scale, zero = _OUTPUT_SCALE[node.op_type]
            name = _INTEGER_ACTIVATIONS.get(node.op_type)
            if len(node.input) <= zero or not node.input[scale] or not node.input[zero]:
                continue
            if name is None and _is_lowest(topology, node.input[zero]):
                name = "Relu (quantised)"
            if name is not None:
                output = node.output[0]
                step = Dequantize(output, node.input[scale], node.input[zero])
                yield QuantisedRelu(output, output, name, index, step)


def _is_unsigned(quantizer: onnx.NodeProto) -> bool:
    # Without a zero point it is 0, the smallest uint8, unless an attribute names another type.
    return attribute(quantizer, "output_dtype") is None


def _is_lowest(topology: Topology, zero_point: str) -> bool:
    value = topology.constant(zero_point)
    if value is None or value.dtype.kind not in "iu" or value.dtype.itemsize > 2:
        return False
    lowest = 0 if value.dtype.kind == "u" else -(1 << (8 * value.dtype.itemsize - 1))
    return bool(np.all(value.astype(np.int64) == lowest))
