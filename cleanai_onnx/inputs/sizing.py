"""The size, resizing and cropping that a model needs, or why that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.precedence import DEFAULT, Finding, Precedence
from cleanai_onnx.inputs.preprocessing import ResizeMode
from cleanai_onnx.inputs.settings import NO_CROP
from cleanai_onnx.result import Note, PreprocessingField

__all__ = ["Sizing", "sizing_of"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Sizing:
    """The geometric part of a `Preprocessing`, with the origin of each field."""

    size: Size
    resize: ResizeMode
    resize_size: Size | int | None
    crop: Size | None
    interpolation: str
    pad: int
    fields: tuple[PreprocessingField, ...]
    notes: tuple[Note, ...] = ()


def sizing_of(
    precedence: Precedence, fixed: tuple[int | None, int | None], input_name: str
) -> Sizing:
    """Find how images are brought to the model's size.

    The setting ``size`` is what images are resized to; ``crop`` is then cut from the centre. The
    model's size is the crop's, or without a crop the size's, or the graph's. A crop from a source
    that comes after the one that gives the size was made for another size, and is dropped.

    Parameters
    ----------
    precedence
        The sources.
    fixed
        (height, width) that the graph fixes, None where it does not.
    input_name
        For messages.

    Raises
    ------
    UsageError
        If no size is known, or one contradicts the graph or the mode of resizing.
    """
    notes: list[Note] = []
    size, crop = precedence.find("size"), precedence.find("crop")
    if crop is not None and crop.value == NO_CROP:
        crop = None
    if crop is not None and size is not None and size.rank < crop.rank:
        if crop.value != size.value:
            notes.append(
                Note(
                    "crop-dropped",
                    f"The crop to {_by(crop.value)} from the {crop.source} was left out, because "
                    f"the {size.source} sets the size to {_by(size.value)}.",
                )
            )
        crop = None
    final = crop or size
    if final is None:
        height, width = fixed
        if height is None or width is None:
            raise UsageError(
                f"The input '{shown(input_name, 60)}' takes images of any size, and nothing says "
                "which to use: give --size HEIGHTxWIDTH.",
                slug="preprocessing-unknown",
            )
        final = Finding((height, width), f"graph (input '{shown(input_name, 60)}')", 0, "graph")
    _check_fixed(final, fixed, input_name, cropped=crop is not None)
    resize = precedence.find("resize") or Finding(
        "none", f"{DEFAULT} (images must have this size: --resize)", precedence.last
    )
    mode = cast(ResizeMode, resize.value)
    if crop is not None and mode == "letterbox":
        if crop.rank < resize.rank or crop.source == resize.source:
            raise UsageError(
                f"The {crop.source} gives a crop, which resizing as letterbox leaves nothing to "
                "do for: give --crop none or another --resize."
            )
        crop = size = None
    before = None
    if crop is not None and size is not None and mode != "none":
        before = size.value
    resize_size = _resize_size(mode, before, size)
    interpolation = precedence.find("interpolation") or Finding(
        "bilinear", DEFAULT, precedence.last
    )
    pad = precedence.find("pad") or Finding(0, DEFAULT, precedence.last)
    fields = (
        PreprocessingField("size", f"{_by(final.value)} (height x width)", final.origin),
        PreprocessingField(
            "resize", _resize_words(mode, resize_size, final.value, pad.value), resize.origin
        ),
        PreprocessingField(
            "interpolation",
            "not used" if mode == "none" else interpolation.value,
            interpolation.origin,
        ),
        PreprocessingField(
            "crop",
            f"centre {_by(crop.value)}" if crop else "none",
            crop.origin if crop else _no_crop_origin(precedence),
        ),
    )
    return Sizing(
        size=final.value,
        resize=mode,
        resize_size=resize_size,
        crop=crop.value if crop else None,
        interpolation=interpolation.value,
        pad=pad.value,
        fields=fields,
        notes=tuple(notes),
    )


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _no_crop_origin(precedence: Precedence) -> str:
    crop = precedence.find("crop")
    return crop.origin if crop is not None and crop.value == NO_CROP else DEFAULT


def _check_fixed(
    final: Finding, fixed: tuple[int | None, int | None], input_name: str, *, cropped: bool
) -> None:
    if all(want is None or want == have for want, have in zip(fixed, final.value, strict=True)):
        return
    takes = " x ".join("any" if side is None else str(side) for side in fixed)
    flag = "--size" if None in fixed else f"--size {fixed[0]}x{fixed[1]}"
    raise UsageError(
        f"The {final.source} does not fit: it {'crops' if cropped else 'resizes'} images to "
        f"{_by(final.value)}, but the input '{shown(input_name, 60)}' takes {takes}; give {flag} "
        "or another preset."
    )


def _resize_size(mode: ResizeMode, before: Size | None, size: Finding | None) -> Size | int | None:
    if before is None or mode in ("none", "letterbox"):
        return None
    if mode == "stretch":
        return before
    if before[0] != before[1]:
        raise UsageError(
            f"The {size.source if size else DEFAULT} gives the shorter side as {_by(before)}: "
            "give one number, as in --size 256."
        )
    return before[0]


def _resize_words(mode: ResizeMode, resize_size: Size | int | None, size: Size, pad: int) -> str:
    match mode:
        case "stretch":
            return f"stretch to {_by(resize_size if isinstance(resize_size, tuple) else size)}"
        case "shorter-side" if isinstance(resize_size, int):
            return f"shorter side to {resize_size}, ratio kept"
        case "shorter-side":
            return f"to cover {_by(size)}, ratio kept, centre kept"
        case "letterbox":
            return f"letterbox into {_by(size)}, ratio kept, rest filled with {pad}"
    return "none"
