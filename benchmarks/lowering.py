"""How fast is the lowered model: forward, and with its gradient, beside onnxruntime.

    python -m benchmarks.lowering [resnet50 mobilenet_v2 …] [--batch 8] [--image 224] [--rounds 5]

For each network: onnxruntime's time for a batch, the lowered function's (compiled by XLA), the
same with the gradient to the image, their ratios to onnxruntime, and the time to compile. The
variants of a comparison take turns in one process, and the fastest round counts, so that a busy
machine slows all of them alike.

``--layouts`` compares convolutions in ONNX's layout with the same turned to channels last, and
``--depthwise`` XLA's depthwise convolution with shifted multiply-adds.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax import lax

from benchmarks.architectures import mobilenet_v2, resnet
from benchmarks.newer_architectures import efficientnet_like, unet, vit_tiny
from cleanai_onnx.lowering import lower
from cleanai_onnx.lowering.operators.convolution import depthwise
from cleanai_onnx.runtime.compilation import compiled

NETWORKS: dict[str, Callable[..., Any]] = {
    "resnet18": lambda **options: resnet(18, **options),
    "resnet50": lambda **options: resnet(50, **options),
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_like": efficientnet_like,
    "vit_tiny": vit_tiny,
    "unet": unet,
}


def fastest(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the fastest of `rounds` turns of each variant, in seconds."""
    times = {name: float("inf") for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def blocking(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of JAX and wait for its result."""
    return jax.block_until_ready(function(*arguments))


def measure(name: str, batch: int, image: int, rounds: int) -> None:
    """Print the figures of one network."""
    proto = NETWORKS[name](image=image)
    x = np.random.default_rng(0).standard_normal((batch, 3, image, image), np.float32)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    lowered = lower(proto, input_shapes={"input": x.shape})
    parameters = jax.device_put(dict(lowered.parameters))
    images = jax.device_put(x)

    def forward(weights: Any, inputs: Any) -> Any:
        return lowered(weights, inputs)["output"]

    def gradient(weights: Any, inputs: Any) -> Any:
        return jax.grad(lambda v: forward(weights, v).max(axis=1).sum())(inputs)

    platform = jax.default_backend()
    functions, compile_seconds = {}, {}
    for label, function in (("forward", forward), ("gradient", gradient)):
        start = time.perf_counter()
        functions[label] = compiled(function, platform).lower(parameters, images).compile()
        compile_seconds[label] = time.perf_counter() - start
    variants: dict[str, Callable[[], object]] = {
        "onnxruntime": lambda: session.run(None, {"input": x})
    }
    for label, function in functions.items():
        variants[label] = partial(blocking, function, parameters, images)
    for run in variants.values():
        run()
    times = fastest(variants, rounds)
    base = times["onnxruntime"]
    print(f"{name}, batch {batch}, {image} pixels: onnxruntime {1000 * base:.0f} ms")
    for label in functions:
        print(
            f"  {label:9} {1000 * times[label]:6.0f} ms, {times[label] / base:5.2f} times "
            f"onnxruntime, compiled in {compile_seconds[label]:.1f} s"
        )


def compare_layouts(rounds: int) -> None:
    """Print convolutions in both layouts, arrays in ONNX's layout before and after."""

    def last(x: Any, w: Any, strides: int, pad: int) -> Any:
        y = lax.conv_general_dilated(
            x.transpose(0, 2, 3, 1),
            w.transpose(2, 3, 1, 0),
            (strides, strides),
            ((pad, pad),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=lax.Precision.HIGHEST,
        )
        return y.transpose(0, 3, 1, 2)

    def first(x: Any, w: Any, strides: int, pad: int) -> Any:
        return lax.conv_general_dilated(
            x, w, (strides, strides), ((pad, pad),) * 2, precision=lax.Precision.HIGHEST
        )

    for channels, size, kernel in ((64, 56, 3), (256, 14, 3), (256, 56, 1), (1024, 14, 1)):
        x = jnp.ones((8, channels, size, size))
        w = jnp.ones((channels, channels, kernel, kernel))
        runs = {}
        for label, function in (("ONNX's layout", first), ("turned", last)):
            run = compiled(function, jax.default_backend(), static_argnums=(2, 3))
            runs[label] = partial(blocking, run, x, w, 1, kernel // 2)
            runs[label]()
        times = fastest(runs, rounds)
        shown = ", ".join(f"{label} {1000 * t:.1f} ms" for label, t in times.items())
        print(f"{kernel}x{kernel}, {channels} channels, {size}x{size}, batch 8: {shown}")


def compare_depthwise(rounds: int) -> None:
    """Print depthwise convolutions by XLA and as shifted multiply-adds."""

    def xla(x: Any, w: Any, stride: int) -> Any:
        return lax.conv_general_dilated(
            x, w, (stride, stride), ((1, 1), (1, 1)), feature_group_count=x.shape[1],
            precision=lax.Precision.HIGHEST,
        )  # fmt: skip

    def ours(x: Any, w: Any, stride: int) -> Any:
        return depthwise(x, w, (stride, stride), ((1, 1), (1, 1)), (1, 1))

    for channels, size, stride in ((96, 112, 2), (144, 56, 1), (576, 14, 1)):
        x, w = jnp.ones((8, channels, size, size)), jnp.ones((channels, 1, 3, 3))
        runs = {}
        for label, function in (("XLA", xla), ("shifted", ours)):
            run = compiled(function, jax.default_backend(), static_argnums=2)
            runs[label] = partial(blocking, run, x, w, stride)
            runs[label]()
        times = fastest(runs, rounds)
        shown = ", ".join(f"{label} {1000 * t:.1f} ms" for label, t in times.items())
        print(f"depthwise 3x3, {channels} channels, {size}x{size}, stride {stride}: {shown}")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", choices=[*NETWORKS, []], default=[])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layouts", action="store_true")
    parser.add_argument("--depthwise", action="store_true")
    options = parser.parse_args()
    if options.layouts:
        compare_layouts(options.rounds)
    if options.depthwise:
        compare_depthwise(options.rounds)
    chosen = options.networks or ([] if options.layouts or options.depthwise else list(NETWORKS))
    for name in chosen:
        measure(name, options.batch, options.image, options.rounds)


if __name__ == "__main__":
    main()
