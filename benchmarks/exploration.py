"""Searching for disagreements: ours against a plain torch loop over single seeds, interleaved.

FOLDER has DeepXplore's networks (``models/dx_model*.logits.onnx``) and seeds
(``arrays/deepxplore_light_wnc0_step10.npz``). Both do the same search (light, step 10, at most 20
steps, no projection), and must find the same number of images, but for one. Ours is timed after
its compilation, which is printed apart; it works through the seeds several times over, as an
exploration does that has a thousand. The limit is the compiled gradient alone, for as many rows as
the search needs.

    python benchmarks/exploration.py FOLDER [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import torch
from onnx import numpy_helper

from cleanai_onnx import graph
from cleanai_onnx.exploration.search import FOUND, Rules, Seeds, gradient_of, run, searcher
from cleanai_onnx.exploration.searched import SearchedModel, prepare
from cleanai_onnx.exploration.space import PIXELS, View
from cleanai_onnx.runtime.compilation import compiled

BATCH = 32
TIMES = 5
RULES = Rules(constraint="light", step=10.0, iterations=20, valid=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    stored = np.load(arguments.folder / "arrays" / "deepxplore_light_wnc0_step10.npz")
    images = stored["input_first100"]
    paths = [arguments.folder / "models" / f"dx_model{n}.logits.onnx" for n in (1, 2, 3)]
    models = tuple(map(lowered, paths))
    nets = [torch_net(path) for path in paths]
    search = searcher(models, RULES, PIXELS)
    weights = tuple(model.weights for model in models)
    seeds = seeds_from(images)

    def ours() -> int:
        outcome, _ = run(search, weights, seeds, BATCH, 0, lambda: False, lambda _: None)
        return int((outcome.became == FOUND).sum())

    start = time.perf_counter()
    ours()
    print(f"compilation and first run: {time.perf_counter() - start:.1f} s")
    peer(nets, images[:5])
    evaluations, gradient = rows_needed(models, weights, seeds)
    figures: dict[str, list[np.ndarray]] = {"ours": [], "torch loop": [], "limit": []}
    for _ in range(arguments.rounds):
        spent, found = timed(ours)
        figures["ours"].append(spent / len(seeds.points))
        spent, count = timed(lambda: peer(nets, images))
        figures["torch loop"].append(spent / len(images))
        spent, _ = timed(lambda: [gradient() for _ in range(20)])
        figures["limit"].append(spent / 20 * evaluations / BATCH / len(seeds.points))
        assert abs(found / TIMES - count) <= 1, (found, count)
    print(f"\n{len(images)} seeds, {found // TIMES} found; medians of {arguments.rounds} rounds\n")
    print("| | ms for a seed | seeds in a second | times ours | CPU ms for a seed | times ours |")
    print("|---|---|---|---|---|---|")
    own = np.median(figures["ours"], axis=0)
    for name, values in figures.items():
        wall, cpu = np.median(values, axis=0)
        print(
            f"| {name} | {1e3 * wall:.2f} | {1 / wall:,.0f} | {wall / own[0]:.1f} | "
            f"{1e3 * cpu:.2f} | {cpu / own[1]:.1f} |"
        )
    ratios = [a[0] / b[0] for a, b in zip(figures["torch loop"], figures["ours"], strict=True)]
    print(f"\ntorch loop / ours, round by round: {', '.join(f'{ratio:.1f}' for ratio in ratios)}")


def timed(function: Callable[[], Any]) -> tuple[np.ndarray, Any]:
    """Return the seconds that a call takes, by the clock and of processors, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu]), result


def lowered(path: Path) -> SearchedModel:
    """Lower a network for batches."""
    model = graph.load_model(path)
    image_input = graph.find_image_input(model)
    return prepare(model, image_input, (BATCH, 1, 28, 28), View(channels_first=True), ())


def seeds_from(images: np.ndarray) -> Seeds:
    """Return the seeds, several times over."""
    points = np.tile(np.moveaxis(images, 1, -1), (TIMES, 1, 1, 1))
    count = len(points)
    return Seeds(
        points, np.zeros(count, np.int32), np.arange(count, dtype=np.int32), (), np.int32(count)
    )


def rows_needed(
    models: tuple[SearchedModel, ...], weights: Any, seeds: Seeds
) -> tuple[int, Callable[[], Any]]:
    """Return how many rows the search evaluates, and a function that evaluates a batch of them."""
    search = searcher(models, RULES, PIXELS)
    outcome, _ = run(search, weights, seeds, BATCH, 0, lambda: False, lambda _: None)
    evaluate = compiled(gradient_of(models, RULES), "cpu", wide=True)
    rows = jnp.arange(BATCH, dtype=jnp.int32)
    some = Seeds(jnp.asarray(seeds.points[:BATCH]), 0 * rows, rows, (), None)
    first = jnp.ones(BATCH, bool)

    def gradient() -> Any:
        return jax.block_until_ready(evaluate(weights, some.points, 0 * rows, first, some))

    gradient()
    return int((outcome.steps + 1).sum()), gradient


def peer(nets: list[Callable[[torch.Tensor], torch.Tensor]], images: np.ndarray) -> int:
    """Search from one seed after the other; return how many disagreements were found."""
    found = 0
    for image in images:
        x = torch.tensor(image[None])
        with torch.no_grad():
            classes = [int(net(x).argmax()) for net in nets]
        if len(set(classes)) > 1:
            continue
        label = classes[0]
        for _ in range(RULES.iterations):
            x.requires_grad_(True)
            scores = [net(x)[0, label] for net in nets]
            (gradient,) = torch.autograd.grad(-scores[0] + scores[1] + scores[2], x)
            gradient = gradient / (gradient.square().mean().sqrt() + 1e-5)
            x = x.detach() + RULES.step * gradient.mean() * torch.ones_like(x)
            with torch.no_grad():
                classes = [int(net(x).argmax()) for net in nets]
            if len(set(classes)) > 1:
                found += 1
                break
    return found


def torch_net(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return one of the networks as plain torch functions."""
    proto = onnx.load(path)
    stored = {
        t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer
    }
    steps = []
    for node in proto.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        weights = [stored[name] for name in node.input if name in stored]
        steps.append(_step(node.op_type, weights, attributes))

    def net(x: torch.Tensor) -> torch.Tensor:
        for step in steps:
            x = step(x)
        return x

    return net


def _step(
    op: str, weights: list[torch.Tensor], attributes: dict[str, Any]
) -> Callable[[torch.Tensor], torch.Tensor]:
    functional = torch.nn.functional
    if op == "Conv":
        pads = tuple(attributes["pads"][:2])
        return lambda x: functional.conv2d(x, *weights, padding=pads)
    if op == "Gemm":
        weight = weights[0] if attributes.get("transB") else weights[0].T.contiguous()
        return lambda x: functional.linear(x, weight, weights[1])
    if op == "MaxPool":
        return lambda x: functional.max_pool2d(x, attributes["kernel_shape"], attributes["strides"])
    return {"Relu": torch.relu, "Flatten": lambda x: x.flatten(1)}[op]


if __name__ == "__main__":
    main()
