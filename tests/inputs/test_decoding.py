from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from cleanai_onnx.inputs import discover
from cleanai_onnx.inputs.decoding import UnusableImageError, decode_file, load_image


def _decoded(path: Path, mode: str = "RGB") -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may be printed
        image = decode_file(str(path), mode)
    assert image.mode == mode
    return np.asarray(image)


def _reason(path: Path, **options) -> str:
    with pytest.raises(UnusableImageError) as caught:
        decode_file(str(path), "RGB", **options)
    text = str(caught.value)
    assert str(path.parent) not in text
    assert "<" not in text and "object at" not in text
    return text


@pytest.mark.parametrize("extension", ["png", "bmp", "webp", "tif", "gif", "jpg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats(tmp_path: Path, noise, extension: str, mode: str) -> None:
    plain = np.kron(noise(2, 2) if mode == "L" else noise(2, 2, 3), np.ones((8, 8, 1), np.uint8))
    plain = plain[:, :16] if mode == "RGB" else np.kron(noise(2, 2), np.ones((8, 8), np.uint8))
    path = tmp_path / f"a.{extension}"
    options = {"lossless": True} if extension == "webp" else {}
    if extension == "jpg":
        options = {"quality": 100, "subsampling": 0}
    Image.fromarray(plain).save(path, **options)
    expected = np.repeat(plain[..., None], 3, axis=2) if mode == "L" else plain
    tolerance = 3 if extension == "jpg" else 0
    np.testing.assert_allclose(_decoded(path).astype(int), expected, atol=tolerance)


def test_the_content_counts_not_the_name(tmp_path: Path, noise) -> None:
    pixels = noise(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(_decoded(tmp_path / "a.jpg"), pixels)


def test_formats_that_are_not_listed_are_not_tried(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", format="PPM")
    assert _reason(tmp_path / "a.png").startswith("it is not a PNG, JPEG")


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32767], [32768, 65278, 65406, 65407, 65535]], np.uint16)
    expected = np.round(values / 257).astype(np.uint8)
    for extension in ("png", "tif"):
        path = tmp_path / f"a.{extension}"
        Image.fromarray(values).save(path)
        np.testing.assert_array_equal(_decoded(path, "L"), expected)
        np.testing.assert_array_equal(_decoded(path, "RGB")[..., 2], expected)


def test_sixteen_bits_big_endian(tmp_path: Path) -> None:
    values = np.array([[0, 257], [32768, 65535]], np.uint16)
    Image.frombytes("I;16B", (2, 2), values.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(_decoded(tmp_path / "a.tif", "L"), [[0, 1], [128, 255]])


def test_sixteen_bits_in_colour_take_the_high_byte(tmp_path: Path, noise) -> None:
    pixels = noise(3, 3, 3)
    rows = b"".join(b"\0" + np.stack([row, row], -1).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", 3, 3, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(_png(header, zlib.compress(rows)))
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png"), pixels)


def test_one_bit(tmp_path: Path) -> None:
    bits = np.array([[0, 255], [255, 0]], np.uint8)
    Image.fromarray(bits).convert("1").save(tmp_path / "a.png")
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png", "L"), bits)


def test_palettes_and_their_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    expected = [[[10, 20, 30], [200, 100, 0]]]
    for extension, options in (
        ("png", {}),
        ("png", {"transparency": 0}),
        ("png", {"transparency": bytes([0, 128])}),
        ("gif", {}),
        ("gif", {"transparency": 0}),
    ):
        image.save(tmp_path / f"a.{extension}", **options)
        np.testing.assert_array_equal(_decoded(tmp_path / f"a.{extension}"), expected)


def test_alpha_is_dropped_unless_the_model_takes_it(tmp_path: Path, noise) -> None:
    pixels = noise(4, 4, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png"), pixels[..., :3])
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png", "RGBA"), pixels)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "b.png")
    assert (_decoded(tmp_path / "b.png", "RGBA")[..., 3] == 255).all()


def test_grayscale_with_alpha(tmp_path: Path, noise) -> None:
    pixels = noise(4, 4, 2)
    Image.fromarray(pixels, "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png", "L"), pixels[..., 0])
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png", "RGB")[..., 1], pixels[..., 0])


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    assert _decoded(tmp_path / "a.tif")[0, 0].tolist() == [0, 255, 255]
    assert _decoded(tmp_path / "a.tif", "L").shape == (8, 8)
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(tmp_path / "a.jpg", quality=100)
    assert _decoded(tmp_path / "a.jpg").max() <= 2


def test_colour_to_gray_is_luma(tmp_path: Path, noise) -> None:
    pixels = noise(6, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(_decoded(tmp_path / "a.png", "L"), luma, atol=1)


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, extension: str, orientation: int) -> None:
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 250  # a mark at the top left
    # what a camera in that orientation stores, as the Exif standard describes it
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{extension}"
    options = {"lossless": True} if extension == "webp" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    np.testing.assert_allclose(_decoded(path, "L").astype(int), upright, atol=4)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_do_not_exist_are_ignored(tmp_path: Path, noise, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(noise(4, 6)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(_decoded(tmp_path / "a.png", "L"), noise(4, 6))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_malformed_exif_block_does_not_lose_the_image(tmp_path: Path, noise) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode_file(str(tmp_path / "a.jpg"), "L").size == (8, 8)


@pytest.mark.parametrize("extension", ["gif", "tif", "webp", "png"])
def test_the_first_frame_is_taken(tmp_path: Path, extension: str) -> None:
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (40, 200)]
    options = {"lossless": True} if extension == "webp" else {}
    frames[0].save(tmp_path / f"a.{extension}", save_all=True, append_images=frames[1:], **options)
    assert _decoded(tmp_path / f"a.{extension}")[0, 0].tolist() == [40, 0, 0]


def test_pixel_arrays_go_the_same_way(tmp_path: Path, noise) -> None:
    for shape in ((2, 5, 6), (2, 5, 6, 3), (2, 4, 5, 6)):
        np.save(tmp_path / "d.npy", noise(*shape))
        suite = discover(tmp_path / "d.npy")
        for mode in ("L", "RGB", "RGBA"):
            image = load_image(suite, 1, mode)
            assert (image.mode, image.size) == (mode, (6, 5))
    with pytest.raises(UnusableImageError, match="more than the limit of 29"):
        load_image(suite, 0, "RGB", max_pixels=29)


# Broken and hostile files ---------------------------------------------------------------------


def _png(header: bytes, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [1_001, 9_700, 60_000])
def test_bombs_are_refused_from_their_header(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(_png(header, zlib.compress(bytes(1000))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _reason(tmp_path / "a.png", max_pixels=1_000_000) == (
            f"it has {side} x {side} pixels, more than the limit of 1,000,000"
        )


def test_an_image_at_the_limit_is_read(tmp_path: Path) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    assert decode_file(str(tmp_path / "a.png"), "L", max_pixels=10_000).size == (100, 100)


def test_text_chunks_that_swell_are_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    body = b"zTXt" + b"key\0\0" + zlib.compress(bytes(80_000_000))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    png = _png(header, zlib.compress(b"\0\0"))
    (tmp_path / "a.png").write_bytes(png[:33] + chunk + png[33:])
    assert "damaged" in _reason(tmp_path / "a.png")


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "tif", "webp", "gif"])
def test_truncated_files(tmp_path: Path, noise, extension: str) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    path = tmp_path / f"a.{extension}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    content = path.read_bytes()
    for share in (0.02, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        assert "damaged" in _reason(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "tif", "webp", "gif"])
def test_damaged_files_end_in_an_image_or_a_reason(tmp_path: Path, noise, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    Image.fromarray(noise(24, 24, 3)).save(path)
    content = path.read_bytes()
    random = np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, min(len(content), 400), 4):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            outcomes.add(decode_file(str(path), "RGB", max_pixels=1_000_000).mode)
        except UnusableImageError as problem:
            assert "object at" not in str(problem)
            assert str(tmp_path) not in str(problem)
            outcomes.add("reason")
    assert outcomes <= {"RGB", "reason"}
    assert "reason" in outcomes


def test_not_images_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    assert _reason(tmp_path / "text.png").startswith("it is not a PNG, JPEG")
    (tmp_path / "empty.png").write_bytes(b"")
    assert _reason(tmp_path / "empty.png") == "the file is empty"
    (tmp_path / "folder.png").mkdir()
    assert _reason(tmp_path / "folder.png") == "it is a folder"
    assert _reason(tmp_path / "gone.png") == "the file does not exist"
    (tmp_path / "zero.png").write_bytes(_png(struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0), b""))
    assert _reason(tmp_path / "zero.png")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    os.mkfifo(tmp_path / "a.png")
    assert _reason(tmp_path / "a.png") == "it is not a regular file"


def test_a_file_without_permission(tmp_path: Path, monkeypatch) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert _reason(tmp_path / "a.png") == "permission denied"


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_range(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    assert "no agreed range" in _reason(tmp_path / "a.tif")


def test_no_memory(tmp_path: Path, monkeypatch) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")

    def refuse(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", refuse, raising=False)
    assert _reason(tmp_path / "a.png") == "it needs more memory than there is"
