from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs import arrays as arrays_module
from cleanai_onnx.inputs import discover


@pytest.mark.parametrize(
    ("shape", "item"),
    [
        ((5, 6, 7), (6, 7)),
        ((5, 6, 7, 1), (6, 7)),
        ((5, 6, 7, 3), (6, 7, 3)),
        ((5, 1, 6, 7), (6, 7)),
        ((5, 3, 6, 7), (6, 7, 3)),
        ((5, 4, 6, 7), (6, 7, 4)),
    ],
)
def test_uint8_arrays_are_pixels(tmp_path: Path, noise, shape, item) -> None:
    array = noise(*shape)
    np.save(tmp_path / "d.npy", array)
    suite = discover(tmp_path / "d.npy")
    assert suite.kind == "pixels"
    assert len(suite) == 5
    assert suite.name(2) == "d.npy[2]"
    pixels = suite.pixels(3)
    assert pixels.shape == item
    channels_last = np.moveaxis(array[3], 0, -1) if suite.axes == "NCHW" else array[3]
    np.testing.assert_array_equal(pixels, channels_last.reshape(item))


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 3, 6, 1), (5, 3, 6, 3), (5, 784), (5, 2, 6, 7)])
def test_ambiguous_pixels_are_refused(tmp_path: Path, noise, shape) -> None:
    np.save(tmp_path / "d.npy", noise(*shape))
    with pytest.raises(ImageError, match=r"uint8 array in d\.npy has shape"):
        discover(tmp_path / "d.npy")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", ">f4"])
def test_other_arrays_are_ready(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "d.npy", np.arange(24).reshape(2, 3, 4).astype(dtype))
    suite = discover(tmp_path / "d.npy")
    assert (suite.kind, len(suite)) == ("ready", 2)


def test_npy_files_are_mapped_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((2, 3), np.float32))
    assert isinstance(discover(tmp_path / "d.npy").array, np.memmap)


def test_limit_picks_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((100, 3), np.float32))
    suite = discover(tmp_path / "d.npy", limit=3, seed=5)
    assert (len(suite), suite.found) == (3, 100)
    assert suite.names == tuple(f"d.npy[{row}]" for row in suite.rows)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("keys", [("anything",), ("labels", "x"), ("inputs", "labels", "x")])
def test_archives(tmp_path: Path, save, keys) -> None:
    wanted = keys[0] if len(keys) == 1 else next(k for k in ("inputs", "x") if k in keys)
    save(tmp_path / "d.npz", **{key: np.full((2, 3), key == wanted, np.float32) for key in keys})
    suite = discover(tmp_path / "d.npz")
    assert suite.array is not None
    assert suite.array.all()


def test_an_archive_without_a_known_name_is_refused_with_its_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", train=np.zeros((2, 2)), test=np.zeros((2, 2)))
    with pytest.raises(ImageError, match=r"d\.npz holds train, test: call"):
        discover(tmp_path / "d.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    trap = np.empty(1, object)
    trap[0] = Trap()
    np.save(tmp_path / "d.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "d.npz", x=trap)
    for name in ("d.npy", "d.npz"):
        with pytest.raises(ImageError, match="never unpickled"):
            discover(tmp_path / name)


def _archive(path: Path, header: bytes, promised: int | None = None) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header)


def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def test_an_archive_that_asks_for_terabytes_is_refused(tmp_path: Path) -> None:
    _archive(tmp_path / "d.npz", _header((1 << 40, 4)))
    with pytest.raises(ImageError, match="truncated"):
        discover(tmp_path / "d.npz")


def test_an_archive_larger_than_memory_is_refused(tmp_path: Path, monkeypatch) -> None:
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((100, 100), np.float32))
    monkeypatch.setattr(arrays_module, "_available_memory", lambda: 39_999)
    with pytest.raises(ImageError, match="does not fit into memory"):
        discover(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a", "b"]), "not numbers"),
        (np.zeros((2, 2), np.complex64), "not numbers"),
        (np.zeros(2, [("a", "f4")]), "not numbers"),
        (np.zeros((0, 3, 8, 8), np.float32), "holds no image"),
        (np.float32(1), "holds no image"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array, message: str) -> None:
    np.save(tmp_path / "d.npy", array)
    with pytest.raises(ImageError, match=message):
        discover(tmp_path / "d.npy")


@pytest.mark.parametrize("name", ["d.npy", "d.npz"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00\x10\x00{"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match="not a NumPy file, or it is truncated"):
        discover(tmp_path / name)


def test_a_truncated_array(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((9, 9), np.float32))
    content = (tmp_path / "d.npy").read_bytes()
    (tmp_path / "d.npy").write_bytes(content[:-10])
    with pytest.raises(ImageError, match="truncated"):
        discover(tmp_path / "d.npy")


def test_arrays_and_images_do_not_mix(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((9, 9), np.float32))
    with pytest.raises(ImageError, match="must be the only source"):
        discover([tmp_path / "d.npy", tmp_path])
