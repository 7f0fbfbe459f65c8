"""Decoding: any image file becomes an 8-bit Pillow image of the channels that the model takes.

What happens to each kind of pixels:

=====================  =====================================================================
grayscale, 1 bit       as it is; repeated for three channels
palette                looked up
transparency           dropped, as ``convert("RGB")`` does in torchvision, Keras and timm: the
                       colour under transparent pixels shows. Models with four channels get it
16-bit grayscale       divided by 257 and rounded, so that 65535 becomes 255
16-bit colour          the high byte, by Pillow's decoders
CMYK, YCbCr, HSV       converted by Pillow, without colour profiles
32-bit, Lab            refused: their values have no agreed range
EXIF orientation       applied; a malformed one counts as none
several frames         the first
=====================  =====================================================================

Only the decoders of PNG, JPEG, BMP, WebP, TIFF and GIF are ever tried, whatever a file is called.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from typing import IO, Any, Literal, Protocol

import numpy as np

# Importing a plugin is what registers its decoder in Image.OPEN.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from cleanai_onnx.inputs.suite import Suite

__all__ = ["MAX_PIXELS", "ColourMode", "Hash", "UnusableImageError", "decode_file", "load_image"]

MAX_PIXELS = 100_000_000
"""Images of more pixels are not decoded (100 megapixels: 300 MB as RGB)."""

_READ_AT_ONCE = 16_000_000
"""Larger files are not held in memory to be hashed, but read again."""

ColourMode = Literal["L", "RGB", "RGBA"]

_DECODERS = tuple(
    plugin.format
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Any, /) -> object:
        """Take further bytes."""


class UnusableImageError(Exception):
    """An image that cannot be used. The message is the reason, without the image's name."""


def load_image(
    suite: Suite,
    index: int,
    mode: ColourMode,
    max_pixels: int = MAX_PIXELS,
    hashed: Hash | None = None,
) -> Image.Image:
    """Return an item of a suite of files or pixels as an 8-bit image of `mode`.

    `hashed` takes the bytes that the image was decoded from: the file's, or the array's row.

    Raises
    ------
    UnusableImageError
        If the item cannot be decoded, or has more than `max_pixels` pixels.
    """
    if suite.store is not None:
        data = suite.store.read(suite.files[index])
        if hashed is not None:
            hashed.update(data)
        return _decode_bytes(data, mode, max_pixels)
    if suite.kind == "files":
        return decode_file(suite.path(index), mode, max_pixels, hashed)
    if hashed is not None:
        hashed.update(np.ascontiguousarray(suite.row(index)).data)
    pixels = suite.pixels(index)
    _check_size((pixels.shape[1], pixels.shape[0]), max_pixels)
    return _in_mode(Image.fromarray(np.ascontiguousarray(pixels)), mode)


def decode_file(
    path: str, mode: ColourMode, max_pixels: int = MAX_PIXELS, hashed: Hash | None = None
) -> Image.Image:
    """Decode an image file to an 8-bit image of `mode`; the file is closed again.

    `hashed` takes the bytes of the file.

    Raises
    ------
    UnusableImageError
        If the file is no readable image or has more than `max_pixels` pixels, which is known from
        its header before anything is decoded.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise UnusableImageError("it is a folder")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise UnusableImageError("it is not a regular file")
        if status.st_size == 0:
            raise UnusableImageError("the file is empty")
        with open(path, "rb") as stream:
            if hashed is None:
                return _decode(stream, mode, max_pixels)
            return _decode_and_hash(stream, status.st_size, mode, max_pixels, hashed)
    except UnusableImageError:
        raise
    except Exception as error:  # decoders fed with hostile bytes raise nearly anything
        raise UnusableImageError(_reason(error)) from error


def _decode_bytes(data: bytes, mode: ColourMode, max_pixels: int) -> Image.Image:
    """Decode the bytes of an image file; raises as `decode_file`."""
    try:
        if not data:
            raise UnusableImageError("the file is empty")
        return _decode(io.BytesIO(data), mode, max_pixels)
    except UnusableImageError:
        raise
    except Exception as error:  # decoders fed with hostile bytes raise nearly anything
        raise UnusableImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Say in stable words what went wrong: Pillow's texts change, and name objects and paths."""
    match error:
        case FileNotFoundError():
            return "the file does not exist"
        case PermissionError():
            return "permission denied"
        case UnidentifiedImageError():
            return "it is not a PNG, JPEG, BMP, WebP, TIFF or GIF image, or its header is damaged"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return "it has too many pixels"
        case MemoryError():
            return "it needs more memory than there is"
        case OSError() if error.errno is not None:
            return "the file cannot be read"
        case OSError() | EOFError():
            return "its data is truncated or damaged"
    return f"its data is damaged ({type(error).__name__})"


def _decode_and_hash(
    stream: IO[bytes], size: int, mode: ColourMode, max_pixels: int, hashed: Hash
) -> Image.Image:
    if size <= _READ_AT_ONCE:
        content = stream.read()
        hashed.update(content)
        return _decode(io.BytesIO(content), mode, max_pixels)
    image = _decode(stream, mode, max_pixels)
    stream.seek(0)
    while chunk := stream.read(_READ_AT_ONCE):
        hashed.update(chunk)
    return image


def _decode(stream: IO[bytes], mode: ColourMode, max_pixels: int) -> Image.Image:
    with _open_header(stream) as image:
        _check_size(image.size, max_pixels)
        image.load()
        return _upright(_in_mode(image, mode), _orientation(image))


def _open_header(stream: IO[bytes]) -> ImageFile.ImageFile:
    """Read the header only.

    This does what ``Image.open`` does, save its check for bombs: that one prints a warning and
    knows two limits, while ours is exact and comes right after.
    """
    prefix = stream.read(16)
    for name in _DECODERS:
        factory, accept = Image.OPEN[str(name)]
        if accept is None or accept(prefix) is True:
            stream.seek(0)
            try:
                return factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                break  # the file is of this format, but its header is not readable
    raise UnidentifiedImageError


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnusableImageError(f"it has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise UnusableImageError(
            f"it has {width} x {height} pixels, more than the limit of {max_pixels:,}"
        )


def _orientation(image: Image.Image) -> int:
    # TIFF files are turned by Pillow when they are loaded, which also removes the tag.
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, OSError, struct.error):
        return 1
    return value if isinstance(value, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _in_mode(image: Image.Image, mode: ColourMode) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _from_16_bits(np.asarray(image))
    elif image.mode == "I":
        if image.format != "PNG":
            raise UnusableImageError("its 32-bit pixels have no agreed range: save it as 8 bits")
        image = _from_16_bits(np.asarray(image))
    elif image.mode == "F":
        raise UnusableImageError("its 32-bit pixels have no agreed range: save it as 8 bits")
    elif image.mode == "LAB":
        raise UnusableImageError("its Lab colours are not supported: save it as RGB")
    if image.mode in ("La", "RGBa", "PA") or (image.mode == "P" and "transparency" in image.info):
        # By way of RGBA, the colours stay and Pillow does not warn about transparency.
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if mode == "L" and image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _from_16_bits(values: np.ndarray) -> Image.Image:
    # 257 is odd, so that no value lies half way and rounding is not in question.
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
