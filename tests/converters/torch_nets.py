"""Networks of the kinds that users have, small; also imported by ``--class torch_nets:Name``."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch import Tensor, nn
from torch.nn import functional


class Digits(nn.Module):
    """The network of ``../shared/real/digit_cnn_state_dict.pth``."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.conv_layers = nn.Sequential(*layers)
        self.fc_layers = nn.Sequential(nn.Linear(1152, 256), nn.ReLU(), nn.Linear(256, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc_layers(self.conv_layers(images).flatten(1))


class Block(nn.Module):
    """A residual block whose one ReLU is called twice."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.short = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.short(x))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.head = nn.Linear(16, 5)
        for module in self.modules():  # statistics as of a trained network
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = torch.randn(module.num_features) * 0.1
                module.running_var = torch.rand(module.num_features) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Curves(nn.Module):
    """Convolutions with an activation that is not a ReLU."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        kinds = {"silu": nn.SiLU, "hardswish": nn.Hardswish, "gelu": nn.GELU}
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            kinds[activation](),
            nn.Conv2d(8, 16, 3, stride=2, groups=8),
            kinds[activation](),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Transformer(nn.Module):
    """Patches, one encoder block with GELU and LayerNorm before attention, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.place = nn.Parameter(torch.randn(1, 16, 32) * 0.1)
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, 4, width // 4)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, width))
        x = x + self.mlp(self.norm2(x))
        return self.head(x.mean(1))


class Tiny(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(4, width)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(torch.relu(self.layer(x)))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"difference": self.layer(left) - self.layer(right), "product": left * right}


class OneByOne(nn.Module):
    """A batch size of one is built into it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(1, 4))


class Deceiver(Tiny):
    """Exported, it is another function."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.layer(x))
        exported = torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting()
        return y * 1.01 if exported else y


class Random(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + torch.randn(x.shape[0], self.layer.out_features)


class NotANumber(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(-torch.abs(self.layer(x)) - 1)


class Exporting(Tiny):
    """Does something bad as soon as it is exported."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
            if self.how == "exit":
                os._exit(7)
            if self.how == "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(600)
        return torch.relu(self.layer(x))


def not_a_module() -> int:
    return 5
