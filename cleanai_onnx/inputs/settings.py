"""The settings of preprocessing: one table of names, flags, and the values that each may have.

The command line, configuration and preprocessing files and the model's metadata all speak this
language; `sidecars` translates other tools' files into it.

================== ============================================================================
``size``           "224x224" (height x width), "224", 224, [224, 224]: what images are resized
                   to. With a crop it is the size before the crop, without one the model's
``resize``         stretch, shorter-side, letterbox or none; "shorter-side:256" sets `size` too
``interpolation``  nearest, bilinear, bicubic, lanczos, box or hamming
``crop``           the size cut from the centre after resizing; "none" for no crop
``channel_order``  RGB, BGR, gray or RGBA
``scale``          a number or a fraction: 1/255
``mean``, ``std``  one number, or one for each channel, in the channel order of the model
``layout``         NCHW or NHWC
``dtype``          the model's element type, as a check
``pad``            the pixel value around letterboxed images, 0 to 255
``preset``         the name of a preset that fills in what nothing else says
================== ============================================================================
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.preprocessing import CHANNEL_ORDERS, INTERPOLATIONS, RESIZE_MODES

__all__ = ["NO_CROP", "SETTINGS", "Setting", "read_settings"]

NO_CROP = (0, 0)
"""The value of ``crop`` that says that there is none, in contrast to saying nothing."""

_LARGEST_SIDE = 65_535
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FRACTION = re.compile(rf"\s*({_NUMBER})\s*(?:/\s*({_NUMBER}))?\s*")


@dataclass(frozen=True)
class Setting:
    """A setting: its name in words, its flag on the command line if any, and its parser.

    The parser raises ValueError with a phrase that says what the value must be.
    """

    words: str
    flag: str | None
    parse: Callable[[Any], Any]


def _number(value: Any) -> float:
    problem = "must be a number or a fraction such as 1/255"
    if isinstance(value, str):
        match = _FRACTION.fullmatch(value) if len(value) < 100 else None
        if match is None:
            raise ValueError(problem)
        top, bottom = float(match[1]), float(match[2] or 1)
        if bottom == 0:
            raise ValueError(problem)
        number = top / bottom
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise ValueError(problem) from None
    else:
        raise ValueError(problem)
    if not abs(number) < 1e38:  # neither NaN nor beyond float32
        raise ValueError("must be finite")
    return number


def _scale(value: Any) -> float:
    number = _number(value)
    if abs(number) < 1e-30:
        raise ValueError("must not be zero")
    return number


def _numbers(value: Any) -> tuple[float, ...]:
    if isinstance(value, str):
        value = [part for part in re.split(r"[,\s]+", value.strip(" ()[]")) if part]
    elif not isinstance(value, Sequence):
        value = [value]
    if len(value) not in (1, 3, 4):
        raise ValueError("must have one number, or one for each channel: 0.485,0.456,0.406")
    return tuple(_number(one) for one in value)


def _deviations(value: Any) -> tuple[float, ...]:
    numbers = _numbers(value)
    if any(number < 1e-30 for number in numbers):
        raise ValueError("must be above zero")
    return numbers


def _size(value: Any) -> tuple[int, int]:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX,]\s*(\d{1,9})\s*)?", value)
        value = None if match is None else [int(match[1]), int(match[2] or match[1])]
    elif isinstance(value, Mapping) and set(value) == {"height", "width"}:
        value = [value["height"], value["width"]]
    elif isinstance(value, int) and not isinstance(value, bool):
        value = [value, value]
    whole = (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in value)
    )
    if not whole or not all(1 <= side <= _LARGEST_SIDE for side in value):
        raise ValueError(
            f"must be HEIGHTxWIDTH in pixels (224x224), each from 1 to {_LARGEST_SIDE}"
        )
    return int(value[0]), int(value[1])


def _crop(value: Any) -> tuple[int, int]:
    if value is False or (isinstance(value, str) and value.strip().lower() in ("none", "no")):
        return NO_CROP
    return _size(value)


def _pad(value: Any) -> int:
    number = _number(value)
    if number != int(number) or not 0 <= number <= 255:
        raise ValueError("must be a whole number from 0 to 255")
    return int(number)


def _one_of(*choices: str) -> Callable[[Any], str]:
    known = {choice.lower(): choice for choice in choices}

    def parse(value: Any) -> str:
        key = value.strip().lower().replace("_", "-") if isinstance(value, str) else ""
        if key in known:
            return known[key]
        near = difflib.get_close_matches(key[:40], known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        raise ValueError(f"must be one of {', '.join(choices)}{hint}")

    return parse


def _channel_order(value: Any) -> str:
    grays = ("grey", "grayscale", "greyscale", "l")
    if isinstance(value, str) and value.strip().lower() in grays:
        return "gray"
    return _one_of(*CHANNEL_ORDERS)(value)


def _dtype(value: Any) -> str:
    try:
        return str(np.dtype(value if isinstance(value, str) else "")).strip()
    except TypeError:
        raise ValueError("must be the name of a NumPy type, such as float32") from None


def _preset(value: Any) -> str:
    from cleanai_onnx.inputs.presets import PRESETS

    return _one_of(*PRESETS)(value)


SETTINGS: Mapping[str, Setting] = {
    "size": Setting("size", "--size", _size),
    "resize": Setting("resize", "--resize", _one_of(*RESIZE_MODES)),
    "interpolation": Setting("interpolation", "--interpolation", _one_of(*INTERPOLATIONS)),
    "crop": Setting("crop", "--crop", _crop),
    "channel_order": Setting("channel order", "--channel-order", _channel_order),
    "scale": Setting("scale", "--scale", _scale),
    "mean": Setting("mean", "--mean", _numbers),
    "std": Setting("std", "--std", _deviations),
    "layout": Setting("layout", "--layout", _one_of("NCHW", "NHWC")),
    "dtype": Setting("dtype", None, _dtype),
    "pad": Setting("pad", None, _pad),
    "preset": Setting("preset", "--preset", _preset),
}


def read_settings(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Check the settings that a source gives and bring them into their one form.

    Parameters
    ----------
    values
        Setting names (with ``_`` or ``-``) to values, as text or typed; None means not given.
    origin
        The source in words, for the messages: "command line", "preprocessing file 'x.json'".

    Raises
    ------
    UsageError
        If a name is unknown (the nearest known one is named) or a value is not allowed.
    """
    read: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in SETTINGS:
            near = difflib.get_close_matches(name[:40], SETTINGS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(SETTINGS)}."
            raise UsageError(
                f"The {origin} has an unknown preprocessing setting '{shown(str(key), 60)}': {hint}"
            )
        if value is None:
            continue
        if name == "resize" and isinstance(value, str) and ":" in value:
            value, _, size = value.partition(":")
            read.setdefault("size", _parsed("size", size, origin))
        read[name] = _parsed(name, value, origin)
    return read


def _parsed(name: str, value: Any, origin: str) -> Any:
    setting = SETTINGS[name]
    try:
        return setting.parse(value)
    except ValueError as problem:
        where = f"{setting.flag}" if origin == "command line" and setting.flag else f"'{name}'"
        raise UsageError(
            f"The {origin} gives {where} the value '{shown(str(value), 80)}', but it {problem}"
            f"{'' if str(problem).endswith('?') else '.'}"
        ) from None
