from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cleanai_onnx.inputs import (
    INTERPOLATIONS,
    PRESETS,
    Preprocessing,
    discover,
    resolve_preprocessing,
    stream,
)
from cleanai_onnx.inputs.decoding import UnusableImageError
from cleanai_onnx.inputs.preprocessing import WrongSizeError, fit, preprocess

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared" / "golden" / "cleanai"


@pytest.mark.parametrize(
    ("case", "preset"),
    [("mini_mlp", "symmetric"), ("convnet_small", "imagenet"), ("reused_tanh", "imagenet")],
)
def test_the_inputs_of_the_reference_are_reproduced(model_input, case: str, preset: str) -> None:
    if not GOLDEN.is_dir():
        pytest.skip("the reference data of CleanAI are not beside this repository")
    expected = np.load(GOLDEN / case / "inputs.npy")
    order = json.loads((GOLDEN / case / "golden.json").read_text())["inputs"]
    how = resolve_preprocessing(
        model_input(1, *expected.shape[1:]), given={}, preset=preset
    ).preprocessing
    found: dict[str, np.ndarray] = {}
    for batch in stream(discover(GOLDEN / case / "images"), how, 3):
        found.update(zip(batch.names, batch.data, strict=False))
    assert set(found) == set(order)
    for name, values in zip(order, expected, strict=True):
        np.testing.assert_array_equal(found[name], values)  # bit for bit


def _slowly(pixels: np.ndarray, scale, mean, std, order: str, layout: str) -> np.ndarray:
    """Apply the formula of the documentation value by value, in float64."""
    height, width, channels = pixels.shape
    out = np.empty(pixels.shape)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                source = channels - 1 - c if order == "BGR" else c
                value = float(pixels[y, x, source]) * scale
                out[y, x, c] = (value - mean[c % len(mean)]) / std[c % len(std)]
    return out.transpose(2, 0, 1) if layout == "NCHW" else out


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_against_the_slow_twin(model_input, noise, preset: str, layout: str) -> None:
    settings = PRESETS[preset]
    size = 224 if preset == "torchvision" else 8
    shape = (1, 3, size, size) if layout == "NCHW" else (1, size, size, 3)
    how = resolve_preprocessing(
        model_input(*shape, layout=layout), given={}, preset=preset
    ).preprocessing
    pixels = noise(256, 256, 3) if preset == "torchvision" else noise(8, 8, 3)
    result = preprocess(Image.fromarray(pixels), how)
    if preset == "torchvision":
        pixels = pixels[16:240, 16:240]
        expected = (pixels / 255 - settings["mean"]) / settings["std"]
        expected = expected.transpose(2, 0, 1) if layout == "NCHW" else expected
    else:
        order = settings.get("channel_order", "RGB")
        expected = _slowly(
            pixels, settings["scale"], settings["mean"], settings["std"], order, layout
        )
    assert result.dtype == np.float32
    # 255 in float32 is known to 1.5e-5, which subtracting a mean of 123.68 leaves
    tolerance = 1e-5 if preset == "keras-caffe" else 1e-6
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=tolerance)


def test_presets_as_the_frameworks_write_them(noise) -> None:
    pixels = noise(6, 5, 3)
    image = Image.fromarray(pixels)
    x = pixels.astype(np.float32)

    def apply(name: str) -> np.ndarray:
        chosen = PRESETS[name]
        return preprocess(
            image,
            Preprocessing(
                (6, 5), chosen.get("channel_order", "RGB"), chosen["scale"], chosen["mean"],
                chosen["std"], layout="NHWC",
            ),
        )  # fmt: skip

    np.testing.assert_array_equal(apply("unit"), x / np.float32(255))
    np.testing.assert_allclose(apply("keras-tf"), x / np.float32(127.5) - 1, atol=2e-7)
    np.testing.assert_allclose(apply("symmetric"), x / np.float32(127.5) - 1, atol=2e-7)
    caffe = x[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_array_equal(apply("keras-caffe"), caffe)


@given(
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5, 0.017, 2.0, -0.5]),
    mean=st.sampled_from([(0.0,), (0.5,), (0.1, 0.2, 0.3)]),
    std=st.sampled_from([(1.0,), (0.25,), (0.5, 2.0, 3.0)]),
    order=st.sampled_from(["RGB", "BGR"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    seed=st.integers(0, 1000),
)
def test_the_formula(scale, mean, std, order, layout, seed) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    how = Preprocessing((3, 4), order, scale, mean, std, layout=layout)
    expected = _slowly(pixels, scale, mean, std, order, layout)
    np.testing.assert_allclose(
        preprocess(Image.fromarray(pixels), how), expected, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32"])
@pytest.mark.parametrize("order", ["gray", "RGB", "RGBA"])
def test_types_and_channels(noise, dtype: str, order: str) -> None:
    shape = {"gray": (4, 5), "RGB": (4, 5, 3), "RGBA": (4, 5, 4)}[order]
    pixels = noise(*shape)
    how = Preprocessing((4, 5), order, 1.0, dtype=dtype)
    result = preprocess(Image.fromarray(pixels), how)
    assert result.dtype == np.dtype(dtype)
    assert result.shape == how.item_shape == (pixels.size // 20, 4, 5)
    np.testing.assert_array_equal(np.moveaxis(result, 0, -1), pixels.reshape(4, 5, -1))


def test_integers_are_rounded() -> None:
    how = Preprocessing((1, 2), "gray", 1.0, mean=(128.0,), dtype="int8")
    result = preprocess(Image.fromarray(np.array([[0, 255]], np.uint8)), how)
    assert result.ravel().tolist() == [-128, 127]
    half = Preprocessing((1, 2), "gray", 1.5, dtype="int32")
    assert preprocess(Image.fromarray(np.array([[1, 3]], np.uint8)), half).ravel().tolist() == [
        2,
        4,
    ]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_results_go_where_asked(noise, dtype: str) -> None:
    how = Preprocessing((4, 4), "RGB", 1 / 255, dtype=dtype)
    out = np.full(how.item_shape, -1, dtype)
    assert preprocess(Image.fromarray(noise(4, 4, 3)), how, out) is out
    assert (out >= 0).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_interpolations_are_pillows(noise, interpolation: str) -> None:
    image = Image.fromarray(noise(37, 23, 3))
    how = Preprocessing((8, 9), "RGB", 1.0, interpolation=interpolation)
    expected = np.asarray(image.resize((9, 8), INTERPOLATIONS[interpolation]))
    np.testing.assert_array_equal(np.asarray(fit(image, how)), expected)


def test_torchvisions_transform_by_hand(noise) -> None:
    image = Image.fromarray(noise(300, 401, 3))  # 256 * 401 / 300 = 342.18
    how = Preprocessing(
        (224, 224), "RGB", 1.0, resize="shorter-side", resize_size=256, crop=(224, 224)
    )
    resized = np.asarray(image.resize((342, 256), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(np.asarray(fit(image, how)), resized[16:240, 59:283])


def test_letterbox(noise) -> None:
    image = Image.fromarray(noise(10, 20, 3))
    how = Preprocessing((30, 30), "RGB", 1.0, resize="letterbox", pad=114)
    result = np.asarray(fit(image, how))
    assert result.shape == (30, 30, 3)
    assert (result[:7] == 114).all() and (result[22:] == 114).all()
    expected = np.asarray(image.resize((30, 15), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(result[7:22], expected)


def test_stretch_then_crop(noise) -> None:
    image = Image.fromarray(noise(10, 20, 3))
    how = Preprocessing((4, 4), "RGB", 1.0, resize_size=(6, 8), crop=(4, 4))
    expected = np.asarray(image.resize((8, 6), Image.Resampling.BILINEAR))[1:5, 2:6]
    np.testing.assert_array_equal(np.asarray(fit(image, how)), expected)


def test_no_resizing() -> None:
    how = Preprocessing((4, 6), "gray", 1.0, resize="none")
    assert fit(Image.new("L", (6, 4)), how).size == (6, 4)
    with pytest.raises(WrongSizeError, match="4 x 6"):
        fit(Image.new("L", (4, 6)), how)
    cropping = Preprocessing((4, 6), "gray", 1.0, resize="none", crop=(4, 6))
    assert fit(Image.new("L", (9, 9)), cropping).size == (6, 4)


def test_a_strip_does_not_become_a_bomb() -> None:
    how = Preprocessing((224, 224), "gray", 1.0, resize="shorter-side", resize_size=256)
    with pytest.raises(UnusableImageError, match=r"resizing would make it 256 x 15360000 pixels"):
        fit(Image.new("L", (1, 60_000)), how)


@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from(["stretch", "shorter-side", "letterbox"]),
)  # fmt: skip
def test_every_way_ends_in_the_size(width, height, wanted_h, wanted_w, mode) -> None:
    how = Preprocessing((wanted_h, wanted_w), "gray", 1.0, resize=mode)
    assert fit(Image.new("L", (width, height), 9), how).size == (wanted_w, wanted_h)
