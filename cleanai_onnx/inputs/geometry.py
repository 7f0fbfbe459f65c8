"""Sizes and offsets of resizing and cropping, rounded as torchvision does it on Pillow images.

Sizes are (width, height), as in Pillow. The source of `shorter_side_size` and `centre_crop` is
``torchvision.transforms.functional`` (``resize`` with one integer, ``center_crop``).
"""

from __future__ import annotations

from PIL import Image

__all__ = [
    "centre_crop",
    "contained_size",
    "covering_size",
    "shorter_side_size",
]

Size = tuple[int, int]


def shorter_side_size(size: Size, shorter: int) -> Size:
    """Scale so that the shorter side is `shorter`; the other side is rounded down."""
    width, height = size
    if width <= height:
        return shorter, shorter * height // width
    return shorter * width // height, shorter


def covering_size(size: Size, target: Size) -> Size:
    """Scale to the smallest size that covers `target`; the side left over is rounded down.

    For a square target this is `shorter_side_size`.
    """
    width, height = size
    target_width, target_height = target
    # width/height <= target_width/target_height, in integers
    if width * target_height <= target_width * height:
        return target_width, target_width * height // width
    return target_height * width // height, target_height


def contained_size(size: Size, target: Size) -> Size:
    """Scale to the largest size within `target`; the other side is rounded, to at least 1."""
    width, height = size
    target_width, target_height = target
    if width * target_height >= target_width * height:
        return target_width, max(1, round(target_width * height / width))
    return max(1, round(target_height * width / height)), target_height


def centre_offset(length: int, crop: int) -> int:
    """Return where a centred crop starts; negative where it begins before the image.

    Half pixels are rounded to even when cropping, and the padding before the image is rounded
    down, as in torchvision.
    """
    if crop > length:
        return -((crop - length) // 2)
    return round((length - crop) / 2.0)


def centre_crop(image: Image.Image, crop: Size) -> Image.Image:
    """Cut `crop` from the centre; where the image is smaller, what is missing is black."""
    left = centre_offset(image.width, crop[0])
    top = centre_offset(image.height, crop[1])
    return image.crop((left, top, left + crop[0], top + crop[1]))
