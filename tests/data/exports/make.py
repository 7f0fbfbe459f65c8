"""Export small torch models, as real exporters write them, for the tests of `cleanai_onnx.graph`.

Run it with torch and onnxscript installed: ``python tests/data/exports/make.py``. The weights are
random (fixed seed); torch 2.13.0 and onnxscript 0.7.2 made the files that are kept here.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent
KEPT = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")


class Zoo(nn.Module):
    """One convolution in front of each activation."""

    def __init__(self) -> None:
        super().__init__()
        self.silu = nn.SiLU()
        self.gelu = nn.GELU()
        self.gelu_tanh = nn.GELU(approximate="tanh")
        self.hardswish = nn.Hardswish()
        self.hardsigmoid = nn.Hardsigmoid()
        self.mish = nn.Mish()
        self.softplus = nn.Softplus()
        self.softsign = nn.Softsign()
        self.relu6 = nn.ReLU6()
        self.hardtanh = nn.Hardtanh()
        self.prelu = nn.PReLU(4)
        self.selu = nn.SELU()
        self.celu = nn.CELU()
        self.leaky = nn.LeakyReLU(0.2)
        self.convs = nn.ModuleList(
            nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1) for i in range(14)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply them in turn."""
        activations = (
            self.silu, self.gelu, self.gelu_tanh, self.hardswish, self.hardsigmoid, self.mish,
            self.softplus, self.softsign, self.relu6, self.hardtanh, self.prelu, self.selu,
            self.celu, self.leaky,
        )  # fmt: skip
        for conv, activation in zip(self.convs, activations, strict=True):
            x = activation(conv(x))
        return x.mean((2, 3))


class Block(nn.Module):
    """A residual block that calls its one ReLU twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the input before the second call."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.conv2(out) + x)


class Calls(nn.Module):
    """Modules called once, twice, in a block called twice; named like calls; and functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6())
        self.layer1 = nn.Sequential(Block(4), Block(4))
        self.shared = Block(4)
        self.conv_1 = nn.Conv2d(4, 4, 1)
        self.tanh_1 = nn.Tanh()
        self.fc = nn.Linear(4, 5)
        self.act = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Call them."""
        x = self.layer1(self.stem(x))
        x = self.shared(self.shared(x))
        x = functional.elu(self.conv_1(x))
        x = self.tanh_1(x).mean((2, 3))
        return self.act(self.fc(x))


class Tokens(nn.Module):
    """A patch embedding and one transformer layer with GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify the mean token."""
        return self.head(self.layer(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


def torchscript(name: str, net: nn.Module, opset: int) -> None:
    """Write the TorchScript export of a model."""
    torch.onnx.export(
        net, (torch.rand(2, 3, 8, 8),), HERE / f"{name}_torchscript_{opset}.onnx", dynamo=False,
        opset_version=opset, input_names=["input"], dynamic_axes={"input": {0: "N"}},
    )  # fmt: skip


def dynamo(name: str, net: nn.Module, opset: int) -> None:
    """Write the dynamo export of a model, without the traces that hold paths of the machine."""
    path = HERE / f"{name}_dynamo_{opset}.onnx"
    torch.onnx.export(
        net, (torch.rand(2, 3, 8, 8),), path, dynamo=True, opset_version=opset,
        input_names=["input"], dynamic_shapes=({0: torch.export.Dim("N")},), external_data=False,
    )  # fmt: skip
    proto = onnx.load(path)
    for entry in (*proto.graph.node, *proto.graph.value_info, *proto.graph.initializer,
                  *proto.graph.input, *proto.graph.output, proto, proto.graph):  # fmt: skip
        kept = [(e.key, e.value) for e in entry.metadata_props if e.key in KEPT]
        del entry.metadata_props[:]
        for key, value in kept:
            entry.metadata_props.add(key=key, value=value)
    onnx.save(proto, path)


def main() -> None:
    """Write all exports into this folder."""
    torch.manual_seed(7)
    zoo, calls, tokens = Zoo().eval(), Calls().eval(), Tokens().eval()
    for opset in (13, 17):
        torchscript("zoo", zoo, opset)
    for opset in (18, 20):
        dynamo("zoo", zoo, opset)
    torchscript("calls", calls, 17)
    dynamo("calls", calls, 20)
    torchscript("tokens", tokens, 17)
    dynamo("tokens", tokens, 18)


if __name__ == "__main__":
    main()
