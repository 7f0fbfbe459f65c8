"""Turn a matrix product with a stored matrix, and the bias added to it, into one Gemm."""

from __future__ import annotations

import numpy as np
import onnx

from cleanai_onnx.graph.canonical.editing import Array, Edited
from cleanai_onnx.graph.canonical.passes import CanonicalPass
from cleanai_onnx.graph.shapes import infer

__all__ = ["MATMUL_TO_GEMM", "matmul_to_gemm"]


def matmul_to_gemm(proto: onnx.ModelProto) -> bool:
    """Turn MatMul and Add into Gemm where the computed operand is known to have two axes.

    Gemm has no batched form: of token layers, MatMul and Add stay as they are.
    """
    edited = Edited(proto)
    if not any(True for _ in edited.nodes("MatMul")):
        return edited.finish()
    shapes = infer(proto, {}).shapes
    for index, node in edited.nodes("Add"):
        for position, name in enumerate(node.input):
            before, bias = edited.producer(name), edited.array(node.input[1 - position])
            if before is None or bias is None or edited.sole_reader(name) != index:
                continue
            product = edited.graph.node[before]
            if product.op_type != "MatMul" or product.domain not in ("", "ai.onnx"):
                continue
            weight = edited.array(product.input[1])
            if weight is None or weight.ndim != 2 or bias.dtype != weight.dtype:
                continue
            if len(shapes.get(product.input[0]) or ()) != 2:
                continue
            if bias.size not in (1, weight.shape[1]) or bias.shape[-1:] != (bias.size,):
                continue
            if bias.ndim > 2:
                continue
            row = edited.store(f"{node.output[0]}_bias", _row(bias, weight.shape[1]))
            gemm = onnx.helper.make_node(
                "Gemm", [*product.input, row], [node.output[0]], name=product.name or node.name
            )
            edited.insert(index, gemm)
            edited.remove(before, index)
            break
    return edited.finish()


def _row(bias: Array, outputs: int) -> Array:
    return np.broadcast_to(bias.reshape(-1), (outputs,))


MATMUL_TO_GEMM = CanonicalPass(
    name="matrix product and bias to Gemm",
    requires="shape inference finds the ranks; matrix and bias are stored tensors",
    ensures="no MatMul of a tensor with two axes and a stored matrix is followed by the Add of a "
    "stored row alone",
    apply=matmul_to_gemm,
)
