"""Heat maps: colours, scale, size and caption."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.report.heat_maps import draw_heat_map, heat_map

WHITE = np.full((4, 4), 255, np.uint8)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=("PNG",))


def test_red_speaks_for_and_blue_against() -> None:
    relevance = np.zeros((4, 4))
    relevance[0, 0], relevance[3, 3] = 2.0, -2.0
    made = heat_map(relevance, WHITE)
    red, blue, none = (made.pixels[at].astype(int) for at in ((0, 0), (3, 3), (1, 1)))
    assert red[0] > red[1] + 100 and red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert none.min() == none.max() > 200
    assert made.scale == pytest.approx(2.0, rel=0.05)


def test_the_scale_is_symmetric() -> None:
    relevance = np.random.default_rng(0).standard_normal((9, 9))
    assert heat_map(relevance, np.zeros((9, 9), np.uint8)).scale == (
        heat_map(-relevance, np.zeros((9, 9), np.uint8)).scale
    )


def test_one_pixel_of_many_does_not_make_the_others_pale() -> None:
    relevance = np.ones((100, 100))
    relevance[0, 0] = 1e6
    assert heat_map(relevance, np.zeros((100, 100), np.uint8)).scale == 1.0
    relevance[:] = 0
    relevance[0, 0] = 5.0
    assert heat_map(relevance, np.zeros((100, 100), np.uint8)).scale == 5.0


def test_no_relevance_leaves_the_picture() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    made = heat_map(np.zeros((4, 4)), picture)
    assert made.scale == 0.0
    assert (made.pixels.max(axis=2) == made.pixels.min(axis=2)).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((28, 28), (224, 224)), ((1, 1), (224, 224)), ((224, 150), (150, 224)),
     ((2048, 512), (256, 1024)), ((3, 2000), (1024, 2))],
)  # fmt: skip
def test_sizes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    made = heat_map(np.ones(shape), np.zeros(shape, np.uint8))
    width, height = opened(draw_heat_map(made, "name")).size
    assert width == max(size[0], 260)
    assert size[1] < height < size[1] + 100


def test_enlarging_does_not_smooth() -> None:
    relevance = np.zeros((28, 28))
    relevance[::2, ::2] = 1.0
    made = heat_map(relevance, np.zeros((28, 28), np.uint8))
    picture = np.asarray(opened(draw_heat_map(made, "name")).crop((18, 0, 242, 224)))
    np.testing.assert_array_equal(picture[::8, ::8], made.pixels)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 2


@pytest.mark.parametrize("title", ["", "a" * 10_000, "\x1b[31m\u202e", "漢字 אב \ud800", "é" * 300])
def test_hostile_titles(title: str) -> None:
    made = heat_map(np.ones((8, 8)), np.zeros((8, 8), np.uint8))
    picture = opened(draw_heat_map(made, title, ("class 1: 2.5",)))
    picture.load()
    assert picture.width == 260 and not picture.info
