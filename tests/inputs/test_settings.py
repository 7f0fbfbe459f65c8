from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.settings import NO_CROP, SETTINGS, read_settings


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("size", "224x192", (224, 192)), ("size", "224", (224, 224)), ("size", 224, (224, 224)),
        ("size", [224, 192], (224, 192)), ("size", {"height": 5, "width": 6}, (5, 6)),
        ("crop", "10X20", (10, 20)), ("crop", "none", NO_CROP), ("crop", False, NO_CROP),
        ("scale", "1/255", 1 / 255), ("scale", "0.5", 0.5), ("scale", 1, 1.0),
        ("scale", "1e-2", 0.01), ("mean", "0.1,0.2, 0.3", (0.1, 0.2, 0.3)),
        ("mean", "(0.1 0.2 0.3)", (0.1, 0.2, 0.3)), ("mean", 0.5, (0.5,)),
        ("mean", ["1/2", 0, -1], (0.5, 0.0, -1.0)), ("std", [0.5], (0.5,)),
        ("resize", "Shorter_Side", "shorter-side"), ("interpolation", "LANCZOS", "lanczos"),
        ("channel_order", "bgr", "BGR"), ("channel_order", "grayscale", "gray"),
        ("layout", "nhwc", "NHWC"), ("dtype", "f4", "float32"), ("pad", 114, 114),
        ("preset", "IMAGENET", "imagenet"),
    ],
)  # fmt: skip
def test_values(name: str, value: object, expected: object) -> None:
    assert read_settings({name: value}, "command line") == {name: expected}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "0x5"), ("size", "224x"), ("size", [1, 2, 3]), ("size", True), ("size", 99999),
        ("size", [224.5, 1]), ("size", "99999999999999999999x1"), ("size", None.__class__),
        ("crop", True), ("scale", 0), ("scale", "1/0"), ("scale", "nan"), ("scale", math.nan),
        ("scale", math.inf), ("scale", 10**400), ("scale", "1/255/2"), ("scale", True),
        ("scale", "9" * 5000), ("mean", [0.1, 0.2]), ("mean", []), ("mean", "a,b,c"),
        ("mean", {"r": 1}), ("std", 0), ("std", [1, 1, -1]), ("std", 1e39), ("resize", "fit"),
        ("resize", 3), ("interpolation", "cubic spline"), ("channel_order", "XYZ"),
        ("layout", "CHWN"), ("dtype", "float33"), ("dtype", 3), ("pad", 300), ("pad", 1.5),
        ("preset", "imagnet"),
    ],
)  # fmt: skip
def test_values_that_are_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"^The configuration file gives '{name}' the value '"):
        read_settings({name: value}, "configuration file")


def test_messages_name_the_flag_and_the_nearest_choice() -> None:
    with pytest.raises(
        UsageError, match=r"gives --preset .*'imagnet', but .*did you mean imagenet"
    ):
        read_settings({"preset": "imagnet"}, "command line")
    with pytest.raises(
        UsageError, match=r"unknown .* 'interpolaton': did you mean 'interpolation'"
    ):
        read_settings({"interpolaton": "box"}, "model metadata")
    with pytest.raises(UsageError, match=r"known are size, resize"):
        read_settings({"qqqq": 1}, "model metadata")


def test_none_is_not_given_and_dashes_are_underscores() -> None:
    assert read_settings({"channel-order": "RGB", "mean": None}, "x") == {"channel_order": "RGB"}


def test_resize_may_bring_its_size() -> None:
    found = read_settings({"resize": "shorter-side:256"}, "command line")
    assert found == {"resize": "shorter-side", "size": (256, 256)}
    with pytest.raises(UsageError, match="--size"):
        read_settings({"resize": "shorter-side:"}, "command line")


def test_hostile_values_make_short_harmless_messages() -> None:
    with pytest.raises(UsageError) as caught:
        read_settings({"a\x1b[2J" + "b" * 9999: 1}, "model metadata")
    assert len(str(caught.value)) < 500 and "\x1b" not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        read_settings({"size": "\x1b" * 9999}, "model metadata")
    assert len(str(caught.value)) < 500 and "\x1b" not in str(caught.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(sorted(SETTINGS)), _json)
def test_any_value_is_read_or_refused(name: str, value: object) -> None:
    try:
        found = read_settings({name: value}, "model metadata")
    except UsageError:
        return
    assert set(found) <= {name, "size"}
