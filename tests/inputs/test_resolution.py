from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.errors import CleanAIError, ImageError, ModelError, UsageError
from cleanai_onnx.graph.image_input import ImageInput
from cleanai_onnx.inputs import (
    METADATA_KEY,
    Preprocessing,
    Unchanged,
    discover,
    resolve_preprocessing,
)
from cleanai_onnx.inputs.precedence import number_words


def _origins(resolved) -> dict[str, tuple[str, str]]:
    return {field.name: (field.value, field.origin) for field in resolved.fields}


def _metadata(**settings) -> dict[str, str]:
    return {METADATA_KEY: json.dumps(settings)}


def test_metadata_can_say_everything(model_input) -> None:
    """The command of the README: a bundled model, and no flag at all."""
    resolved = resolve_preprocessing(
        model_input(None, 1, 28, 28),
        given={},
        metadata=_metadata(
            scale=0.00392156862745098, mean=[0.0], std=[1.0], channel_order="gray",
            resize="stretch", interpolation="bilinear",
        ),
    )  # fmt: skip
    assert resolved.preprocessing == Preprocessing((28, 28), "gray", 1 / 255)
    metadata, graph = "model metadata (cleanai.preprocessing)", "graph (input 'x')"
    assert _origins(resolved) == {
        "size": ("28 x 28 (height x width)", graph),
        "resize": ("stretch to 28 x 28", metadata),
        "interpolation": ("bilinear", metadata),
        "crop": ("none", "default"),
        "channel order": ("gray", metadata),
        "scale": ("1/255", metadata),
        "mean": ("0", metadata),
        "std": ("1", metadata),
        "layout": ("NCHW", graph),
        "dtype": ("float32", graph),
    }
    assert resolved.notes == ()


def test_the_precedence_one_source_after_the_other(model_input, tmp_path: Path) -> None:
    """Each source gives its own mean; taking sources away from the top shows the order."""
    (tmp_path / "file.json").write_text('{"mean": 2}')
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"do_normalize": True, "image_mean": [4, 4, 4], "image_std": [1, 1, 1]})
    )
    sources: list[tuple[str, dict, float]] = [
        ("command line (--mean)", {"given": {"mean": "1"}}, 1),
        ("preprocessing file 'file.json'", {"file": tmp_path / "file.json"}, 2),
        ("configuration file", {"config": {"mean": 3}}, 3),
        (
            "sidecar preprocessor_config.json (Hugging Face)",
            {"model_path": tmp_path / "m.onnx"},
            4,
        ),
        ("model metadata (cleanai.preprocessing)", {"metadata": _metadata(mean=5)}, 5),
        ("preset 'imagenet'", {"preset": "imagenet"}, 0.485),
    ]
    for first in range(len(sources)):
        options: dict = {"given": {}}
        for _, option, _ in sources[first:]:
            options.update(option)
        resolved = resolve_preprocessing(model_input(1, 3, 8, 8), **options)
        origin, _, mean = sources[first]
        assert _origins(resolved)["mean"][1] == origin
        assert resolved.preprocessing.mean[0] == mean


def test_graph_evidence_comes_after_metadata_and_before_presets(model_input) -> None:
    bytes_in = model_input(1, 3, 8, 8, dtype="int32")
    assert _origins(resolve_preprocessing(bytes_in, given={}))["scale"] == (
        "1",
        "graph (input 'x')",
    )
    metadata = resolve_preprocessing(bytes_in, given={}, metadata=_metadata(scale=2))
    assert _origins(metadata)["scale"] == ("2", "model metadata (cleanai.preprocessing)")


def test_a_preset_fills_in_and_says_where_it_is_overruled(model_input) -> None:
    resolved = resolve_preprocessing(
        model_input(1, 3, 8, 8), given={}, preset="imagenet", metadata=_metadata(mean=[0.5] * 3)
    )
    assert resolved.preprocessing.mean == (0.5,) * 3
    assert resolved.preprocessing.std == (0.229, 0.224, 0.225)
    (note,) = resolved.notes
    assert note.slug == "preset-overruled"
    assert "mean 0.5, 0.5, 0.5 from the model metadata" in note.text
    assert "instead of 0.485, 0.456, 0.406" in note.text


def test_flags_that_overrule_a_preset_need_no_note(model_input) -> None:
    resolved = resolve_preprocessing(
        model_input(1, 3, 8, 8), given={"mean": "0", "std": "1"}, preset="imagenet"
    )
    assert resolved.notes == ()


def test_a_preset_named_by_a_source(model_input) -> None:
    resolved = resolve_preprocessing(
        model_input(1, 3, 8, 8), given={}, metadata=_metadata(preset="keras-caffe")
    )
    assert resolved.preprocessing.channel_order == "BGR"
    origin = "preset 'keras-caffe' (named by the model metadata (cleanai.preprocessing))"
    assert _origins(resolved)["mean"][1] == origin
    overruled = resolve_preprocessing(
        model_input(1, 3, 8, 8), given={}, preset="unit", metadata=_metadata(preset="keras-caffe")
    )
    assert _origins(overruled)["scale"] == ("1/255", "preset 'unit'")


# Nothing is guessed ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8"])
def test_unknown_scaling_is_refused_with_the_flags(model_input, dtype: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_preprocessing(model_input(1, 3, 8, 8, dtype=dtype), given={})
    for flag in ("--preset", "unit", "imagenet", "--scale", "--mean", "--std", "--preprocessing"):
        assert flag in str(caught.value)


def test_a_mean_without_a_scale_is_refused(model_input) -> None:
    with pytest.raises(UsageError, match=r"give --scale 1/255 or --scale 1\."):
        resolve_preprocessing(model_input(1, 3, 8, 8), given={"mean": "0.5", "std": "0.5"})


def test_a_scale_alone_is_enough(model_input) -> None:
    resolved = resolve_preprocessing(model_input(1, 3, 8, 8), given={"scale": "1/255"})
    how = resolved.preprocessing
    assert (how.mean, how.std, how.resize, how.channel_order) == ((0.0,), (1.0,), "none", "RGB")
    origins = _origins(resolved)
    assert origins["scale"] == ("1/255", "command line (--scale)")
    assert origins["mean"][1].startswith("default")
    assert origins["channel order"][1].startswith("default")
    assert origins["resize"][1].startswith("default") and "--resize" in origins["resize"][1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64"])
def test_integer_inputs_take_pixels(model_input, dtype: str) -> None:
    how = resolve_preprocessing(model_input(1, 3, 8, 8, dtype=dtype), given={}).preprocessing
    assert (how.scale, how.mean, how.std, how.dtype) == (1.0, (0.0,), (1.0,), dtype)


def test_integer_inputs_take_no_preset_that_scales(model_input) -> None:
    for preset in ("unit", "imagenet", "torchvision"):
        with pytest.raises(UsageError, match=rf"'{preset}' does not fit: .* pixels as they are"):
            resolve_preprocessing(
                model_input(1, 3, 224, 224, dtype="uint8"), given={}, preset=preset
            )
    resolved = resolve_preprocessing(
        model_input(1, 3, 224, 224, dtype="uint8"),
        given={"scale": 1, "mean": 0, "std": 1},
        preset="torchvision",
    )
    assert resolved.preprocessing.resize_size == 256


@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        ("uint8", {"scale": "1/255"}),
        ("uint8", {"mean": "1"}),
        ("uint8", {"std": "2"}),
        ("int8", {"scale": "1"}),
        ("uint8", {"scale": "2"}),
    ],
)
def test_integers_that_would_lose_values_are_refused(model_input, dtype, given) -> None:
    with pytest.raises(UsageError, match="rounding or overflow"):
        resolve_preprocessing(model_input(1, 3, 8, 8, dtype=dtype), given=given)


def test_signed_bytes_with_their_offset(model_input) -> None:
    how = resolve_preprocessing(
        model_input(1, 3, 8, 8, dtype="int8"), given={"scale": 1, "mean": 128}
    ).preprocessing
    assert how.mean == (128.0,)


@pytest.mark.parametrize("shape", [(1, 3, None, None), (1, 3, 8, None), (None, 3, None, 8)])
def test_an_unknown_size_is_refused(model_input, shape) -> None:
    with pytest.raises(UsageError, match=r"any size.*--size"):
        resolve_preprocessing(model_input(*shape), given={}, preset="unit")


def test_an_unknown_layout_and_channel_count_are_refused(model_input) -> None:
    anything = model_input(None, None, None, None, layout=None)
    with pytest.raises(UsageError, match="--layout NCHW or --layout NHWC"):
        resolve_preprocessing(anything, given={"size": "8x8"}, preset="unit")
    with pytest.raises(UsageError, match="--channel-order"):
        resolve_preprocessing(anything, given={"size": "8x8", "layout": "NHWC"}, preset="unit")
    how = resolve_preprocessing(
        anything, given={"size": "8x9", "layout": "NHWC", "channel_order": "gray"}, preset="unit"
    ).preprocessing
    assert how.item_shape == (8, 9, 1)


# What does not fit is refused -----------------------------------------------------------------


@pytest.mark.parametrize("preset", ["imagenet", "keras-caffe"])
def test_presets_for_colour_do_not_fit_one_channel(model_input, preset: str) -> None:
    with pytest.raises(
        UsageError, match=rf"preset '{preset}' does not fit: it has 3 .* 1 channel "
    ):
        resolve_preprocessing(model_input(1, 1, 28, 28), given={}, preset=preset)


def test_three_means_do_not_fit_one_channel(model_input) -> None:
    with pytest.raises(UsageError, match=r"command line does not fit: it has 3 values of mean"):
        resolve_preprocessing(model_input(1, 1, 28, 28), given={"mean": "1,2,3", "scale": 1})


def test_channel_orders_that_do_not_fit(model_input) -> None:
    with pytest.raises(UsageError, match=r"does not fit: BGR has 3 channels, but .* takes 1"):
        resolve_preprocessing(
            model_input(1, 1, 8, 8), given={"channel_order": "BGR"}, preset="unit"
        )
    with pytest.raises(UsageError, match=r"preset 'imagenet' does not fit: RGB has 3 .* takes 4"):
        resolve_preprocessing(model_input(1, 4, 8, 8), given={}, preset="imagenet")


def test_a_size_that_the_graph_rules_out(model_input) -> None:
    with pytest.raises(UsageError, match=r"'torchvision' does not fit: it crops .* takes 32 x 32"):
        resolve_preprocessing(model_input(1, 3, 32, 32), given={}, preset="torchvision")
    with pytest.raises(UsageError, match=r"command line does not fit.*give --size 32x32"):
        resolve_preprocessing(model_input(1, 3, 32, 32), given={"size": "64"}, preset="unit")
    with pytest.raises(UsageError, match=r"takes 32 x any; give --size or"):
        resolve_preprocessing(model_input(1, 3, 32, None), given={"size": "64"}, preset="unit")


@pytest.mark.parametrize("channels", [2, 5, 1000])
def test_models_that_take_no_images(model_input, channels: int) -> None:
    with pytest.raises(ModelError, match=rf"takes {channels} channels as NCHW"):
        resolve_preprocessing(model_input(1, channels, 8, 8), given={}, preset="unit")


def test_inputs_that_are_no_batches_of_images(model_input) -> None:
    with pytest.raises(ModelError, match=r"shape \(\?, 784\).*\.npy"):
        resolve_preprocessing(model_input(None, 784, layout=None), given={}, preset="unit")


def test_a_layout_that_contradicts_the_shape(model_input) -> None:
    with pytest.raises(UsageError, match=r"takes 224 channels as NHWC.*another --layout"):
        resolve_preprocessing(model_input(1, 3, 224, 224), given={"layout": "NHWC"}, preset="unit")


def test_a_layout_may_be_overruled_where_the_shape_allows(model_input) -> None:
    how = resolve_preprocessing(
        model_input(1, 3, 8, 3), given={"layout": "NHWC"}, preset="unit"
    ).preprocessing
    assert (how.size, how.layout, how.item_shape) == ((3, 8), "NHWC", (3, 8, 3))


def test_a_dtype_is_checked(model_input) -> None:
    with pytest.raises(UsageError, match=r"says dtype float16.*takes float32"):
        resolve_preprocessing(
            model_input(1, 3, 8, 8), given={}, preset="unit", metadata=_metadata(dtype="float16")
        )
    with pytest.raises(ModelError, match="takes bool"):
        resolve_preprocessing(model_input(1, 3, 8, 8, dtype="bool"), given={}, preset="unit")


# Size, resizing and crop ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [224, None])
def test_torchvision(model_input, size: int | None) -> None:
    resolved = resolve_preprocessing(
        model_input(None, 3, size, size), given={}, preset="torchvision"
    )
    how = resolved.preprocessing
    assert (how.size, how.resize, how.resize_size, how.crop) == (
        (224, 224), "shorter-side", 256, (224, 224),
    )  # fmt: skip
    assert _origins(resolved)["resize"][0] == "shorter side to 256, ratio kept"


@pytest.mark.parametrize(
    ("given", "preset", "expected"),
    [
        # size is what images are resized to, the crop is taken after it
        ({"size": "256", "crop": "224"}, "unit", ((224, 224), "stretch", (256, 256), (224, 224))),
        (
            {"resize": "shorter-side:256", "crop": "224"},
            "unit",
            ((224, 224), "shorter-side", 256, (224, 224)),
        ),
        ({"size": "100x200"}, "unit", ((100, 200), "stretch", None, None)),
        ({"size": "96", "resize": "letterbox"}, "unit", ((96, 96), "letterbox", None, None)),
        # a size from a source before that of the crop leaves the crop out
        ({"size": "96"}, "torchvision", ((96, 96), "shorter-side", None, None)),
        ({"crop": "192"}, "torchvision", ((192, 192), "shorter-side", 256, (192, 192))),
        ({"crop": "none"}, "torchvision", ((256, 256), "shorter-side", None, None)),
        ({"resize": "letterbox"}, "torchvision", ((224, 224), "letterbox", None, None)),
        ({"resize": "none", "crop": "64"}, "unit", ((64, 64), "none", None, (64, 64))),
    ],
)
def test_geometry(model_input, given, preset: str, expected) -> None:
    how = resolve_preprocessing(
        model_input(None, 3, None, None), given=given, preset=preset
    ).preprocessing
    assert (how.size, how.resize, how.resize_size, how.crop) == expected


def test_a_crop_that_is_left_out_is_noted(model_input) -> None:
    resolved = resolve_preprocessing(
        model_input(1, 3, 96, 96), given={"size": "96"}, preset="torchvision"
    )
    assert [note.slug for note in resolved.notes] == ["crop-dropped"]
    assert "224 x 224" in resolved.notes[0].text and "96 x 96" in resolved.notes[0].text


def test_geometry_that_contradicts_itself(model_input) -> None:
    anything = model_input(None, 3, None, None)
    with pytest.raises(UsageError, match="letterbox"):
        resolve_preprocessing(
            anything, given={"size": "96", "crop": "64", "resize": "letterbox"}, preset="unit"
        )
    with pytest.raises(UsageError, match="give one number"):
        resolve_preprocessing(
            anything, given={"size": "96x64", "crop": "64", "resize": "shorter-side"}, preset="unit"
        )


def test_a_sidecar_of_hugging_face_end_to_end(model_input, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_resize": True, "size": {"shortest_edge": 256}, "resample": 3,
                "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
                "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
            }
        )
    )  # fmt: skip
    how = resolve_preprocessing(
        model_input(1, 3, 224, 224), given={}, model_path=tmp_path / "m.onnx"
    ).preprocessing
    assert how == Preprocessing(
        (224, 224), "RGB", 1 / 255, (0.5,) * 3, (0.5,) * 3, "shorter-side", 256, "bicubic",
        (224, 224),
    )  # fmt: skip


def test_what_a_sidecar_says_in_vain_is_noted(model_input, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"do_resize": True, "size": {"shortest_edge": 8, "longest_edge": 9}})
    )
    resolved = resolve_preprocessing(
        model_input(1, 3, 8, 8), given={}, model_path=tmp_path / "m.onnx"
    )
    assert [note.slug for note in resolved.notes] == ["preprocessing-left-out"]


def test_hostile_input_names_are_harmless(model_input) -> None:
    hostile = model_input(1, 3, 8, 8, name="\x1b[2J" + "x" * 10_000)
    resolved = resolve_preprocessing(hostile, given={}, preset="unit")
    assert all("\x1b" not in f.origin and len(f.origin) < 200 for f in resolved.fields)
    with pytest.raises(UsageError) as caught:
        resolve_preprocessing(hostile, given={})
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 500


_settings = st.fixed_dictionaries(
    {},
    optional={
        "size": st.sampled_from(["8", "16x8", "32"]),
        "resize": st.sampled_from(["stretch", "shorter-side", "letterbox", "none"]),
        "crop": st.sampled_from(["8", "8x16", "none"]),
        "scale": st.sampled_from(["1/255", "1"]),
        "mean": st.sampled_from(["0", "1,2,3"]),
        "channel_order": st.sampled_from(["RGB", "BGR", "gray", "RGBA"]),
        "layout": st.sampled_from(["NCHW", "NHWC"]),
    },
)


@given(
    given_=_settings,
    config=_settings,
    metadata=_settings,
    preset=st.sampled_from([None, "unit", "imagenet", "torchvision", "keras-caffe"]),
    sizes=st.tuples(*[st.sampled_from([None, 1, 3, 8, 16])] * 3),
    dtype=st.sampled_from(["float32", "uint8"]),
)
def test_any_mixture_fits_the_model_or_is_refused(
    given_, config, metadata, preset, sizes, dtype
) -> None:
    shape = (None, *sizes)
    model = ImageInput("x", dtype, shape, None, "NCHW", *sizes)
    try:
        resolved = resolve_preprocessing(
            model, given=given_, config=config, preset=preset, metadata=_metadata(**metadata)
        )
    except CleanAIError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    how = resolved.preprocessing
    assert isinstance(how, Preprocessing)
    assert all(w is None or w == h for w, h in zip(sizes, how.item_shape, strict=True))
    assert len(how.mean) in (1, how.channels)
    assert how.crop in (None, how.size)
    assert len({field.name for field in resolved.fields}) == len(resolved.fields) == 10


# Arrays that are ready ------------------------------------------------------------------------


def _ready(tmp_path: Path, array: np.ndarray):
    np.save(tmp_path / "d.npy", array)
    return discover(tmp_path / "d.npy")


def test_ready_arrays_are_not_preprocessed(model_input, tmp_path: Path) -> None:
    suite = _ready(tmp_path, np.zeros((4, 3, 8, 9), np.float64))
    resolved = resolve_preprocessing(model_input(None, 3, 8, None), given={}, suite=suite)
    assert resolved.preprocessing == Unchanged((3, 8, 9), "float32")
    assert _origins(resolved)["values"] == (
        "float64 cast to float32, without preprocessing",
        "ready arrays (d.npy)",
    )


def test_ready_arrays_for_inputs_that_are_no_images(model_input, tmp_path: Path) -> None:
    suite = _ready(tmp_path, np.zeros((4, 784), np.float32))
    how = resolve_preprocessing(
        model_input(1, 784, layout=None), given={}, suite=suite
    ).preprocessing
    assert how == Unchanged((784,), "float32")


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (np.zeros((4, 3, 8, 7), np.float32), "float32", r"takes \(N, 3, 8, 8\)"),
        (np.zeros((3, 8, 8), np.float32), "float32", "needs a batch axis too"),
        (np.zeros((4, 3, 8, 8), np.int64), "float32", "save it as float32"),
        (np.zeros((4, 3, 8, 8), np.float32), "uint8", "save it as uint8"),
        (np.zeros((4, 3, 8, 8), np.int64), "uint8", "does not fit into the uint8"),
    ],
)
def test_ready_arrays_that_do_not_fit(model_input, tmp_path, array, dtype, message) -> None:
    with pytest.raises(ImageError, match=message):
        resolve_preprocessing(
            model_input(1, 3, 8, 8, dtype=dtype), given={}, suite=_ready(tmp_path, array)
        )


def test_pixel_arrays_are_preprocessed_like_files(model_input, tmp_path: Path) -> None:
    suite = _ready(tmp_path, np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="--preset"):
        resolve_preprocessing(model_input(1, 3, 8, 8), given={}, suite=suite)
    resolved = resolve_preprocessing(model_input(1, 3, 8, 8), given={}, preset="unit", suite=suite)
    assert isinstance(resolved.preprocessing, Preprocessing)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1 / 255, "1/255"), (1 / 127.5, "1/127.5"), (1.0, "1"), (0.0, "0"), (0.017, "0.017"),
        (-0.5, "-0.5"), (123.68, "123.68"), (1e-9, "1e-09"),
    ],
)  # fmt: skip
def test_numbers_in_words(number: float, words: str) -> None:
    assert number_words(number) == words
