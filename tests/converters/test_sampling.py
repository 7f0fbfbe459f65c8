from __future__ import annotations

import numpy as np
import pytest

from cleanai_onnx.converters.sampling import seeded_batches
from cleanai_onnx.converters.source import InputSpec

NCHW = InputSpec("x", "float32", (None, 3, 16, 20))
LARGE = InputSpec("x", "float32", (None, 3, 64, 64))
NHWC = InputSpec("x", "float32", (None, 16, 20, 3))


def batches(*specs: InputSpec, seed: int = 0, **settings: object) -> list[list[np.ndarray]]:
    return list(seeded_batches(specs, settings, seed))


def test_sizes_shapes_and_types() -> None:
    found = batches(NCHW, InputSpec("n", "int64", (None, 5)), InputSpec("b", "bool", (None,)))
    assert {len(batch[0]) for batch in found} == {1, 3}
    for images, numbers, switches in found:
        assert images.shape[1:] == (3, 16, 20)
        assert images.dtype == np.float32
        assert images.flags.c_contiguous
        assert numbers.dtype == np.int64
        assert ((numbers >= 0) & (numbers < 10)).all()
        assert switches.dtype == bool


def test_the_same_seed_gives_the_same_inputs_and_another_gives_others() -> None:
    first, again, other = batches(NCHW), batches(NCHW), batches(NCHW, seed=1)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_no_input_comes_twice() -> None:
    rows = [row for batch in batches(NHWC) for row in batch[0]]
    assert len({row.tobytes() for row in rows}) == len(rows)


def test_a_fixed_batch_is_kept() -> None:
    assert {len(b[0]) for b in batches(InputSpec("x", "float32", (5, 4)))} == {5}


@pytest.mark.parametrize("spec", [NCHW, NHWC])
def test_images_are_in_the_range_that_the_model_takes(spec: InputSpec) -> None:
    raw = np.concatenate([b[0].ravel() for b in batches(spec, scale=1.0)])
    assert raw.min() >= 0
    assert 200 < raw.max() <= 255
    scaled = np.concatenate([b[0].ravel() for b in batches(spec, scale=1 / 127.5, mean=(1.0,))])
    assert scaled.min() >= -1 - 1e-6
    assert scaled.max() <= 1 + 1e-6
    assert scaled.min() < -0.5 < 0.5 < scaled.max()


def test_images_are_smooth_and_differ_in_their_means() -> None:
    images = np.concatenate([b[0] for b in batches(LARGE, scale=1 / 255)])
    steps = np.abs(np.diff(images, axis=3)).mean()
    assert steps < 0.5 * images.std()  # of white noise it is 1.13
    assert images.mean((2, 3)).std() > 0.03  # of white noise about 0.005


def test_pixels_are_whole_numbers() -> None:
    pixels = batches(InputSpec("x", "uint8", (None, 8, 8, 1)))[0][0]
    assert pixels.dtype == np.uint8
    assert pixels.max() > 100
