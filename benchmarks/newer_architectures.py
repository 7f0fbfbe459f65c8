"""An EfficientNet, a vision transformer and a U-Net as ONNX models with seeded random weights.

They are built like those of `benchmarks.architectures`, and have what these lack: SiLU and squeeze
and excitation; attention, LayerNormalization, GELU and arithmetic on shapes; BatchNormalization
that is not folded, transposed convolution, Resize and concatenation.

Sources of the architectures: Tan and Le, "EfficientNet: rethinking model scaling for convolutional
neural networks" (2019), table 1 (B0); Touvron et al., "Training data-efficient image transformers"
(2021), DeiT-Ti, as torch's TorchScript exporter writes it; Ronneberger, Fischer and Brox, "U-Net:
convolutional networks for biomedical image segmentation" (2015), with padding and batch
normalisation as is usual now.
"""

import math
from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks.architectures import CLASSES, IMAGE, RELU_GAIN, Builder, Feature

# Expansion, channels, blocks, stride of the first block, kernel.
EFFICIENTNET_B0 = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)

SILU_GAIN = 1.8
"""Restores variance one, roughly, behind x sigmoid(x)."""


def _constant(builder: Builder, name: str, values: NDArray[np.generic]) -> str:
    tensor = numpy_helper.from_array(values)
    builder.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
    return name


def _silu(builder: Builder, module: str, x: Feature) -> Feature:
    gate = builder.node("Sigmoid", module, [x.name])
    return Feature(builder.node("Mul", module, [x.name, gate]), x.channels)


def efficientnet_like(
    *, seed: int | None = 0, batch: int | None = None, image: int = IMAGE
) -> onnx.ModelProto:
    """Build EfficientNet-B0 with random weights; arguments and inputs are those of `resnet`."""
    builder = Builder(seed)
    x = builder.conv("features.0.0", Feature("input", 3), 32, 3, stride=2)
    x = _silu(builder, "features.0.2", x)
    number = 0
    for expansion, channels, blocks, first_stride, kernel in EFFICIENTNET_B0:
        for block in range(blocks):
            number += 1
            module = f"features.{number}"
            branch = x
            if expansion != 1:
                branch = builder.conv(f"{module}.expand", x, x.channels * expansion, 1)
                branch = _silu(builder, f"{module}.act0", branch)
            branch = builder.conv(
                f"{module}.depthwise",
                branch,
                branch.channels,
                kernel,
                stride=1 if block else first_stride,
                groups=branch.channels,
                gain=1.5,
            )
            branch = _silu(builder, f"{module}.act1", branch)
            branch = _excited(builder, f"{module}.se", branch, max(1, x.channels // 4))
            # The gate halves what passes it.
            gain = 2 * SILU_GAIN * (1 / math.sqrt(blocks) if block else 1.0)
            branch = builder.conv(f"{module}.project", branch, channels, 1, gain=gain)
            if block:
                branch = builder.add(module, branch, x)
            x = branch
    x = _silu(builder, "features.head.1", builder.conv("features.head.0", x, 1280, 1))
    builder.classifier("", "classifier.1", x)
    return builder.model("efficientnet_like", batch, image)


def _excited(builder: Builder, module: str, x: Feature, squeezed: int) -> Feature:
    """Append squeeze and excitation: a gate for each channel."""
    pooled = Feature(builder.node("GlobalAveragePool", f"{module}.pool", [x.name]), x.channels)
    hidden = _silu(builder, f"{module}.act", builder.conv(f"{module}.fc1", pooled, squeezed, 1))
    gate = builder.conv(f"{module}.fc2", hidden, x.channels, 1, gain=0.5)
    gate_name = builder.node("Sigmoid", f"{module}.gate", [gate.name])
    return Feature(builder.node("Mul", module, [gate_name, x.name]), x.channels)


def vit_tiny(
    *,
    seed: int | None = 0,
    batch: int | None = None,
    image: int = IMAGE,
    depth: int = 12,
    width: int = 192,
    heads: int = 3,
    patch: int = 16,
) -> onnx.ModelProto:
    """Build DeiT-Ti (or one of another depth, width and patch size) with random weights.

    `seed`, `batch`, `image` and the input are those of `resnet`. The batch size goes through Shape,
    Gather, Unsqueeze, Concat and Reshape, as exporters write it.
    """
    builder = Builder(seed)
    tokens = (image // patch) ** 2
    x = builder.node(
        "Conv",
        "patch_embed",
        [
            "input",
            builder.weight(
                "patch_embed.weight",
                builder.normal((width, 3, patch, patch), 1 / math.sqrt(3 * patch * patch)),
            ),
            builder.weight("patch_embed.bias", builder.normal((width,), 0.1)),
        ],
        kernel_shape=[patch, patch],
        strides=[patch, patch],
    )
    sizes = builder.node("Shape", "embed", ["input"])
    zero = _constant(builder, "zero", np.array(0, np.int64))
    first = _constant(builder, "first_axis", np.array([0], np.int64))
    rows = builder.node("Gather", "embed", [sizes, zero], axis=0)
    rows = builder.node("Unsqueeze", "embed", [rows, first])

    def shaped(module: str, x: str, *sizes: int) -> str:
        rest = _constant(builder, f"{module}.sizes", np.array(sizes, np.int64))
        shape = builder.node("Concat", f"{module}.shape", [rows, rest], axis=0)
        return builder.node("Reshape", module, [x, shape])

    x = shaped("embed.flatten", x, width, tokens)
    x = builder.node("Transpose", "embed.transpose", [x], perm=[0, 2, 1])
    token = builder.weight("cls_token", builder.normal((1, 1, width), 1.0))
    rest = _constant(builder, "cls_sizes", np.array([1, width], np.int64))
    shape = builder.node("Concat", "cls_shape", [rows, rest], axis=0)
    token = builder.node("Expand", "cls_expand", [token, shape])
    x = builder.node("Concat", "cls_concat", [token, x], axis=1)
    places = builder.weight("pos_embed", builder.normal((1, tokens + 1, width), 0.5))
    x = builder.node("Add", "pos_add", [x, places])
    for block in range(depth):
        x = _transformer_block(builder, f"blocks.{block}", x, width, heads, tokens + 1, shaped)
    x = _layer_norm(builder, "norm", x, width)
    x = builder.node("Gather", "pool", [x, zero], axis=1)
    head = [
        x,
        builder.weight("head.weight", builder.normal((CLASSES, width), 1 / math.sqrt(width))),
        builder.weight("head.bias", builder.normal((CLASSES,), 0.1)),
    ]
    builder.nodes.append(helper.make_node("Gemm", head, ["output"], name="/head/Gemm", transB=1))
    return builder.model("vit_tiny", batch, image)


def _layer_norm(builder: Builder, module: str, x: str, width: int) -> str:
    scale = builder.weight(f"{module}.weight", 1 + builder.normal((width,), 0.1))
    bias = builder.weight(f"{module}.bias", builder.normal((width,), 0.1))
    output = builder.node("LayerNormalization", module, [x, scale, bias], axis=-1)
    builder.nodes[-1].attribute.append(helper.make_attribute("epsilon", 1e-6))
    return output


def _linear(builder: Builder, module: str, x: str, inputs: int, outputs: int, gain: float) -> str:
    weight = builder.normal((inputs, outputs), gain / math.sqrt(inputs))
    y = builder.node("MatMul", f"{module}.matmul", [x, builder.weight(f"{module}.weight", weight)])
    bias = builder.weight(f"{module}.bias", builder.normal((outputs,), 0.1))
    return builder.node("Add", f"{module}.add", [bias, y])


def _transformer_block(
    builder: Builder,
    module: str,
    x: str,
    width: int,
    heads: int,
    tokens: int,
    shaped: Callable[..., str],
) -> str:
    """Append attention and a two-layer perceptron, each normalised first and with a shortcut."""
    size = width // heads
    y = _layer_norm(builder, f"{module}.norm1", x, width)
    y = _linear(builder, f"{module}.attn.qkv", y, width, 3 * width, 1.0)
    y = shaped(f"{module}.attn.heads", y, tokens, 3, heads, size)
    y = builder.node("Transpose", f"{module}.attn.permute", [y], perm=[2, 0, 3, 1, 4])
    parts = []
    for index in range(3):
        where = _constant(builder, f"{module}.attn.index{index}", np.array(index, np.int64))
        parts.append(builder.node("Gather", f"{module}.attn.take{index}", [y, where], axis=0))
    query, key, value = parts
    key = builder.node("Transpose", f"{module}.attn.key", [key], perm=[0, 1, 3, 2])
    scores = builder.node("MatMul", f"{module}.attn.scores", [query, key])
    scale = _constant(builder, f"{module}.attn.scale", np.array(1 / math.sqrt(size), np.float32))
    scores = builder.node("Mul", f"{module}.attn.scaled", [scores, scale])
    weights = builder.node("Softmax", f"{module}.attn.softmax", [scores], axis=-1)
    y = builder.node("MatMul", f"{module}.attn.mix", [weights, value])
    y = builder.node("Transpose", f"{module}.attn.back", [y], perm=[0, 2, 1, 3])
    y = shaped(f"{module}.attn.join", y, tokens, width)
    y = _linear(builder, f"{module}.attn.proj", y, width, width, 1.0)
    x = builder.node("Add", f"{module}.shortcut1", [x, y])
    y = _layer_norm(builder, f"{module}.norm2", x, width)
    y = _linear(builder, f"{module}.mlp.fc1", y, width, 4 * width, 1.0)
    y = _gelu(builder, f"{module}.mlp.act", y)
    y = _linear(builder, f"{module}.mlp.fc2", y, 4 * width, width, 1.0)
    return builder.node("Add", f"{module}.shortcut2", [x, y])


def _gelu(builder: Builder, module: str, x: str) -> str:
    """Append GELU as opsets before 20 have to write it."""
    numbers = [
        _constant(builder, f"{module}.{name}", np.array(value, np.float32))
        for name, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5))
    ]
    y = builder.node("Div", module, [x, numbers[0]])
    y = builder.node("Erf", module, [y])
    y = builder.node("Add", module, [y, numbers[1]])
    y = builder.node("Mul", module, [x, y])
    return builder.node("Mul", f"{module}.halved", [y, numbers[2]])


def unet(
    *,
    seed: int | None = 0,
    batch: int | None = None,
    image: int = IMAGE,
    width: int = 32,
    depth: int = 4,
    classes: int = 21,
) -> onnx.ModelProto:
    """Build a U-Net with random weights; `output` is (N, classes, image, image).

    `seed`, `batch` and the input are those of `resnet`; `image` is a multiple of ``2 ** depth``.
    Levels go up by transposed convolution, the last one by bilinear Resize and a convolution.
    """
    builder = Builder(seed)
    x = Feature("input", 3)
    left: list[Feature] = []
    for level in range(depth):
        x = _double_conv(builder, f"down.{level}", x, width << level)
        left.append(x)
        pooled = builder.node(
            "MaxPool", f"down.{level}.pool", [x.name], kernel_shape=[2, 2], strides=[2, 2]
        )
        x = Feature(pooled, x.channels)
    x = _double_conv(builder, "middle", x, width << depth)
    for level in reversed(range(depth)):
        module, channels = f"up.{level}", width << level
        if level:
            x = _transposed(builder, f"{module}.up", x, channels)
        else:
            scales = builder.weight(f"{module}.scales", np.array([1, 1, 2, 2], np.float32))
            wide = builder.node("Resize", f"{module}.resize", [x.name, "", scales])
            builder.nodes[-1].attribute.append(helper.make_attribute("mode", "linear"))
            x = builder.conv(f"{module}.up", Feature(wide, x.channels), channels, 1)
        joined = builder.node("Concat", f"{module}.cat", [left[level].name, x.name], axis=1)
        x = _double_conv(builder, module, Feature(joined, 2 * channels), channels)
    x = builder.conv("head", x, classes, 1)
    builder.nodes[-1].output[0] = "output"
    return builder.model("unet", batch, image, (classes, image, image))


def _double_conv(builder: Builder, module: str, x: Feature, channels: int) -> Feature:
    for step in range(2):
        x = builder.conv(f"{module}.conv{step}", x, channels, 3, gain=RELU_GAIN)
        x = _batch_norm(builder, f"{module}.bn{step}", x)
        x = builder.relu(f"{module}.relu{step}", x)
    return x


def _batch_norm(builder: Builder, module: str, x: Feature) -> Feature:
    c = x.channels
    inputs = [
        x.name,
        builder.weight(f"{module}.weight", 1 + builder.normal((c,), 0.1)),
        builder.weight(f"{module}.bias", builder.normal((c,), 0.1)),
        builder.weight(f"{module}.running_mean", builder.normal((c,), 0.1)),
        builder.weight(f"{module}.running_var", np.exp(builder.normal((c,), 0.2))),
    ]
    return Feature(builder.node("BatchNormalization", module, inputs), c)


def _transposed(builder: Builder, module: str, x: Feature, channels: int) -> Feature:
    weight = builder.normal((x.channels, channels, 2, 2), RELU_GAIN / math.sqrt(x.channels))
    inputs = [
        x.name,
        builder.weight(f"{module}.weight", weight),
        builder.weight(f"{module}.bias", builder.normal((channels,), 0.1)),
    ]
    y = builder.node("ConvTranspose", module, inputs, kernel_shape=[2, 2], strides=[2, 2])
    return Feature(y, channels)
