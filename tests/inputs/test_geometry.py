from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cleanai_onnx.inputs.geometry import (
    centre_crop,
    centre_offset,
    contained_size,
    covering_size,
    shorter_side_size,
)

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)


@given(sizes, st.integers(1, 1024))
def test_shorter_side_is_torchvisions(size, shorter: int) -> None:
    width, height = size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = shorter, int(shorter * long / short)
    expected = (new_short, new_long) if width <= height else (new_long, new_short)
    assert shorter_side_size(size, shorter) == expected


@given(sizes, st.integers(1, 1024))
def test_covering_a_square_is_resizing_the_shorter_side(size, side: int) -> None:
    assert covering_size(size, (side, side)) == shorter_side_size(size, side)


@given(sizes, sizes)
def test_covering_covers_and_touches(size, target) -> None:
    result = covering_size(size, target)
    assert result[0] >= target[0] and result[1] >= target[1]
    assert result[0] == target[0] or result[1] == target[1]


@given(sizes, sizes)
def test_contained_is_within_and_touches(size, target) -> None:
    result = contained_size(size, target)
    assert 1 <= result[0] <= target[0] and 1 <= result[1] <= target[1]
    assert result[0] == target[0] or result[1] == target[1]
    ratio = min(target[0] / size[0], target[1] / size[1])
    for have, want in zip(result, size, strict=True):
        assert math.isclose(have, max(1, want * ratio), abs_tol=0.5 + 1e-6)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_crop_offsets_are_torchvisions(length: int, crop: int) -> None:
    if crop <= length:
        assert centre_offset(length, crop) == round((length - crop) / 2.0)
    else:
        assert centre_offset(length, crop) == -((crop - length) // 2)


def test_half_pixels_go_to_even() -> None:
    assert [centre_offset(length, 224) for length in (224, 225, 227, 229, 256)] == [0, 0, 2, 2, 16]


@pytest.mark.parametrize("size", [(3, 4), (4, 3), (9, 10), (5, 2), (2, 9)])
def test_crop_and_padding(size, noise) -> None:
    height, width = size
    pixels = noise(height, width, 3)
    result = np.asarray(centre_crop(Image.fromarray(pixels), (5, 4)))
    # CenterCrop as torchvision does it: pad with zeros on both sides, then cut
    need_h, need_w = max(0, 4 - height), max(0, 5 - width)
    padded = np.pad(
        pixels, ((need_h // 2, (need_h + 1) // 2), (need_w // 2, (need_w + 1) // 2), (0, 0))
    )
    top, left = round((padded.shape[0] - 4) / 2), round((padded.shape[1] - 5) / 2)
    np.testing.assert_array_equal(result, padded[top : top + 4, left : left + 5])
