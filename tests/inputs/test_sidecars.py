from __future__ import annotations

import json
from pathlib import Path

import pytest

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.settings import NO_CROP
from cleanai_onnx.inputs.sidecars import (
    METADATA_KEY,
    from_hugging_face,
    from_metadata,
    from_timm,
    preprocessing_file,
    sidecar,
)

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

VIT = {
    "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_rescale": True,
    "rescale_factor": 0.00392156862745098, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessor",
}  # fmt: skip
TIMM = {
    "architecture": "resnet50", "num_classes": 1000,
    "pretrained_cfg": {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95,
        "crop_mode": "center", "mean": MEAN, "std": STD,
    },
}  # fmt: skip


def _hf(**changes) -> dict:
    source = from_hugging_face({**VIT, **changes}, "sidecar")
    return dict(source.settings)


def test_hugging_face_vit() -> None:
    assert _hf() == {
        "channel_order": "RGB", "resize": "stretch", "size": (224, 224), "crop": NO_CROP,
        "interpolation": "bilinear", "scale": 1 / 255, "mean": (0.5,) * 3, "std": (0.5,) * 3,
    }  # fmt: skip


def test_hugging_face_clip() -> None:
    crop = {"height": 224, "width": 224}
    found = _hf(size={"shortest_edge": 256}, do_center_crop=True, crop_size=crop, resample=3)
    assert (found["resize"], found["size"], found["crop"], found["interpolation"]) == (
        "shorter-side", (256, 256), (224, 224), "bicubic",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "resize", "size", "crop"),
    [
        ({"size": 224}, "stretch", (224, 224), NO_CROP),
        ({"size": 224, "do_center_crop": True}, "shorter-side", (224, 224), (224, 224)),
        (
            {"size": 256, "do_center_crop": True, "crop_size": 224},
            "shorter-side", (256, 256), (224, 224),
        ),
        ({"size": {"shortest_edge": 224}}, "shorter-side", (224, 224), (224, 224)),
        (
            {"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": 224},
            "stretch", (256, 256), (224, 224),
        ),
        (
            {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
            "shorter-side", (256, 256), (224, 224),
        ),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, "stretch", (384, 384), NO_CROP),
        ({"do_resize": False}, "none", None, None),
        ({"do_resize": False, "do_center_crop": True, "crop_size": 64}, "none", None, (64, 64)),
    ],
)  # fmt: skip
def test_hugging_face_geometry(changes, resize, size, crop) -> None:
    found = _hf(**changes)
    assert (found["resize"], found.get("size"), found.get("crop")) == (resize, size, crop)


def test_hugging_face_values() -> None:
    assert _hf(do_rescale=False)["scale"] == 1
    assert _hf(do_normalize=False)["mean"] == (0.0,)
    assert _hf(do_flip_channel_order=True)["channel_order"] == "BGR"
    assert "channel_order" not in _hf(image_mean=[0.5], image_std=[0.5])
    assert "interpolation" not in _hf(resample=77)


@pytest.mark.parametrize(
    ("changes", "missing", "said"),
    [
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "resize", "longest_edge"),
        ({"rescale_offset": True}, "scale", "rescale_offset"),
        ({"image_std": None, "image_mean": None}, "scale", "do_normalize"),
    ],
)
def test_what_cannot_be_followed_is_left_out_and_noted(changes, missing, said) -> None:
    source = from_hugging_face({**VIT, **changes}, "sidecar")
    assert missing not in source.settings
    assert said in source.left_out[0]


def test_timm() -> None:
    assert dict(from_timm(TIMM, "sidecar").settings) == {
        "channel_order": "RGB", "scale": 1 / 255, "mean": tuple(MEAN), "std": tuple(STD),
        "interpolation": "bicubic", "resize": "shorter-side", "size": (235, 235),
        "crop": (224, 224),
    }  # fmt: skip


def test_timm_squash_and_what_it_cannot_say() -> None:
    config = TIMM["pretrained_cfg"]
    squash = from_timm({**config, "crop_mode": "squash", "input_size": [3, 64, 96]}, "x").settings
    assert (squash["resize"], squash["size"], squash["crop"]) == ("stretch", (67, 101), (64, 96))
    for changes in ({"crop_mode": "border"}, {"input_size": [3, 64, 96]}):
        source = from_timm({**config, **changes}, "x")
        assert "resize" not in source.settings
        assert source.left_out


def _write(path: Path, content: object) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_sidecars_are_found_beside_the_model(tmp_path: Path) -> None:
    model = tmp_path / "m" / "model.onnx"
    assert sidecar(model) is None
    _write(tmp_path / "m" / "config.json", TIMM)
    found = sidecar(model)
    assert found is not None and found.origin == "sidecar config.json (timm)"
    _write(tmp_path / "m" / "preprocessor_config.json", VIT)
    found = sidecar(model)
    assert found is not None and found.origin.startswith("sidecar preprocessor_config.json")


def test_sidecars_one_folder_above_a_folder_called_onnx(tmp_path: Path) -> None:
    _write(tmp_path / "preprocessor_config.json", VIT)
    assert sidecar(tmp_path / "onnx" / "model.onnx") is not None
    assert sidecar(tmp_path / "other" / "model.onnx") is None


@pytest.mark.parametrize("content", ["{", "[1]", '{"model_type": "bert"}', "[" * 100_000])
def test_a_config_json_of_another_tool_is_none_of_ours(tmp_path: Path, content: str) -> None:
    _write(tmp_path / "config.json", content)
    assert sidecar(tmp_path / "m.onnx") is None


def test_a_broken_preprocessor_config_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path / "preprocessor_config.json", "{")
    with pytest.raises(UsageError, match=r"preprocessor_config\.json .* is not valid JSON"):
        sidecar(tmp_path / "m.onnx")
    _write(tmp_path / "preprocessor_config.json", {**VIT, "image_std": [0, 0, 0]})
    with pytest.raises(UsageError, match=r"gives 'std' the value .* must be above zero"):
        sidecar(tmp_path / "m.onnx")


def test_preprocessing_files(tmp_path: Path) -> None:
    path = _write(tmp_path / "p.json", {"scale": "1/255", "crop": None})
    assert dict(preprocessing_file(path).settings) == {"scale": 1 / 255}
    path = _write(tmp_path / "p.toml", 'scale = 1\nmean = [1, 2, 3]\nresize = "letterbox"')
    assert preprocessing_file(path).settings["mean"] == (1.0, 2.0, 3.0)
    assert preprocessing_file(_write(tmp_path / "vit.json", VIT)).settings["size"] == (224, 224)
    assert preprocessing_file(_write(tmp_path / "t.json", TIMM)).settings["crop"] == (224, 224)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "{", "not valid JSON"),
        ("p.json", "[]", "not a JSON object"),
        ("p.json", "[" * 100_000, "not valid JSON"),
        ("p.json", '{"scale": NaN}', "must be finite"),
        ("p.json", '{"scales": 1}', "did you mean 'scale'"),
        ("p.toml", "a = ", "not valid TOML"),
        ("p.json", " " * (1 << 20) + "{}", "larger than a megabyte"),
    ],
)
def test_preprocessing_files_that_are_refused(tmp_path, name, content, message) -> None:
    with pytest.raises(UsageError, match=message):
        preprocessing_file(_write(tmp_path / name, content))


def test_preprocessing_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it does not exist"):
        preprocessing_file(tmp_path / "gone.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        preprocessing_file(tmp_path / "b.json")


def test_our_metadata() -> None:
    value = '{"scale": 0.00392156862745098, "mean": [0.0], "channel_order": "gray"}'
    source = from_metadata({METADATA_KEY: value, "Image.NominalPixelRange": "Normalized_1_1"})
    assert source is not None
    assert source.origin == "model metadata (cleanai.preprocessing)"
    assert source.settings == {"scale": 1 / 255, "mean": (0.0,), "channel_order": "gray"}
    with pytest.raises(UsageError, match=r"did you mean 'mean'"):
        from_metadata({METADATA_KEY: '{"meen": 0}'})
    with pytest.raises(UsageError, match="not valid JSON"):
        from_metadata({METADATA_KEY: "scale=1"})


@pytest.mark.parametrize(
    ("pixel_range", "black", "white"),
    [("NominalRange_0_255", 0, 255), ("normalized_0_1", 0, 1), ("Normalized_1_1", -1, 1)],
)
def test_the_metadata_of_the_onnx_standard(pixel_range: str, black: float, white: float) -> None:
    source = from_metadata(
        {"Image.NominalPixelRange": pixel_range, "Image.BitmapPixelFormat": "Bgr8"}
    )
    assert source is not None
    found = source.settings
    assert found["channel_order"] == "BGR"
    for pixel, value in ((0, black), (255, white)):
        assert (pixel * found["scale"] - found["mean"][0]) / found["std"][0] == pytest.approx(value)


def test_metadata_that_says_nothing_or_too_much() -> None:
    assert from_metadata({"author": "me"}) is None
    source = from_metadata({"Image.NominalPixelRange": "NominalRange_16_235"})
    assert source is not None and not source.settings and "16_235" in source.left_out[0]
