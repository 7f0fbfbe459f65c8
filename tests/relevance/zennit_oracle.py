"""Relevance by zennit, an independent implementation on torch (LGPL: never a dependency)."""

import sys
import types
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tests.relevance.torch_nets import Add


@contextmanager
def _without_torchvision():
    """Let zennit import; it names torchvision's classes only to recognise them."""
    if "torchvision" in sys.modules:
        yield
        return
    names = {
        "torchvision": (),
        "torchvision.models": (),
        "torchvision.models.resnet": ("BasicBlock", "Bottleneck"),
    }
    for name, classes in names.items():
        module = types.ModuleType(name)
        for one in classes:
            setattr(module, one, type(one, (), {}))
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def fold(layers: nn.Sequential) -> None:
    """Fold each batch normalisation into the convolution before it."""
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.BatchNorm2d):
            layers[index - 1] = fuse_conv_bn_eval(layers[index - 1], layer)
            layers[index] = nn.Identity()


def relevance(net: nn.Module, images: torch.Tensor, composite: str, **options: float):
    """Return the input's relevance of the predicted class, with batch normalisation folded.

    The net is changed: its sums become zennit's, and batch normalisation is folded here. zennit's
    own canonizer leaves the ε of the normalisation in place, which scales every layer by 1 - ε/2.
    `composite` is one of zennit's, or ``"epsilon_all"`` for the ε rule on every linear layer.
    """
    with _without_torchvision():
        from zennit.attribution import Gradient
        from zennit.composites import COMPOSITES, LayerMapComposite, layer_map_base
        from zennit.layer import Sum
        from zennit.rules import Epsilon
        from zennit.types import Linear

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum = Sum()

        def forward(self, branch: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
            return self.sum(torch.stack([branch, identity], dim=-1))

    for module in list(net.modules()):
        if isinstance(getattr(module, "add", None), Add):
            module.add = Summed()
    for module in list(net.modules()):
        if isinstance(module, nn.Sequential):
            fold(module)
    if composite == "epsilon_all":
        made = LayerMapComposite(layer_map=[*layer_map_base(), (Linear, Epsilon())])
    else:
        made = COMPOSITES[composite](**options)

    def start(output: torch.Tensor) -> torch.Tensor:
        chosen = nn.functional.one_hot(output.argmax(dim=1), output.shape[1])
        return chosen.to(output) * output

    with Gradient(model=net, composite=made) as attributor:
        _, given = attributor(images, start)
    return given.detach().numpy()
