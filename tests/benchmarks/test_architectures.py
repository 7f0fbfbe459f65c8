import json
import re
from collections import Counter
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks.architectures import mobilenet_v2, resnet

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "cleanai"
DEPTHS = [18, 34, 50, 101, 152]


def golden(name: str, depth: int) -> dict:
    path = GOLDEN / name
    if not path.is_file():
        pytest.skip(f"the reference counts {name} are not beside this checkout")
    return json.loads(path.read_text(encoding="utf-8"))[str(depth)]


def parameters(model: onnx.ModelProto) -> int:
    return sum(prod(weight.dims) for weight in model.graph.initializer)


def activations(model: onnx.ModelProto, op: str) -> list[tuple[str, tuple[int, ...]]]:
    """Node name and (C, H, W) of each activation, in graph order, by shape inference alone."""
    # Shape inference needs the shapes of the weights and not their values.
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for weight in light.graph.initializer:
        shape = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        light.graph.input.append(shape)
    del light.graph.initializer[:]
    inferred = onnx.shape_inference.infer_shapes(light, strict_mode=True, data_prop=True)
    shapes = {
        info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)[1:]
        for info in inferred.graph.value_info
    }
    return [(n.name, shapes[n.output[0]]) for n in inferred.graph.node if n.op_type == op]


def module(name: str) -> str:
    """`/layer1/layer1.0/relu_1/Relu` is a call of the module `/layer1/layer1.0/relu`."""
    return re.sub(r"_\d+$", "", name.rpartition("/")[0])


def with_every_output(model: onnx.ModelProto) -> tuple[bytes, list[str]]:
    names = [n.output[0] for n in model.graph.node if n.op_type != "Constant"]
    present = {output.name for output in model.graph.output}
    for name in names:
        if name not in present:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return model.SerializeToString(), names


@pytest.mark.parametrize("depth", DEPTHS)
def test_resnets_have_the_structure_that_cleanai_counted(depth):
    expected = golden("resnet_counts.json", depth)
    model = resnet(depth, seed=None)
    calls = activations(model, "Relu")
    assert len(calls) == expected["relu_calls"]
    assert sum(prod(shape) for _, shape in calls) == expected["neurons_all_calls"]
    first = ["x".join(map(str, shape)) for _, shape in calls[:12]]
    assert first == [entry.partition(":")[2] for entry in expected["all_call_shapes"]]
    last_call = {module(name): prod(shape) for name, shape in calls}
    assert len(last_call) == expected["relu_modules"]
    assert sum(last_call.values()) == expected["neurons_last_call"]
    params = golden("resnet_param_counts.json", depth)
    assert parameters(model) == params["onnx_bn_folded_params"]


def test_node_names_are_those_of_the_torchscript_exporter():
    names = {node.name for node in resnet(50, seed=None).graph.node}
    assert {
        "/conv1/Conv",
        "/relu/Relu",
        "/maxpool/MaxPool",
        "/layer1/layer1.0/conv1/Conv",
        "/layer1/layer1.0/relu/Relu",
        "/layer1/layer1.0/relu_1/Relu",
        "/layer1/layer1.0/downsample/downsample.0/Conv",
        "/layer1/layer1.0/Add",
        "/layer1/layer1.0/relu_2/Relu",
        "/layer4/layer4.2/relu_2/Relu",
        "/avgpool/GlobalAveragePool",
        "/Flatten",
        "/fc/Gemm",
    } <= names
    assert "/relu_1/Relu" not in names
    assert "/layer4/layer4.1/downsample/downsample.0/Conv" not in names
    names = {node.name for node in mobilenet_v2(seed=None).graph.node}
    assert {
        "/features/features.0/features.0.2/Clip",
        "/features/features.1/conv/conv.0/conv.0.0/Conv",
        "/features/features.2/conv/conv.1/conv.1.2/Clip",
        "/features/features.17/conv/conv.2/Conv",
        "/features/features.3/Add",
        "/features/features.18/features.18.2/Clip",
        "/GlobalAveragePool",
        "/classifier/classifier.1/Gemm",
    } <= names


@pytest.mark.parametrize("build", [lambda: resnet(18, seed=None), lambda: mobilenet_v2(seed=None)])
def test_names_are_unique_and_the_model_is_valid(build):
    model = build()
    for names in ([n.name for n in model.graph.node], [n.output[0] for n in model.graph.node]):
        assert [name for name, count in Counter(names).items() if count > 1] == []
    onnx.checker.check_model(model, full_check=True)


def test_mobilenet_has_torchvisions_parameters_and_activations():
    model = mobilenet_v2(seed=None)
    biases = [w for w in model.graph.initializer if w.name.endswith(".bias")]
    channels = sum(prod(bias.dims) for bias in biases if not bias.name.startswith("classifier"))
    # A folded convolution has one bias where the batch normalisation had a weight and a bias.
    assert parameters(model) + channels == 3_504_872
    clips = activations(model, "Clip")
    assert len(clips) == 35
    assert clips[0][1] == (32, 112, 112)
    assert clips[2][1] == (96, 112, 112)
    assert clips[-1][1] == (1280, 7, 7)
    assert len({module(name) for name, _ in clips}) == 35


@pytest.mark.parametrize("build", [resnet, mobilenet_v2])
def test_weights_follow_the_seed(build):
    first = (18,) if build is resnet else ()
    same = build(*first, seed=3).SerializeToString(deterministic=True)
    assert same == build(*first, seed=3).SerializeToString(deterministic=True)
    assert same != build(*first, seed=4).SerializeToString(deterministic=True)


def test_batch_is_symbolic_unless_given():
    symbolic = resnet(18, seed=None).graph
    fixed = mobilenet_v2(seed=None, batch=4).graph
    for value in (symbolic.input[0], symbolic.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    for value in (fixed.input[0], fixed.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_value == 4


def test_an_unknown_depth_is_refused():
    with pytest.raises(ValueError, match="no ResNet of depth 42"):
        resnet(42)


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: resnet(18), id="resnet18"),
        pytest.param(lambda: resnet(50), id="resnet50", marks=pytest.mark.slow),
        pytest.param(lambda: resnet(152), id="resnet152", marks=pytest.mark.slow),
        pytest.param(lambda: mobilenet_v2(), id="mobilenet_v2"),
    ],
)
def test_activations_stay_in_range_through_the_whole_depth(build):
    content, names = with_every_output(build())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    values = dict(zip(names, session.run(names, {"input": image}), strict=True))
    assert all(np.isfinite(value).all() for value in values.values())
    spread = {name: float(value.std()) for name, value in values.items()}
    assert {name: std for name, std in spread.items() if not 0.05 < std < 20} == {}
    active = [v for n, v in values.items() if n.endswith(("/Relu_output_0", "/Clip_output_0"))]
    assert 0.2 < np.mean([(value == 0).mean() for value in active]) < 0.8
