"""Route 1: TensorFlow functions through tf2onnx.

The function is frozen here, and not by tf2onnx: Keras's own export hands tf2onnx the values that
``Normalization`` keeps outside of its weights as further inputs of the model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cleanai_onnx.converters.keras_naming import name_tensors
from cleanai_onnx.converters.keras_source import KerasSource

__all__ = ["OPSET", "convert_function", "export"]

OPSET = 18
"""The newest that tf2onnx 1.17 writes."""


def export(source: KerasSource, path: Path, opset: int | None) -> Sequence[str]:
    """Write a Keras model of the TensorFlow backend; return remarks on what was repaired."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def called(*tensors: Any) -> list[Any]:
        # Identity: two outputs may be the same tensor, or an input.
        return [tf.identity(output) for output in source.call(*tensors)]

    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in source.inputs]
    function = called.get_concrete_function(*specs)
    names = [spec.name for spec in source.inputs]
    outputs = source.output_names
    if len(outputs) != len(function.outputs):
        outputs = tuple(f"output_{number}" for number in range(1, len(function.outputs) + 1))
    return convert_function(function, names, outputs, path, opset)


def convert_function(
    function: Any, inputs: Sequence[str], outputs: Sequence[str], path: Path, opset: int | None
) -> list[str]:
    """Write a concrete function as ONNX; return remarks on what was repaired.

    Parameters
    ----------
    function
        A ``tf.ConcreteFunction``.
    inputs, outputs
        The names that the ONNX model gives to its inputs (without captured ones) and outputs.
    """
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for name in ("tensorflow", "tf2onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    frozen = convert_variables_to_constants_v2(
        function, lower_control_flow=False, aggressive_inlining=True
    )
    definition = frozen.graph.as_graph_def(add_shapes=True)
    remarks = []
    if _replace_erfc(definition):
        remarks.append(
            "TensorFlow's Erfc, which ONNX does not have, was written as 1 - Erf; the parity above "
            "includes it."
        )
    given = [tensor.name for tensor in frozen.inputs]
    made = [tensor.name for tensor in frozen.outputs]
    taken = {node.name for node in definition.node}
    renamed = dict(zip(given, inputs, strict=True)) | dict(zip(made, outputs, strict=True))
    tf2onnx.convert.from_graph_def(
        definition,
        input_names=given,
        output_names=made,
        opset=min(opset or OPSET, OPSET),
        # A name that another tensor of the graph has would make two of one.
        tensors_to_rename={
            old: new for old, new in renamed.items() if new not in taken or old == f"{new}:0"
        },
        output_path=str(path),
    )
    name_tensors(path)
    return remarks


def _replace_erfc(definition: Any) -> int:
    """Replace erfc(x) by 1 - erf(x) in a GraphDef and its functions; return how often.

    ``tf.nn.gelu`` computes x/2 * erfc(-x / sqrt 2). The difference loses no accuracy there: where
    erfc is tiny, 1 - erf has an absolute error of one unit of float32's resolution at 1 (6e-8).
    """
    from tensorflow import make_tensor_proto
    from tensorflow.dtypes import as_dtype

    count = 0
    bodies = [definition.node, *(function.node_def for function in definition.library.function)]
    for nodes in bodies:
        for node in [node for node in nodes if node.op == "Erfc"]:
            kind = node.attr["T"].type
            one = nodes.add(name=f"{node.name}/one", op="Const")
            one.attr["dtype"].type = kind
            one.attr["value"].tensor.CopyFrom(make_tensor_proto(1.0, dtype=as_dtype(kind)))
            erf = nodes.add(name=f"{node.name}/Erf", op="Erf", input=list(node.input))
            erf.attr["T"].type = kind
            in_function = nodes is not definition.node
            node.op = "Sub"
            del node.input[:]
            node.input.extend(
                [f"{one.name}:output:0", f"{erf.name}:y:0"] if in_function else [one.name, erf.name]
            )
            count += 1
    return count
