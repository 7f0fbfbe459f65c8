from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs import discover, thumbnail
from cleanai_onnx.inputs.suite import Suite


def _opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image


def test_large_images_shrink_and_keep_their_ratio(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), (10, 20, 30)).save(tmp_path / "a.png")
    image = _opened(thumbnail(discover(tmp_path), 0))
    assert image.size == (96, 48)
    assert image.getpixel((50, 20)) == (10, 20, 30)


def test_small_images_stay_and_strips_keep_a_pixel(tmp_path: Path, noise) -> None:
    pixels = noise(28, 28, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.new("L", (3000, 1)).save(tmp_path / "b.png")
    suite = discover(tmp_path)
    np.testing.assert_array_equal(np.asarray(_opened(thumbnail(suite, 0))), pixels)
    assert _opened(thumbnail(suite, 1, size=50)).size == (50, 1)


def test_nothing_but_pixels_is_kept(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "secret")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=text, icc_profile=b"profile")
    png = thumbnail(discover(tmp_path), 0)
    assert _opened(png).info == {}
    assert thumbnail(discover(tmp_path), 0) == png


def test_pixel_arrays(tmp_path: Path, noise) -> None:
    np.save(tmp_path / "d.npy", noise(3, 3, 6, 7))
    image = _opened(thumbnail(discover(tmp_path / "d.npy"), 1))
    np.testing.assert_array_equal(np.moveaxis(np.asarray(image), -1, 0), noise(3, 3, 6, 7)[1])


@pytest.mark.parametrize(
    ("shape", "size", "mode"),
    [
        ((1, 6, 7), (7, 6), "L"), ((3, 6, 7), (7, 6), "RGB"), ((6, 7, 3), (7, 6), "RGB"),
        ((6, 7), (7, 6), "L"), ((784,), (28, 28), "L"), ((10,), (4, 4), "L"),
        ((4, 6, 7), (7, 6), "RGB"), ((2, 5, 6), (8, 8), "L"),
    ],
)  # fmt: skip
def test_ready_arrays_are_mapped_to_eight_bits(shape, size, mode) -> None:
    values = np.linspace(-3, 5, int(np.prod(shape)), dtype=np.float32).reshape(1, *shape)
    suite = Suite("d.npy", "ready", 1, array=values, rows=range(1))
    image = _opened(thumbnail(suite, 0))
    assert (image.size, image.mode) == (size, mode)
    pixels = np.asarray(image)
    assert pixels.min() == 0
    assert pixels.max() == 255 or shape[0] == 4  # the fourth channel is not shown


@pytest.mark.parametrize("fill", [0.0, 7.0, np.nan, np.inf])
def test_arrays_without_contrast(fill: float) -> None:
    values = np.full((1, 1, 4, 4), fill, np.float32)
    suite = Suite("d.npy", "ready", 1, array=values, rows=range(1))
    assert _opened(thumbnail(suite, 0)).size == (4, 4)


def test_a_broken_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ImageError, match=r"'a\.png' cannot be used: it is not a PNG"):
        thumbnail(discover(tmp_path), 0)
