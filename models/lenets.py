"""LeNet-1, LeNet-4 and LeNet-5 with ReLU, as the literature on neural-network testing uses them.

LeCun et al., "Gradient-based learning applied to document recognition" (1998), in the variant of
DeepXplore (Pei et al., SOSP 2017) and DeepImportance (Gerasimou et al., ICSE 2020): ReLU instead
of tanh, max pooling instead of trained subsampling, every convolution padded so that it keeps its
height and width. The parameter counts are those of DeepXplore's networks.
"""

from collections import OrderedDict
from typing import NamedTuple

from torch import nn


class Shape(NamedTuple):
    """Widths of one LeNet: the two convolutions, then the hidden fully connected layers."""

    convolutions: tuple[int, int]
    hidden: tuple[int, ...]
    parameters: int


LENETS = {
    "lenet1": Shape((4, 12), (), 7_206),
    "lenet4": Shape((6, 16), (84,), 69_362),
    "lenet5": Shape((6, 16), (120, 84), 107_786),
}


def lenet(name: str) -> nn.Sequential:
    """Build one of :data:`LENETS`, untrained.

    Parameters
    ----------
    name : str
        ``lenet1``, ``lenet4`` or ``lenet5``.

    Returns
    -------
    torch.nn.Sequential
        Takes (N, 1, 28, 28) float32 in [0, 1], gives (N, 10) logits. Every ReLU is a module of
        its own (``relu1``, ``relu2``, …), so that each has its own name in the exported graph.
    """
    first, second = LENETS[name].convolutions
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, first, 5, padding=2),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(first, second, 5, padding=2),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
    )
    width = second * 7 * 7
    for number, hidden in enumerate(LENETS[name].hidden, start=1):
        layers[f"fc{number}"] = nn.Linear(width, hidden)
        layers[f"relu{number + 2}"] = nn.ReLU()
        width = hidden
    layers[f"fc{len(LENETS[name].hidden) + 1}"] = nn.Linear(width, 10)
    return nn.Sequential(layers)
