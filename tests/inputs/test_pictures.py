"""What a model sees, as a picture, and relevance in the same place."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.inputs import Preprocessing, Unchanged, as_plane, picture, value_range
from cleanai_onnx.inputs.preprocessing import preprocess

RANDOM = np.random.default_rng(0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["RGB", "BGR", "gray"])
def test_the_normalisation_is_undone(layout, order) -> None:
    channels = 1 if order == "gray" else 3
    pixels = RANDOM.integers(0, 256, (5, 4, channels), dtype=np.uint8).squeeze()
    how = Preprocessing((5, 4), order, 1 / 255, MEAN[:channels], STD[:channels], layout=layout)
    values = preprocess(Image.fromarray(pixels), how)
    np.testing.assert_array_equal(picture(values, how), pixels)
    low, high = value_range(how)
    assert np.broadcast_shapes(low.shape, values.shape) == values.shape
    assert (low <= values).all() and (values <= high).all()
    for value, end in ((0, low), (255, high)):
        flat = preprocess(Image.fromarray(np.full_like(pixels, value)), how)
        np.testing.assert_allclose(flat, np.broadcast_to(end, flat.shape), rtol=1e-6)


def test_a_negative_scale_turns_the_range_over() -> None:
    low, high = value_range(Preprocessing((2, 2), "gray", 1.0, std=(-1.0,)))
    assert (float(low.squeeze()), float(high.squeeze())) == (-255.0, 0.0)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_relevance_is_summed_over_the_channels(layout) -> None:
    how = Preprocessing((5, 4), "RGB", 1.0, layout=layout)
    values = RANDOM.standard_normal(how.item_shape)
    axis = 0 if layout == "NCHW" else -1
    np.testing.assert_allclose(as_plane(values, how), values.sum(axis=axis))


@pytest.mark.parametrize(
    ("shape", "plane"),
    [((3, 5, 4), (5, 4)), ((5, 4, 3), (5, 4)), ((1, 5, 4), (5, 4)), ((5, 4), (5, 4)),
     ((10,), (4, 4)), ((7, 5, 2), (9, 9)), ((), (1, 1))],
)  # fmt: skip
def test_arrays_that_were_ready(shape, plane) -> None:
    how = Unchanged(shape, "float32")
    values = RANDOM.standard_normal(shape).astype(np.float32)
    relevance = as_plane(values, how)
    assert relevance.shape == plane == picture(values, how).shape[:2]
    assert relevance.sum() == pytest.approx(float(values.sum()), abs=1e-5)
