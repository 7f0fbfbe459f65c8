"""ResNet-18, MobileNet-V2 and VGG-11 in plain torch with seeded weights, for small images.

Each has a small form of the same blocks, for what is computed in float64.

Sources: He et al. (2016), Sandler et al. (2018), Simonyan and Zisserman (2015).
"""

import io
from collections.abc import Callable, Sequence

import torch
from torch import nn

CLASSES = 10
IMAGE, SMALL_IMAGE = 64, 32


class Add(nn.Module):
    """The sum that closes a residual block, a module so that it can be exchanged."""

    def forward(self, branch: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        return branch + identity


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Two 3x3 convolutions and the identity, of ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *conv_norm(inputs, outputs, 3, stride), nn.ReLU(), *conv_norm(outputs, outputs, 3)
        )
        same = inputs == outputs and stride == 1
        self.identity = nn.Sequential(*([] if same else conv_norm(inputs, outputs, 1, stride)))
        self.add = Add()
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.add(self.branch(x), self.identity(x)))


def resnet18(width: int = 64, stages: int = 4, repeats: int = 2) -> nn.Module:
    blocks, inputs = [], width
    for stage in range(stages):
        for block in range(repeats):
            outputs = width << stage
            blocks.append(Block(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(
        *conv_norm(3, width, 7, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, CLASSES),
    )


class Inverted(nn.Module):
    """1x1, depthwise 3x3 and a linear 1x1, of MobileNet-V2."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        first = [*conv_norm(inputs, width, 1), nn.ReLU6()] if expansion > 1 else []
        self.branch = nn.Sequential(
            *first,
            *conv_norm(width, width, 3, stride, groups=width),
            nn.ReLU6(),
            *conv_norm(width, outputs, 1),
        )
        self.add = Add() if stride == 1 and inputs == outputs else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.branch(x)
        return branch if self.add is None else self.add(branch, x)


MOBILENET_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
"""Expansion, channels, blocks and stride of the first block."""


def mobilenet_v2(plan: Sequence[tuple[int, ...]] = MOBILENET_V2, last: int = 1280) -> nn.Module:
    blocks, inputs = [], 32
    for expansion, outputs, repeats, stride in plan:
        for block in range(repeats):
            blocks.append(Inverted(inputs, outputs, 1 if block else stride, expansion))
            inputs = outputs
    return nn.Sequential(
        *conv_norm(3, 32, 3, 2),
        nn.ReLU6(),
        *blocks,
        *conv_norm(inputs, last, 1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(last, CLASSES),
    )


VGG11 = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool")


def vgg11(plan: Sequence[int | str] = VGG11, image: int = IMAGE) -> nn.Module:
    layers, inputs = [], 3
    for outputs in plan:
        if outputs == "pool":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(inputs * (image >> plan.count("pool")) ** 2, 256),
        nn.ReLU(),
        nn.Linear(256, CLASSES),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": resnet18,
    "mobilenet_v2": mobilenet_v2,
    "vgg11": vgg11,
    "small resnet": lambda: resnet18(8, 2, 1),
    "small mobilenet": lambda: mobilenet_v2(((1, 8, 1, 1), (4, 12, 2, 2)), 24),
    "small vgg": lambda: vgg11((8, "pool", 12, "pool", 16, 16, "pool"), SMALL_IMAGE),
}


def image_size(name: str) -> int:
    """Return how high and wide a net's images are."""
    return SMALL_IMAGE if name.startswith("small") else IMAGE


def seeded(name: str) -> nn.Module:
    """Return a net with seeded weights, normalisations that fit, and biases that are not zero."""
    torch.manual_seed(0)
    net = NETS[name]()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.05)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.momentum = None  # statistics of everything seen
    with torch.no_grad():
        net(torch.randn(16, 3, image_size(name), image_size(name)))
    return net.eval()


def exported(net: nn.Module, image: int = IMAGE) -> bytes:
    """Return a net as ONNX, batch normalisation kept, with a symbolic batch."""
    file = io.BytesIO()
    torch.onnx.export(
        net,
        (torch.randn(2, 3, image, image),),
        file,
        dynamo=False,
        opset_version=17,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
    )
    return file.getvalue()
