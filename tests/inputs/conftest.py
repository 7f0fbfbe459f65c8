"""Images and model inputs for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.graph.image_input import ImageInput


@pytest.fixture
def model_input() -> Callable[..., ImageInput]:
    """Return a function that describes a model's input from its shape."""

    def build(
        *shape: int | None, layout: str | None = "NCHW", dtype: str = "float32", name: str = "x"
    ) -> ImageInput:
        channels = height = width = None
        if layout == "NCHW":
            _, channels, height, width = shape
        elif layout == "NHWC":
            _, height, width, channels = shape
        return ImageInput(name, dtype, shape, shape[0], layout, channels, height, width)

    return build


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return a function that makes reproducible uint8 noise of a shape."""

    def build(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return build


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that fills a folder with images whose every pixel is their number."""

    def build(count: int, broken: tuple[int, ...] = (), size: tuple[int, int] = (4, 4)) -> Path:
        target = tmp_path / "images"
        target.mkdir(exist_ok=True)
        for number in range(count):
            path = target / f"i{number}.png"
            if number in broken:
                path.write_bytes(b"this is text")
            else:
                Image.new("L", size, number % 256).save(path)
        return target

    return build
