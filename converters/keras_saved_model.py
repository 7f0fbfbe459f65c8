"""TensorFlow SavedModels: programs, which are read before they are run.

A SavedModel is a graph of TensorFlow operations, and some of those read or write files, call
Python, or talk to the network; loading one already runs its initialisers. Most image models need
none of that. So all its operations, in every function, are compared with a list of those that only
compute (and read and set variables); a model with any other is refused without ``--trust``. The
operations that store and restore checkpoints are in every SavedModel, in two functions that nothing
calls when a model is loaded and used: there they are allowed, if that is so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cleanai_onnx.converters.conversion import FailedAttemptError
from cleanai_onnx.converters.keras_source import tensor_names, versions_of, with_batch
from cleanai_onnx.converters.source import Array, InputSpec
from cleanai_onnx.errors import ModelError
from cleanai_onnx.inputs.naming import shown

__all__ = ["SavedModelSource", "check_saved_model", "load"]

_MOST_BYTES = (1 << 31) - 1
_SIGNATURES = ("serving_default", "serve")

# fmt: off
_COMPUTES = frozenset({
    "Abs", "Acos", "Acosh", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "ArgMin", "Asin",
    "Asinh", "AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "Atan", "Atan2",
    "Atanh", "AvgPool", "AvgPool3D", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3",
    "BatchToSpaceND", "BiasAdd", "BroadcastArgs", "BroadcastTo", "Cast", "Ceil", "ClipByValue",
    "CombinedNonMaxSuppression", "Complex", "ComplexAbs", "Concat", "ConcatOffset", "ConcatV2",
    "Const", "Conv2D", "Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "Cos", "Cosh",
    "CropAndResize", "Cumprod", "Cumsum", "DepthToSpace", "DepthwiseConv2dNative", "Diag",
    "DiagPart", "DisableCopyOnRead", "Div", "DivNoNan", "DynamicPartition", "DynamicStitch",
    "Einsum", "Elu", "EnsureShape", "Equal", "Erf", "Erfc", "Erfinv", "Exp", "ExpandDims",
    "Expm1", "ExtractImagePatches", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxVarsPerChannel", "Fill", "Floor", "FloorDiv", "FloorMod",
    "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Gather", "GatherNd", "GatherV2",
    "Greater", "GreaterEqual", "Identity", "IdentityN", "If", "Imag",
    "ImageProjectiveTransformV2", "ImageProjectiveTransformV3", "Inv", "Invert",
    "InvertPermutation", "IsFinite", "IsInf", "IsNan", "L2Loss", "LRN", "LeakyRelu",
    "LeftShift", "Less", "LessEqual", "Lgamma", "LinSpace", "Log", "Log1p", "LogSoftmax",
    "LogicalAnd", "LogicalNot", "LogicalOr", "MatMul", "MatrixBandPart", "MatrixDiag",
    "MatrixDiagPart", "MatrixDiagPartV3", "MatrixDiagV3", "MatrixInverse", "MatrixSetDiagV3",
    "Max", "MaxPool", "MaxPool3D", "MaxPoolV2", "MaxPoolWithArgmax", "Maximum", "Mean", "Merge",
    "Min", "Minimum", "MirrorPad", "Mod", "Mul", "MulNoNan", "Multinomial", "Neg", "NoOp",
    "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5",
    "NotEqual", "OneHot", "OnesLike", "Pack", "Pad", "PadV2", "ParallelDynamicStitch",
    "PartitionedCall", "Placeholder", "PlaceholderWithDefault", "Pow", "PreventGradient",
    "Prod", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4",
    "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "Range", "Rank",
    "ReadVariableOp", "Real", "RealDiv", "Reciprocal", "Relu", "Relu6", "Reshape", "ResizeArea",
    "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor", "ResourceGather",
    "ResourceGatherNd", "ReverseSequence", "ReverseV2", "RightShift", "Rint", "Roll", "Round",
    "Rsqrt", "ScatterNd", "SegmentMax", "SegmentMean", "SegmentMin", "SegmentSum", "Select",
    "SelectV2", "Selu", "Shape", "ShapeN", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice",
    "Softmax", "Softplus", "Softsign", "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV",
    "Sqrt", "Square", "SquaredDifference", "Squeeze", "StatefulPartitionedCall", "StatelessIf",
    "StatelessRandomGetAlg", "StatelessRandomGetKeyCounter", "StatelessRandomGetKeyCounterAlg",
    "StatelessRandomNormalV2", "StatelessRandomUniformFullIntV2", "StatelessRandomUniformV2",
    "StatelessTruncatedNormalV2", "StatelessWhile", "StopGradient", "StridedSlice", "Sub",
    "Sum", "Switch", "Tan", "Tanh", "TensorListConcatV2", "TensorListElementShape",
    "TensorListFromTensor", "TensorListGetItem", "TensorListLength", "TensorListPopBack",
    "TensorListPushBack", "TensorListReserve", "TensorListResize", "TensorListSetItem",
    "TensorListStack", "TensorScatterAdd", "TensorScatterMax", "TensorScatterMin",
    "TensorScatterSub", "TensorScatterUpdate", "Tile", "TopK", "TopKV2", "Transpose",
    "TruncateDiv", "TruncateMod", "Unique", "Unpack", "UnsortedSegmentMax",
    "UnsortedSegmentMin", "UnsortedSegmentProd", "UnsortedSegmentSum", "VarHandleOp",
    "VarIsInitializedOp", "VariableShape", "Where", "While", "Xdivy", "Xlogy", "ZerosLike",
})
# fmt: on
"""Operations that compute from their inputs and variables alone and reach nothing else."""

_CHECKPOINTS = frozenset(
    {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename", "StaticRegexFullMatch",
     "StringJoin"}
)  # fmt: skip
_CHECKPOINT_FUNCTIONS = ("__inference__traced_save", "__inference__traced_restore")


def check_saved_model(folder: Path) -> None:
    """Refuse a SavedModel that could do more than compute.

    Raises
    ------
    ModelError
        If the file is damaged, or has an operation outside of the list; the message names it.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    name = f"'{shown(folder.name, 80)}'"
    path = folder / "saved_model.pb"
    content = saved_model_pb2.SavedModel()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{name} has a saved_model.pb of more than 2 GiB.")
        content.ParseFromString(path.read_bytes())
    except (DecodeError, OSError):
        raise ModelError(
            f"{name} has a saved_model.pb that is damaged or cut off: save or copy it again."
        ) from None
    if not content.meta_graphs:
        raise ModelError(f"{name} has a saved_model.pb without a graph.")
    for graph in content.meta_graphs:
        reason = next(_objections(graph), None)
        if reason is not None:
            raise ModelError(
                f"{name} is a program, and {reason}: it could do more than compute, with your "
                "rights. If you trust whoever made it, give --trust.",
                slug="unsafe-file",
            )


def _objections(meta: Any) -> Iterator[str]:
    """Yield what a graph has that need not be in a model that only computes."""
    if not meta.HasField("object_graph_def"):
        yield "of TensorFlow 1, whose restore operations run on loading"
        return
    objects = meta.object_graph_def
    functions = meta.graph_def.library.function
    reachable = set(objects.concrete_functions)
    for function in functions:
        reachable.update(_called(function.node_def))
    for node in meta.graph_def.node:
        if node.op not in _COMPUTES:
            yield f"has the operation {shown(node.op, 60)}"
    for function in functions:
        name = function.signature.name
        allowed = _COMPUTES
        if name.startswith(_CHECKPOINT_FUNCTIONS) and name not in reachable:
            allowed = _COMPUTES | _CHECKPOINTS
        for node in function.node_def:
            if node.op not in allowed:
                yield f"has the operation {shown(node.op, 60)}"
    for item in objects.nodes:
        if item.registered_saver:
            yield f"asks for the checkpoint code {shown(item.registered_saver, 60)}"
        if item.WhichOneof("kind") in ("asset", "resource"):
            yield "brings files or tables that are set up on loading"


def _called(nodes: Any) -> Iterator[str]:
    for node in nodes:
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func.name
            for function in value.list.func:
                yield function.name


@dataclass
class SavedModelSource:
    """A signature of a SavedModel; see `cleanai_onnx.converters.source.Source`."""

    loaded: Any
    function: Any
    inputs: tuple[InputSpec, ...]
    keys: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: int
    preprocessing: Mapping[str, Any]
    remarks: tuple[str, ...]
    versions: Mapping[str, str]

    def predict(self, arrays: Sequence[Array]) -> Sequence[np.ndarray]:
        """Return the outputs for one batch, in the order of their names."""
        import tensorflow as tf

        fed = {key: tf.constant(array) for key, array in zip(self.keys, arrays, strict=True)}
        found = self.function(**fed)
        return [found[name].numpy() for name in self.outputs]

    def export(self, path: Path, opset: int | None) -> None:
        """Write the ONNX file."""
        import tensorflow as tf

        from cleanai_onnx.converters.keras_tensorflow import convert_function

        @tf.function(autograph=False)
        def called(*tensors: Any) -> list[Any]:
            found = self.function(**dict(zip(self.keys, tensors, strict=True)))
            return [tf.identity(found[name]) for name in self.outputs]

        specs = [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in self.inputs]
        self.remarks += tuple(
            convert_function(
                called.get_concrete_function(*specs),
                [spec.name for spec in self.inputs],
                tensor_names(self.outputs, "output"),
                path,
                opset,
            )
        )


def load(request: Mapping[str, Any]) -> SavedModelSource:
    """Load the folder that a request names.

    Raises
    ------
    ModelError
        If it is damaged, or does more than compute and is not trusted.
    FailedAttemptError
        If it has no signature that takes and gives tensors of numbers.
    """
    folder = Path(request["path"])
    if not request.get("trust"):
        check_saved_model(folder)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    signatures = loaded.signatures
    chosen = next((name for name in _SIGNATURES if name in signatures), None)
    if chosen is None and len(signatures) == 1:
        chosen = next(iter(signatures))
    if chosen is None:
        names = ", ".join(shown(str(name), 40) for name in list(signatures)[:10]) or "none"
        raise FailedAttemptError(
            f"it has no signature serving_default (signatures: {names}): save it with "
            "model.export(folder)"
        )
    function = signatures[chosen]
    specs = function.structured_input_signature[1]
    unusable = [key for key, spec in specs.items() if not _holds_numbers(spec)]
    if unusable:
        raise FailedAttemptError(
            f"its input {shown(str(unusable[0]), 60)} has no shape or takes no numbers"
        )
    keys = tuple(specs)
    inputs = tuple(
        InputSpec(name, specs[key].dtype.as_numpy_dtype.__name__, tuple(specs[key].shape))
        for name, key in zip(tensor_names(keys, "input"), keys, strict=True)
    )
    inputs = with_batch(inputs, request.get("batch"))
    variables = {id(variable): variable for variable in function.variables}.values()
    return SavedModelSource(
        loaded=loaded,
        function=function,
        inputs=inputs,
        keys=keys,
        outputs=tuple(sorted(function.structured_outputs)),
        parameters=sum(int(np.prod(variable.shape)) for variable in variables),
        preprocessing={},
        remarks=(),
        versions=versions_of("tensorflow", "tensorflow-cpu", "tf2onnx"),
    )


def _holds_numbers(spec: Any) -> bool:
    kind = spec.dtype
    return spec.shape.rank is not None and (kind.is_floating or kind.is_integer or kind.is_bool)
