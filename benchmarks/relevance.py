"""Ours, zennit and the limit side by side: the cost of relevance over plain inference.

The limit is onnxruntime's inference of the untouched model. Ours is `cleanai_onnx.relevance` on the
same model; zennit explains the same network, with the same weights, in torch. Batches of the three
are interleaved in one process; printed is the median over rounds of the ratio of their times. Where
torch or zennit is not installed (`pip install --no-deps zennit`), the other two are compared.

    python benchmarks/relevance.py [--models resnet50 ...] [--rounds 5] [--composite epsilon-plus]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import architectures
import numpy as np
import onnx

from cleanai_onnx.relevance import Explainer
from cleanai_onnx.runtime import require_onnxruntime

ort = require_onnxruntime()

MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet18": lambda: architectures.resnet(18),
    "resnet50": lambda: architectures.resnet(50),
    "mobilenet_v2": architectures.mobilenet_v2,
}
AIMS = {"resnet18": "at most 6", "resnet50": "at most 5.0", "mobilenet_v2": "at most 10"}
BOX = 3.0
"""Inputs lie between minus this and this."""


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--composite",
        choices=("epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1"),
        default="epsilon-plus",
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--forward", choices=("onnxruntime", "jax"), default="onnxruntime")
    parser.add_argument("--without-zennit", action="store_true")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; python {platform.python_version()}, "
        f"onnxruntime {ort.__version__}; {arguments.composite}, batch {arguments.batch_size}, "
        f"{arguments.threads} threads, forward by {arguments.forward}"
    )
    for name in arguments.models:
        compare(name, arguments)


def compare(name: str, arguments: argparse.Namespace) -> None:
    """Measure one model and print its rows."""
    proto = MODELS[name]()
    random = np.random.default_rng(0)
    shape = (arguments.batch_size, 3, architectures.IMAGE, architectures.IMAGE)
    batch = np.clip(random.standard_normal(shape, dtype=np.float32), -BOX, BOX)
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    plain = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    box = {"low": -BOX, "high": BOX} if arguments.composite.endswith("box") else {}
    started = time.perf_counter()
    explainer = Explainer(
        proto,
        composite=arguments.composite,
        batch_size=arguments.batch_size,
        threads=arguments.threads,
        forward=arguments.forward,
        device="cpu",
        **box,
    )
    ours = explainer.explain(batch)
    first = time.perf_counter() - started
    zennit = None if arguments.without_zennit else zennit_on(name, proto, arguments)

    runs: dict[str, Callable[[], Any]] = {
        "plain": lambda: plain.run(None, {"input": batch}),
        "ours": lambda: explainer.explain(batch),
    }
    if zennit is not None:
        runs["zennit"] = lambda: zennit(batch)
    times: dict[str, list[float]] = {key: [] for key in runs}
    for one in runs.values():
        one()
    for _ in range(arguments.rounds):
        for key, one in runs.items():
            start = time.perf_counter()
            one()
            times[key].append(time.perf_counter() - start)
    each = 1e3 / arguments.batch_size

    def ratio(above: str, below: str) -> float:
        pairs = zip(times[above], times[below], strict=True)
        return statistics.median(a / b for a, b in pairs)

    print(f"\n{name}: first batch, everything made and compiled, {first:.1f} s")
    print(f"  limit: plain inference {statistics.median(times['plain']) * each:9.2f} ms/image")
    print(
        f"  ours                   {statistics.median(times['ours']) * each:9.2f} ms/image   "
        f"{ratio('ours', 'plain'):5.2f}   (aim: {AIMS[name]})"
    )
    if zennit is not None:
        theirs = zennit(batch)
        apart = np.abs(ours.relevance - theirs).max() / np.abs(theirs).max()
        print(
            f"  zennit                 {statistics.median(times['zennit']) * each:9.2f} ms/image   "
            f"{ratio('zennit', 'plain'):5.2f}   ours is {ratio('zennit', 'ours'):.2f} times "
            f"faster; both are {apart:.1e} of max|R| apart"
        )


def zennit_on(
    name: str, proto: onnx.ModelProto, arguments: argparse.Namespace
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return zennit's relevance of the same network, or None if it is not installed."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("zennit") is None:
        print("  zennit or torch is not installed: only the limit is compared")
        return None
    import torch

    torch.set_num_threads(arguments.threads)
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        # zennit names these classes to recognise them, and needs nothing else of torchvision.
        resnet = types.ModuleType("torchvision.models.resnet")
        resnet.BasicBlock = resnet.Bottleneck = type("Absent", (), {})
        for module in ("torchvision", "torchvision.models"):
            sys.modules[module] = types.ModuleType(module)
        sys.modules["torchvision.models.resnet"] = resnet
    from zennit.attribution import Gradient
    from zennit.composites import COMPOSITES

    weights = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in proto.graph.initializer
    }
    net = torch_net(name)
    net.load_state_dict(weights)
    net.eval()
    options = {}
    if arguments.composite.endswith("box"):
        options = {"low": torch.tensor(-BOX), "high": torch.tensor(BOX)}
    composite = COMPOSITES[arguments.composite.replace("-", "_")](**options)

    def start(output: torch.Tensor) -> torch.Tensor:
        chosen = torch.nn.functional.one_hot(output.argmax(dim=1), output.shape[1])
        return chosen.to(output) * output

    def explain(batch: np.ndarray) -> np.ndarray:
        with Gradient(model=net, composite=composite) as attributor:
            _, relevance = attributor(torch.from_numpy(batch), start)
        return relevance.detach().numpy()

    return explain


def torch_net(name: str) -> Any:
    """Return a network of `architectures` in torch: the same names, sums by zennit's module."""
    import torch
    from torch import nn
    from zennit.layer import Sum

    class Residual(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
            super().__init__()
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            outputs = width * 4 if bottleneck else width
            self.count = len(kernels)
            here = inputs
            for index, kernel in enumerate(kernels):
                there = outputs if index == self.count - 1 else width
                step = stride if index == (1 if bottleneck else 0) else 1
                conv = nn.Conv2d(here, there, kernel, step, kernel // 2)
                self.add_module(f"conv{index + 1}", conv)
                self.add_module(f"relu{index + 1}", nn.ReLU())
                here = there
            if stride != 1 or inputs != outputs:
                self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))
            else:
                self.downsample = nn.Sequential()
            self.sum = Sum()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x
            for index in range(self.count):
                y = self.get_submodule(f"conv{index + 1}")(y)
                if index < self.count - 1:
                    y = self.get_submodule(f"relu{index + 1}")(y)
            y = self.sum(torch.stack([y, self.downsample(x)], dim=-1))
            return self.get_submodule(f"relu{self.count}")(y)

    class ResNet(nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()
            stages = architectures.RESNETS[depth]
            self.conv1, self.relu = nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU()
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            channels = 64
            for stage, blocks in enumerate(stages.blocks):
                layers = []
                for block in range(blocks):
                    width = 64 << stage
                    stride = 2 if stage and not block else 1
                    layers.append(Residual(channels, width, stride, stages.bottleneck))
                    channels = width * (4 if stages.bottleneck else 1)
                self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            self.avgpool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
            self.fc = nn.Linear(channels, architectures.CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.maxpool(self.relu(self.conv1(x)))
            for stage in range(4):
                x = self.get_submodule(f"layer{stage + 1}")(x)
            return self.fc(self.flatten(self.avgpool(x)))

    def activated(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
        return nn.Sequential(conv, nn.Identity(), nn.ReLU6())

    class Inverted(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            width = inputs * expansion
            first = [activated(inputs, width, 1, 1, 1)] if expansion != 1 else []
            self.conv = nn.Sequential(
                *first, activated(width, width, 3, stride, width), nn.Conv2d(width, outputs, 1)
            )
            self.sum = Sum() if stride == 1 and inputs == outputs else None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y if self.sum is None else self.sum(torch.stack([y, x], dim=-1))

    class MobileNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            features, channels = [activated(3, 32, 3, 2, 1)], 32
            for expansion, outputs, blocks, stride in architectures.INVERTED_RESIDUALS:
                for block in range(blocks):
                    step = 1 if block else stride
                    features.append(Inverted(channels, outputs, step, expansion))
                    channels = outputs
            features.append(activated(channels, 1280, 1, 1, 1))
            self.features = nn.Sequential(*features)
            self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
            self.classifier = nn.Sequential(nn.Identity(), nn.Linear(1280, architectures.CLASSES))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.flatten(self.pool(self.features(x))))

    return MobileNet() if name == "mobilenet_v2" else ResNet(int(name.removeprefix("resnet")))


if __name__ == "__main__":
    main()
