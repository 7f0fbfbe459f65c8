from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inputs import (
    BatchStream,
    Position,
    Preprocessing,
    Unchanged,
    aligned_empty,
    discover,
    stream,
)
from cleanai_onnx.inputs import streaming as streaming_module
from cleanai_onnx.inputs.suite import Suite
from cleanai_onnx.result import SkippedImage
from tests.cli.material import images

HOW = Preprocessing((4, 4), "gray", 1.0)


def _decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def _wait_for_no_decoders() -> None:
    deadline = time.monotonic() + 5
    while _decoders() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _decoders()


def _numbered(count: int) -> Suite:
    """Return a suite of pixels whose item i has the value i everywhere."""
    array = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 4, 4))
    return Suite("d.npy", "pixels", count, array=array, rows=range(count), axes="NHW")


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    threads=st.sampled_from([0, 1, 3]),
    ahead=st.integers(1, 3),
    broken=st.sets(st.integers(0, 39)),
)
def test_every_image_once_in_order(count, batch_size, threads, ahead, broken) -> None:
    broken = {index for index in broken if 0 < index < count}
    good = [index for index in range(count) if index not in broken]
    original = streaming_module.load_image

    def load(suite, index, mode, max_pixels, hashed):
        if index in broken:
            raise streaming_module.UnusableImageError("it is broken")
        return original(suite, index, mode, max_pixels, hashed)

    streaming_module.load_image = load
    try:
        batches = stream(_numbered(count), HOW, batch_size, threads=threads, ahead=ahead)
        got = list(batches)
    finally:
        streaming_module.load_image = original
    assert [index for batch in got for index in batch.indexes] == good
    assert [name for batch in got for name in batch.names] == [f"d.npy[{i}]" for i in good]
    for number, batch in enumerate(got):
        assert batch.data.shape == (batch_size, 1, 4, 4)
        assert batch.data.flags.c_contiguous
        last = number == len(got) - 1
        assert batch.valid == (len(good) - number * batch_size if last else batch_size)
        values = list(batch.indexes) + [batch.indexes[-1]] * (batch_size - batch.valid)
        assert batch.data[:, 0, 2, 3].tolist() == values
        assert (batch.data == batch.data[:, :, :1, :1]).all()
    assert [int(one.path[6:-1]) for one in batches.skipped] == sorted(broken)
    assert batches.used == len(good)
    assert not _decoders()


def test_order_holds_when_later_images_are_ready_first(monkeypatch) -> None:
    original = streaming_module.load_image

    def load(suite, index, mode, max_pixels, hashed):
        time.sleep(0.02 if index % 4 == 0 else 0)
        return original(suite, index, mode, max_pixels, hashed)

    monkeypatch.setattr(streaming_module, "load_image", load)
    batches = list(stream(_numbered(17), HOW, 4, threads=4))
    assert [index for batch in batches for index in batch.indexes] == list(range(17))


def test_broken_images_are_skipped_and_named(folder) -> None:
    source = folder(6, broken=(0, 3, 5))
    batches = stream(discover(source), HOW, 2)
    got = list(batches)
    assert [batch.names for batch in got] == [("i1.png", "i2.png"), ("i4.png",)]
    reason = "it is not a PNG, JPEG, BMP, WebP, TIFF or GIF image, or its header is damaged"
    assert batches.skipped == tuple(SkippedImage(f"i{n}.png", reason) for n in (0, 3, 5))
    assert str(source) not in repr(batches.skipped)


def test_strict(folder) -> None:
    batches = stream(discover(folder(6, broken=(3,))), HOW, 2, strict=True)
    assert next(batches).names == ("i0.png", "i1.png")
    with pytest.raises(ImageError, match=r"The image 'i3\.png' cannot be used: it is not a PNG"):
        next(batches)
    assert not _decoders()
    assert list(batches) == []


@pytest.mark.parametrize(
    ("count", "start"),
    [(1, "The only image of .* cannot be used"), (3, "None of the 3 images of .* can be used")],
)
def test_no_usable_image(folder, count: int, start: str) -> None:
    batches = stream(discover(folder(count, broken=tuple(range(count)))), HOW, 2)
    with pytest.raises(ImageError, match=rf"^{start}; 'i0\.png': it is not a PNG"):
        next(batches)
    assert not _decoders()


def test_unreadable_folders_count_as_skipped(folder) -> None:
    suite = discover(folder(2))
    skipped = SkippedImage("secret/", "permission denied")
    with_secret = Suite(suite.source, "files", 2, suite.root, suite.files, unreadable=(skipped,))
    batches = stream(with_secret, HOW, 2)
    assert len(list(batches)) == 1
    assert batches.skipped == (skipped,)


@pytest.mark.parametrize("threads", [0, 2])
def test_an_image_of_another_size_without_resizing(tmp_path: Path, threads: int) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    Image.new("L", (6, 5)).save(tmp_path / "b.png")
    exact = Preprocessing((4, 4), "gray", 1.0, resize="none")
    with pytest.raises(UsageError, match=r"'b\.png' is 6 x 5 .* takes 4 x 4.* give --resize"):
        list(stream(discover(tmp_path), exact, 2, threads=threads))
    assert not _decoders()


def test_closing_early_leaves_no_threads() -> None:
    with stream(_numbered(200), HOW, 2, threads=3) as batches:
        next(batches)
        assert _decoders()
    assert not _decoders()
    assert list(batches) == []
    batches.close()  # closing twice is harmless


def test_dropping_a_stream_leaves_no_threads() -> None:
    for batch in stream(_numbered(200), HOW, 2, threads=3):
        assert batch.valid == 2
        break
    del batch
    gc.collect()
    _wait_for_no_decoders()


def test_a_stream_that_nobody_reads_leaves_no_threads() -> None:
    batches = stream(_numbered(200), HOW, 2, threads=3)
    del batches
    gc.collect()
    _wait_for_no_decoders()


def test_ctrl_c_leaves_no_threads(monkeypatch) -> None:
    batches = stream(_numbered(200), HOW, 2, threads=2)
    next(batches)

    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming_module.BatchStream, "_take", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    assert not _decoders()


def test_a_bug_in_a_thread_is_not_swallowed(monkeypatch) -> None:
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(streaming_module, "load_image", fail)
    with pytest.raises(ZeroDivisionError):
        list(stream(_numbered(5), HOW, 2))
    assert not _decoders()


def test_decoding_runs_ahead_within_bounds(monkeypatch) -> None:
    started = []
    original = streaming_module.load_image

    def load(suite, index, mode, max_pixels, hashed):
        started.append(index)
        return original(suite, index, mode, max_pixels, hashed)

    monkeypatch.setattr(streaming_module, "load_image", load)
    with stream(_numbered(200), HOW, 4, threads=1, ahead=2) as batches:
        for taken in range(1, 10):
            next(batches)
            assert len(batches._waiting) <= 8
            assert len(started) <= taken * 4 + 8


@pytest.mark.parametrize("threads", [0, 2])
def test_batches_go_into_the_arrays_given(threads: int) -> None:
    ring = [aligned_empty((3, 1, 4, 4), np.dtype("float32")) for _ in range(2)]
    turn = iter(range(100))
    batches = stream(_numbered(7), HOW, 3, threads=threads, into=lambda: ring[next(turn) % 2])
    for number, batch in enumerate(batches):
        assert batch.data is ring[number % 2]
        assert batch.data[:, 0, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 6, 6]][number]


@pytest.mark.parametrize(
    "array",
    [
        np.empty((2, 1, 4, 4), np.float32),
        np.empty((3, 1, 4, 4), np.float64),
        np.empty((4, 4, 1, 3), np.float32).T,
    ],
)
def test_arrays_that_do_not_fit_are_refused(array) -> None:
    with pytest.raises(ValueError, match="must be C-contiguous float32 of shape"):
        list(stream(_numbered(7), HOW, 3, into=lambda: array))
    assert not _decoders()


def test_new_arrays_are_aligned() -> None:
    for batch in stream(_numbered(7), HOW, 3):
        assert batch.data.ctypes.data % 64 == 0


@pytest.mark.parametrize("save_dtype", ["float32", "float64", ">f4"])
def test_ready_arrays_are_fed_as_they_are(tmp_path: Path, save_dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(7, 2, 5)).astype(save_dtype)
    np.save(tmp_path / "d.npy", values)
    got = list(stream(discover(tmp_path / "d.npy"), Unchanged((2, 5), "float32"), 3))
    assert [batch.valid for batch in got] == [3, 3, 1]
    joined = np.concatenate([batch.data[: batch.valid] for batch in got])
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, values.astype(np.float32))
    assert got[2].names == ("d.npy[6]",)
    assert not _decoders()


def test_limited_arrays(tmp_path: Path) -> None:
    values = np.arange(50, dtype=np.float32)[:, None]
    np.save(tmp_path / "d.npy", values)
    suite = discover(tmp_path / "d.npy", limit=4)
    (batch,) = stream(suite, Unchanged((1,), "float32"), 4)
    assert batch.data.ravel().tolist() == list(suite.rows)
    assert batch.indexes == (0, 1, 2, 3)


def test_arguments_are_checked() -> None:
    for options in ({"batch_size": 0}, {"threads": -1}, {"ahead": 0}):
        arguments = {"batch_size": 1, **options}
        with pytest.raises(UsageError):
            stream(_numbered(3), HOW, **arguments)
    with pytest.raises(UsageError, match="take no preprocessing"):
        stream(_numbered(3), Unchanged((4, 4), "float32"), 1)


def test_one_image_fewer_than_the_batch(folder) -> None:
    (batch,) = stream(discover(folder(1)), HOW, 8)
    assert (batch.valid, batch.indexes) == (1, (0,))
    assert batch.data.shape == (8, 1, 4, 4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_aligned_arrays_of_any_shape(shape: list[int]) -> None:
    array = aligned_empty(tuple(shape), np.dtype("float64"))
    assert array.shape == tuple(shape)
    assert array.flags.c_contiguous and array.flags.writeable
    assert array.size == 0 or array.ctypes.data % 64 == 0


@pytest.mark.parametrize("threads", [0, 2])
def test_going_on_from_a_position_gives_the_batches_that_follow(
    threads: int, tmp_path: Path
) -> None:
    images(tmp_path / "suite", 11, (4, 4))
    for number in (2, 9):
        (tmp_path / "suite" / f"i{number}.png").write_bytes(b"no image")
    suite = discover(tmp_path / "suite")

    def streamed(start: Position | None = None) -> BatchStream:
        return stream(suite, HOW, 3, threads=threads, start=start)

    whole = streamed()
    seen = [(batch.indexes, batch.data.tobytes(), whole.position) for batch in whole]
    assert [indexes for indexes, *_ in seen] == [(0, 1, 3), (4, 5, 6), (7, 8, 10)]
    assert seen[-1][2] == Position(11, 9, whole.skipped)
    for place, (*_, position) in enumerate(seen):
        rest = streamed(position)
        found = [(batch.indexes, batch.data.tobytes(), rest.position) for batch in rest]
        assert found == seen[place + 1 :]
        assert rest.skipped == whole.skipped and rest.used == 9
