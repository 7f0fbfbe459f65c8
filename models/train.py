"""Train LeNet-1, -4 and -5 on the MNIST digits and export them to ONNX.

    python models/train.py                    # all three, a few minutes on one CPU core
    python models/train.py --models lenet5
    python models/train.py --validate         # 7,000 / 1,000 inside the training split, no files

The recipe (epochs, learning rate, distortions) was fixed beforehand and confirmed with
``--validate``, which never looks at the test split; that is measured once, on the exported file,
and nothing was chosen by it. Seeds are fixed and torch runs on one thread with deterministic
algorithms, so the same torch on the same kind of CPU gives the same weights.

Needs torch, onnx, onnxscript and onnxruntime.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from augmentation import distort
from digits_data import DEFAULT_DATA, HERE, Digits, load
from lenets import LENETS, lenet
from numpy.typing import NDArray
from onnx_export import export
from torch import nn
from torch.nn import functional

SEED = 1998
EPOCHS = {"lenet1": 60, "lenet4": 60, "lenet5": 60}
BATCH = 64
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-4
WARM_UP = 0.1  # part of the steps in which the learning rate climbs
VALIDATION = 1_000  # digits of the training split held out by --validate


def tensors(digits: Digits, indices: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64 of the given digits."""
    images = torch.from_numpy(digits.images[indices]).to(torch.float32)[:, None] / 255
    return images, torch.from_numpy(digits.labels[indices]).to(torch.int64)


def train(name: str, images: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """Train one LeNet on distorted digits: AdamW, warm-up, then a cosine down to zero.

    Parameters
    ----------
    name : str
        A key of ``lenets.LENETS``.
    images, labels : torch.Tensor
        (N, 1, 28, 28) float32 in [0, 1] and (N,) int64.

    Returns
    -------
    torch.nn.Module
        The network after its last step, in evaluation mode.
    """
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = lenet(name)
    steps = EPOCHS[name] * math.ceil(len(images) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def rate(step: int) -> float:
        warm = WARM_UP * steps
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for epoch in range(EPOCHS[name]):
        started, total = time.monotonic(), 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            logits = model(distort(images[chosen], generator))
            loss = functional.cross_entropy(logits, labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        if (epoch + 1) % 10 == 0 or epoch == 0:
            seconds = time.monotonic() - started
            print(f"  epoch {epoch + 1:3}: loss {total / len(images):.4f}, {seconds:.1f} s")
    return model.eval()


def correct(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """How many of the images the model classifies correctly."""
    with torch.no_grad():
        return int((model(images).argmax(dim=1) == labels).sum())


def correct_in_onnxruntime(path: Path, images: torch.Tensor, labels: torch.Tensor) -> int:
    """How many of the images the exported file classifies correctly in onnxruntime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images.numpy()})
    return int((logits.argmax(axis=1) == labels.numpy()).sum())


def validate(name: str, digits: Digits) -> None:
    """Train without the last part of a shuffled training split and print the accuracy on it."""
    shuffled = np.random.default_rng(SEED).permutation(digits.train)
    images, labels = tensors(digits, shuffled[VALIDATION:])
    model = train(name, images, labels)
    held = correct(model, *tensors(digits, shuffled[:VALIDATION]))
    print(f"{name}: {held} of {VALIDATION:,} validation digits")


def make(name: str, digits: Digits, folder: Path) -> None:
    """Train on the whole training split, export, and measure the test split once."""
    model = train(name, *tensors(digits, digits.train))
    path = folder / f"{name}.onnx"
    export(model, name, path)
    test = tensors(digits, digits.test)
    count = len(digits.test)
    in_torch, in_onnx = correct(model, *test), correct_in_onnxruntime(path, *test)
    print(
        f"{name}: {in_torch} of {count:,} in torch ({in_torch / count:.2%}),"
        f" {in_onnx} in onnxruntime ({in_onnx / count:.2%}), {path.stat().st_size:,} bytes"
    )


def main() -> None:
    """Parse the arguments and train what they name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="mnist_10k.npz")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for the ONNX files")
    parser.add_argument("--models", nargs="+", choices=sorted(LENETS), default=sorted(LENETS))
    parser.add_argument(
        "--validate", action="store_true", help="hold out 1,000 training digits; write nothing"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load(options.data)
    for name in options.models:
        print(f"{name}: {LENETS[name].parameters:,} parameters, {EPOCHS[name]} epochs")
        if options.validate:
            validate(name, digits)
        else:
            make(name, digits, options.output)


if __name__ == "__main__":
    main()
