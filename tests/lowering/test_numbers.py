"""Every tapped tensor against onnxruntime, on real exports and on known architectures."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks.architectures import mobilenet_v2, resnet
from benchmarks.newer_architectures import efficientnet_like, unet, vit_tiny
from cleanai_onnx.errors import ModelError
from cleanai_onnx.graph import Model, find_image_input, find_taps, load_model, tapped_proto
from cleanai_onnx.lowering import lower
from tests.lowering.onnx_suite import light_models, ramp

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

STORED = sorted(
    [
        *(REPOSITORY / "models").glob("*.onnx"),
        *(REPOSITORY / "tests" / "data").rglob("*.onnx"),
        *(SHARED.rglob("*.onnx") if SHARED.is_dir() else ()),
    ]
)


def assert_taps_agree(model: Model, images: np.ndarray) -> None:
    """The outputs and every tap within 1e-4 of the tensor's largest value."""
    runtime = pytest.importorskip("onnxruntime")
    image_input = find_image_input(model)
    taps = find_taps(model, image_input, images.shape)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(
        tapped_proto(model, taps).SerializeToString(), options, ["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, {image_input.name: images}), strict=True))
    outputs = [output.name for output in model.outputs]
    wanted = {name: name for name in outputs} | {p.tensor: p.output for p in taps.points}
    lowered = lower(model, list(wanted), input_shapes={image_input.name: images.shape})
    function = jax.jit(lowered, compiler_options=QUICK)
    found = function(dict(lowered.parameters), {image_input.name: images})
    assert len(taps.points) > 0
    for tensor, output in wanted.items():
        scale = np.abs(expected[output]).max()
        assert scale > 0, tensor
        np.testing.assert_allclose(
            np.asarray(found[tensor]), expected[output], rtol=0, atol=1e-4 * scale, err_msg=tensor
        )


def images_for(model: Model, seed: int = 0) -> np.ndarray:
    image_input = find_image_input(model)
    shape = (image_input.batch or 2, *(size or 8 for size in image_input.shape[1:]))
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("path", STORED, ids=lambda path: "-".join(path.parts[-3:]))
def test_stored_models(path: Path) -> None:
    model = load_model(path)
    if "ORT_REJECTS" in path.name:
        pytest.skip("onnxruntime does not run it: see the test of the Keras routes")
    assert_taps_agree(model, images_for(model))


def test_the_routes_from_keras_agree() -> None:
    """One network through three converters, one of which onnxruntime refuses to run."""
    folder = SHARED / "golden" / "idc" / "models"
    paths = sorted(folder.glob("route_*.onnx"))
    if not paths:
        pytest.skip("the models of shared/golden are not here")
    values = []
    for path in paths:
        model = load_model(path)
        shape = (2, *find_image_input(model).shape[1:])
        images = np.random.default_rng(0).random(shape, np.float32)
        lowered = lower(model)
        (output,) = lowered(lowered.parameters, images).values()
        values.append(np.asarray(output))
    assert len(values) == 3
    for other in values[1:]:
        np.testing.assert_allclose(other, values[0], rtol=0, atol=1e-5)


ARCHITECTURES: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet50": lambda: resnet(50, image=64),
    "mobilenet_v2": lambda: mobilenet_v2(image=64),
    "efficientnet_like": lambda: efficientnet_like(image=64),
    "vit_tiny": lambda: vit_tiny(image=64),
    "unet": lambda: unet(image=64, width=8),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures(name: str) -> None:
    model = load_model(ARCHITECTURES[name]())
    images = np.random.default_rng(1).standard_normal((2, 3, 64, 64), np.float32)
    assert_taps_agree(model, images)


@pytest.mark.slow
@pytest.mark.parametrize("path", light_models(), ids=lambda path: path.stem)
def test_light_models_give_the_outputs_of_the_suite(path: Path) -> None:
    model = load_model(path)
    values = {value.name: value for value in model.proto.graph.input}
    feeds = {entry.name: ramp(values[entry.name]) for entry in model.inputs}
    lowered = lower(model, input_shapes={name: x.shape for name, x in feeds.items()})
    found = jax.jit(lowered, compiler_options=QUICK)(dict(lowered.parameters), feeds)
    for index, output in enumerate(model.outputs):
        stored = path.parent / f"{path.stem}_output_{index}.pb"
        expected = numpy_helper.to_array(onnx.TensorProto.FromString(stored.read_bytes()))
        np.testing.assert_allclose(np.asarray(found[output.name]), expected, rtol=1e-3, atol=1e-7)


def seeded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give a light model, whose weights are all alike, random ones that keep the scale."""
    random = np.random.default_rng(0)
    stored = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    users = {n: (node, i) for node in proto.graph.node for i, n in enumerate(node.input)}
    kept, weights = [], []
    for node in proto.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(size) for size in stored[node.input[0]])
        user, position = users[node.output[0]]
        if len(shape) > 1:
            fan_in = math.prod(shape) // max(shape) if len(shape) == 2 else math.prod(shape[1:])
            values = random.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan_in))
        elif user.op_type == "BatchNormalization" and position in (1, 4):
            values = np.exp(0.1 * random.standard_normal(shape, np.float32))
        else:
            values = 0.1 * random.standard_normal(shape, np.float32)
        weights.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    # Before this version stored tensors have to be listed as inputs.
    proto.ir_version = 4
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    proto.graph.initializer.extend(weights)
    return proto


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    # The weights of VGG-19 alone take more memory than all others together.
    [path for path in light_models() if "vgg19" not in path.stem],
    ids=lambda path: path.stem,
)
def test_light_models_with_seeded_weights(path: Path) -> None:
    model = load_model(seeded(onnx.load(path)))
    assert_taps_agree(model, images_for(model))


def test_the_shape_of_an_input_is_checked() -> None:
    model = load_model(REPOSITORY / "models" / "lenet5.onnx")
    with pytest.raises(ModelError, match="cannot be computed"):
        lowered = lower(model)
        lowered(lowered.parameters, np.zeros((2, 3, 28, 28), np.float32))
