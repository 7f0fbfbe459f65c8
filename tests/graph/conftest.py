"""Small models, and running them before and after surgery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cleanai_onnx.graph import Model, Taps, find_image_input, find_taps, load_model, tapped_proto

Build = Callable[..., onnx.ModelProto]


def build_model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray] | None = None,
    *,
    inputs: dict[str, tuple] | None = None,
    outputs: tuple[str, ...] = (),
    opset: int = 17,
    ir_version: int = 8,
    dtype: int = TensorProto.FLOAT,
    output_dtype: int | None = None,
    microsoft: bool = False,
    weights_as_inputs: bool = False,
) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
    inputs = inputs or {"x": ("N", 3, 8, 8)}
    outputs = outputs or (nodes[-1].output[0],)
    values = [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()]
    if weights_as_inputs:
        values += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in stored]
    graph = helper.make_graph(
        nodes,
        "g",
        values,
        [helper.make_tensor_value_info(n, output_dtype or dtype, None) for n in outputs],
        stored,
    )
    opsets = [helper.make_opsetid("", opset)]
    if microsoft:
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


@pytest.fixture
def build() -> Build:
    return build_model


@pytest.fixture
def conv() -> Callable[..., tuple[list[onnx.NodeProto], dict[str, np.ndarray]]]:
    """Conv from x to c, and its weights."""

    def make(channels: int = 4, dtype: str = "float32"):
        rng = np.random.default_rng(0)
        weight = rng.normal(size=(channels, 3, 3, 3)).astype(dtype)
        bias = rng.normal(size=channels).astype(dtype)
        node = helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1])
        return [node], {"w": weight, "b": bias}

    return make


@pytest.fixture
def taps_of() -> Callable[..., tuple[Model, Taps]]:
    def find(source, select=("activations",), batch: int = 2) -> tuple[Model, Taps]:
        model = load_model(source)
        image = find_image_input(model)
        shape = (image.batch or batch, *(size or 8 for size in image.shape[1:]))
        return model, find_taps(model, image, shape, select)

    return find


@pytest.fixture
def run_both() -> Callable[..., dict[str, np.ndarray]]:
    """Run a model untouched and tapped; compare the original outputs; return the taps by layer."""
    runtime = pytest.importorskip("onnxruntime")

    def run(model: Model, taps: Taps, feeds: dict[str, np.ndarray], tolerance: float = 1e-6):
        proto = tapped_proto(model, taps)
        # The models built here declare outputs without a shape, which the checker does not take.
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto), full_check=True)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        sessions = [
            runtime.InferenceSession(p.SerializeToString(), options, ["CPUExecutionProvider"])
            for p in (model.proto, proto)
        ]
        names = [output.name for output in sessions[0].get_outputs()]
        tapped_names = [output.name for output in sessions[1].get_outputs()]
        assert tapped_names[: len(names)] == names
        assert len(set(tapped_names)) == len(tapped_names)
        plain = sessions[0].run(names, feeds)
        again = sessions[1].run(names, feeds)
        for before, after in zip(plain, again, strict=True):
            np.testing.assert_allclose(after, before, rtol=0, atol=tolerance)
        values = sessions[1].run(list(taps.tensors), feeds)
        for value, shape in zip(values, taps.shapes, strict=True):
            assert value.dtype == np.float32
            assert shape is None or (value.shape[1:] or (1,)) == shape
        pairs = zip(taps.points, values, strict=True)
        return {point.tensor: value for point, value in pairs}

    return run


@pytest.fixture
def golden() -> Path:
    path = Path(__file__).resolve().parents[2].parent / "shared" / "golden"
    if not path.is_dir():
        pytest.skip("the reference data of shared/golden is not here")
    return path


@pytest.fixture
def exports() -> Path:
    return Path(__file__).resolve().parents[1] / "data" / "exports"
