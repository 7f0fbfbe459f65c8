"""Random small distortions of digits: shift, rotation, scale, shear and an elastic field.

One resampling for each batch: the affine map and the elastic displacement are added up in one
sampling grid, so that a digit is interpolated (and blurred) only once. After Simard, Steinkraus
and Platt, "Best practices for convolutional neural networks applied to visual document analysis"
(2003).
"""

import math

import torch
from torch.nn import functional

ROTATION = math.radians(12)  # largest angle, radians
SCALE = 0.12  # largest relative change of size
SHEAR = 0.15  # largest horizontal shear
SHIFT = 2.2 / 14  # largest shift; the grid's unit is half an image, 14 pixels
ELASTIC = 1.3 / 14  # standard deviation of the elastic displacement at its 5x5 knots


def distort(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Distort every image of a batch in its own way.

    Parameters
    ----------
    images : torch.Tensor
        (N, 1, H, W) float32, background 0.
    generator : torch.Generator
        Where the randomness comes from; its state moves on.

    Returns
    -------
    torch.Tensor
        (N, 1, H, W) float32, within the range of `images`.
    """
    count = len(images)

    def uniform(largest: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * largest

    angle, shear = uniform(ROTATION), uniform(SHEAR)
    wide, high = torch.exp(uniform(SCALE)), torch.exp(uniform(SCALE))
    cos, sin = torch.cos(angle), torch.sin(angle)
    affine = torch.stack(
        [
            torch.stack([cos * wide, (shear * cos - sin) * high, uniform(SHIFT)], dim=1),
            torch.stack([sin * wide, (shear * sin + cos) * high, uniform(SHIFT)], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    knots = torch.randn(count, 2, 5, 5, generator=generator) * ELASTIC
    field = functional.interpolate(
        knots, size=images.shape[2:], mode="bilinear", align_corners=True
    )
    grid = grid + field.permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
