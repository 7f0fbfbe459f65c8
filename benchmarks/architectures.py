"""ResNet-18 to -152 and MobileNet-V2 as ONNX models with seeded random weights, without torch.

The graphs are those of torchvision's networks as torch's TorchScript exporter writes them: batch
normalisation folded into the convolutions, node names made of module scopes, and the second call
of a module numbered (``/layer1/layer1.0/relu_1/Relu`` is the second call of the module
``layer1.0.relu``). They serve for timing and for counting units; the weights know nothing.

Random weights of the usual kind would let activations grow or die on the way through 150 layers.
Here, dense convolutions have zero-mean filters of a gain that keeps the variance at one (scaled
weight standardisation: Brock, De and Smith, "Characterizing signal propagation to close the
performance gap in unnormalized ResNets", 2021), depthwise ones keep He's scale, and a residual
branch is damped by the number of blocks in its stage.

Sources of the architectures: He et al., "Deep residual learning for image recognition" (2016),
with torchvision's stride in the 3x3 convolution of a bottleneck; Sandler et al., "MobileNetV2:
inverted residuals and linear bottlenecks" (2018).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
CLASSES = 1000
IMAGE = 224

# Variance of relu(z), z standard normal, is (1 - 1/pi) / 2; this gain restores variance one.
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))


class Stages(NamedTuple):
    """Blocks in each of the four stages of a ResNet, and whether they are bottlenecks."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool


RESNETS = {
    18: Stages((2, 2, 2, 2), False),
    34: Stages((3, 4, 6, 3), False),
    50: Stages((3, 4, 6, 3), True),
    101: Stages((3, 4, 23, 3), True),
    152: Stages((3, 8, 36, 3), True),
}

# Expansion, channels, blocks, stride of the first block: table 2 of the MobileNet-V2 paper.
INVERTED_RESIDUALS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Feature(NamedTuple):
    """A tensor of the graph under construction, and its number of channels."""

    name: str
    channels: int


class Builder:
    """Collects nodes and weights, named as the TorchScript exporter names them.

    Parameters
    ----------
    seed : int or None
        Seed of the weights; None makes them all zero, which is quicker and enough for shapes.
    """

    def __init__(self, seed: int | None) -> None:
        self._random = None if seed is None else np.random.default_rng(seed)
        self._calls: dict[str, int] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(
        self, op: str, module: str, inputs: Sequence[str], **attributes: int | Sequence[int]
    ) -> str:
        """Append a call of the module (dotted path, empty for none) and name its output."""
        key = module if module else f" {op}"
        call = self._calls.get(key, 0)
        self._calls[key] = call + 1
        suffix = f"_{call}" if call else ""
        name = f"/{_scope(module)}{suffix}/{op}" if module else f"/{op}{suffix}"
        output = f"{name}_output_0"
        node = helper.make_node(op, list(inputs), [output], name=name)
        node.attribute.extend(helper.make_attribute(*item) for item in sorted(attributes.items()))
        self.nodes.append(node)
        return output

    def weight(self, name: str, values: NDArray[np.float32]) -> str:
        """Add an initializer."""
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
        """Draw normal values of the given standard deviation, or zeros where there is no seed."""
        if self._random is None:
            return np.zeros(shape, np.float32)
        return self._random.standard_normal(shape, np.float32) * np.float32(scale)

    def conv(
        self,
        module: str,
        x: Feature,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        gain: float = 1.0,
    ) -> Feature:
        """Append a padded convolution with bias (the batch normalisation folded in).

        `gain` is the standard deviation of its output when its inputs have variance one.
        """
        fan_in = x.channels // groups * kernel * kernel
        shape = (channels, x.channels // groups, kernel, kernel)
        filters = self.normal(shape, gain / math.sqrt(fan_in))
        if groups == 1:
            # Zero-mean filters are blind to the mean that a ReLU leaves in every channel. A
            # depthwise filter must not be: it would be blind to every smooth image.
            filters -= filters.mean(axis=(1, 2, 3), keepdims=True)
        pad = kernel // 2
        output = self.node(
            "Conv",
            module,
            [
                x.name,
                self.weight(f"{module}.weight", filters),
                self.weight(f"{module}.bias", self.normal((channels,), 0.1 * gain)),
            ],
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )
        return Feature(output, channels)

    def relu(self, module: str, x: Feature) -> Feature:
        """Append a ReLU."""
        return Feature(self.node("Relu", module, [x.name]), x.channels)

    def relu6(self, module: str, x: Feature) -> Feature:
        """Append a ReLU6: a Clip whose bounds are Constant nodes in the module's scope."""
        bounds = []
        for suffix, value in (("", 0.0), ("_1", 6.0)):
            name = f"/{_scope(module)}/Constant{suffix}"
            tensor = numpy_helper.from_array(np.array(value, np.float32))
            bounds.append(f"{name}_output_0")
            self.nodes.append(
                helper.make_node("Constant", [], bounds[-1:], name=name, value=tensor)
            )
        return Feature(self.node("Clip", module, [x.name, *bounds]), x.channels)

    def add(self, module: str, branch: Feature, identity: Feature) -> Feature:
        """Append the sum that closes a residual block; `module` is the block."""
        name = f"/{_scope(module)}/Add"
        inputs = [branch.name, identity.name]
        self.nodes.append(helper.make_node("Add", inputs, [f"{name}_output_0"], name=name))
        return Feature(f"{name}_output_0", branch.channels)

    def classifier(self, pool: str, linear: str, x: Feature) -> None:
        """Append global average pooling and the linear layer that gives ``output``."""
        pooled = self.node("GlobalAveragePool", pool, [x.name])
        flat = self.node("Flatten", "", [pooled], axis=1)
        # Averages over the image vary little; ten times the usual scale spreads the logits.
        weight = self.normal((CLASSES, x.channels), 10 / math.sqrt(x.channels))
        weight -= weight.mean(axis=1, keepdims=True)
        inputs = [
            flat,
            self.weight(f"{linear}.weight", weight),
            self.weight(f"{linear}.bias", self.normal((CLASSES,), 0.1)),
        ]
        name = f"/{_scope(linear)}/Gemm"
        self.nodes.append(helper.make_node("Gemm", inputs, ["output"], name=name, transB=1))

    def model(
        self,
        name: str,
        batch: int | None,
        image: int = IMAGE,
        output: tuple[int, ...] = (CLASSES,),
    ) -> onnx.ModelProto:
        """Close the graph; `batch` None is a symbolic batch dimension."""
        rows = "batch" if batch is None else batch
        images, results = [rows, 3, image, image], [rows, *output]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, images)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, results)],
            self.weights,
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="cleanai-onnx benchmarks",
        )


def _scope(module: str) -> str:
    """Turn ``layer1.0.conv1`` into the exporter's ``layer1/layer1.0/conv1``.

    The exporter writes the path of a numbered child (an element of a Sequential) in full up to
    its named parent, and any other child by its own name.
    """
    scopes: list[str] = []
    container = ""
    for part in module.split("."):
        container = f"{container}.{part}" if part.isdigit() else part
        scopes.append(container)
    return "/".join(scopes)


def resnet(
    depth: int, *, seed: int | None = 0, batch: int | None = None, image: int = IMAGE
) -> onnx.ModelProto:
    """Build a ResNet of torchvision's structure with random weights.

    Parameters
    ----------
    depth : int
        18, 34, 50, 101 or 152.
    seed : int or None, optional
        Seed of the weights; None makes them all zero, for those who only want the shapes.
    batch : int or None, optional
        A fixed batch size; None makes the dimension symbolic (``batch``).
    image : int, optional
        Height and width of the images.

    Returns
    -------
    onnx.ModelProto
        ``input`` (N, 3, 224, 224) float32, meant for normalised images (zero mean, variance one);
        ``output`` (N, 1000) logits.

    Raises
    ------
    ValueError
        If there is no ResNet of that depth.
    """
    if depth not in RESNETS:
        raise ValueError(f"no ResNet of depth {depth}: choose one of {sorted(RESNETS)}")
    stages = RESNETS[depth]
    builder = Builder(seed)
    x = builder.conv("conv1", Feature("input", 3), 64, 7, stride=2)
    x = builder.relu("relu", x)
    pooled = builder.node(
        "MaxPool",
        "maxpool",
        [x.name],
        ceil_mode=0,
        dilations=[1, 1],
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[2, 2],
    )
    x = Feature(pooled, x.channels)
    for stage, blocks in enumerate(stages.blocks):
        for block in range(blocks):
            x = _residual_block(
                builder,
                f"layer{stage + 1}.{block}",
                x,
                64 << stage,
                stride=2 if stage and not block else 1,
                bottleneck=stages.bottleneck,
                damping=1 / math.sqrt(blocks),
            )
    builder.classifier("avgpool", "fc", x)
    return builder.model(f"resnet{depth}", batch, image)


def _residual_block(
    builder: Builder,
    module: str,
    x: Feature,
    width: int,
    *,
    stride: int,
    bottleneck: bool,
    damping: float,
) -> Feature:
    """Append a basic block (3x3, 3x3) or a bottleneck (1x1, 3x3, 1x1 of four times the width)."""
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    strided = 1 if bottleneck else 0
    channels = width * 4 if bottleneck else width
    branch = x
    for index, kernel in enumerate(kernels):
        last = index == len(kernels) - 1
        branch = builder.conv(
            f"{module}.conv{index + 1}",
            branch,
            channels if last else width,
            kernel,
            stride=stride if index == strided else 1,
            gain=RELU_GAIN * (damping if last else 1.0),
        )
        if not last:
            branch = builder.relu(f"{module}.relu", branch)
    identity = x
    if stride != 1 or x.channels != channels:
        identity = builder.conv(
            f"{module}.downsample.0", x, channels, 1, stride=stride, gain=RELU_GAIN
        )
    return builder.relu(f"{module}.relu", builder.add(module, branch, identity))


def mobilenet_v2(
    *, seed: int | None = 0, batch: int | None = None, image: int = IMAGE
) -> onnx.ModelProto:
    """Build MobileNet-V2 (width 1.0) of torchvision's structure with random weights.

    Parameters
    ----------
    seed : int or None, optional
        Seed of the weights; None makes them all zero, for those who only want the shapes.
    batch : int or None, optional
        A fixed batch size; None makes the dimension symbolic (``batch``).
    image : int, optional
        Height and width of the images.

    Returns
    -------
    onnx.ModelProto
        ``input`` (N, 3, 224, 224) float32, meant for normalised images (zero mean, variance one);
        ``output`` (N, 1000) logits. Its 35 activations are ReLU6, as Clip.
    """
    builder = Builder(seed)
    x = builder.conv("features.0.0", Feature("input", 3), 32, 3, stride=2)
    x = builder.relu6("features.0.2", x)
    number = 1
    for expansion, channels, blocks, first_stride in INVERTED_RESIDUALS:
        for block in range(blocks):
            stride = 1 if block else first_stride
            x = _inverted_residual(
                builder,
                f"features.{number}",
                x,
                channels,
                expansion=expansion,
                stride=stride,
                damping=1 / math.sqrt(blocks) if block else 1.0,
            )
            number += 1
    x = builder.relu6(f"features.{number}.2", builder.conv(f"features.{number}.0", x, 1280, 1))
    builder.classifier("", "classifier.1", x)
    return builder.model("mobilenet_v2", batch, image)


def _inverted_residual(
    builder: Builder,
    module: str,
    x: Feature,
    channels: int,
    *,
    expansion: int,
    stride: int,
    damping: float,
) -> Feature:
    """Append 1x1 to `expansion` times the channels, a depthwise 3x3, and a linear 1x1."""
    branch, step = x, 0
    if expansion != 1:
        branch = builder.conv(f"{module}.conv.0.0", x, x.channels * expansion, 1)
        branch = builder.relu6(f"{module}.conv.0.2", branch)
        step = 1
    branch = builder.conv(
        f"{module}.conv.{step}.0",
        branch,
        branch.channels,
        3,
        stride=stride,
        groups=branch.channels,
        gain=math.sqrt(2),
    )
    branch = builder.relu6(f"{module}.conv.{step}.2", branch)
    branch = builder.conv(
        f"{module}.conv.{step + 1}", branch, channels, 1, gain=RELU_GAIN * damping
    )
    if stride == 1 and x.channels == channels:
        return builder.add(module, branch, x)
    return branch
