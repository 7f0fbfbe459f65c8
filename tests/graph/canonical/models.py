"""Small models in memory for the canonical passes, and running them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from cleanai_onnx.runtime import require_onnxruntime


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int],
    stored: Mapping[str, np.ndarray],
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(proto)


def node(op: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    """Make a node; inputs are separated by spaces, a dot is one that is left out."""
    names = ["" if name == "." else name for name in inputs.split()]
    return helper.make_node(op, names, output.split(), name=output, **attributes)


def run(proto: onnx.ModelProto, x: np.ndarray, outputs: Sequence[str] | None = None) -> list:
    ort = require_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return session.run(None if outputs is None else list(outputs), {"x": x})


def applied(
    change: Callable[[onnx.ModelProto], bool], proto: onnx.ModelProto
) -> tuple[onnx.ModelProto, bool]:
    """Return a model after a pass, and whether it was changed; the one given stays."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy, change(copy)


def operators(proto: onnx.ModelProto) -> list[str]:
    return [one.op_type for one in proto.graph.node]


def check_numbers(before: onnx.ModelProto, after: onnx.ModelProto, x: np.ndarray) -> None:
    """The outputs are the same, and so is every tensor that has kept its name."""
    onnx.checker.check_model(after)
    for there, here in zip(run(before, x), run(after, x), strict=True):
        scale = max(1.0, float(np.abs(there).max()))
        np.testing.assert_allclose(here, there, atol=1e-5 * scale, rtol=1e-5)
    made = {name for one in before.graph.node for name in one.output if name}
    kept = [name for one in after.graph.node for name in one.output if name in made]
    values = [run(exposed(proto, kept), x, kept) for proto in (before, after)]
    for name, there, here in zip(kept, *values, strict=True):
        scale = max(1.0, float(np.abs(there).max()))
        np.testing.assert_allclose(here, there, atol=1e-5 * scale, rtol=1e-5, err_msg=name)


def exposed(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    declared = {value.name for value in copy.graph.output}
    inferred = onnx.shape_inference.infer_shapes(inliner.inline_local_functions(copy))
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    for name in names:
        if name not in declared:
            kind = types.get(name, TensorProto.FLOAT)
            copy.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return copy
