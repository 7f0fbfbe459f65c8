"""Batches of preprocessed images, decoded ahead in threads, in the order of the suite.

Memory depends on the batch, never on the number of images: at most ``ahead`` batches of
preprocessed images and one image for each thread are held at a time.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inputs.decoding import MAX_PIXELS, UnusableImageError, load_image
from cleanai_onnx.inputs.preprocessing import Preprocessing, Unchanged, WrongSizeError, preprocess
from cleanai_onnx.inputs.suite import Suite
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.runtime.processors import processors

__all__ = ["Batch", "BatchStream", "NoneUsableError", "Position", "aligned_empty", "stream"]

_ALIGNMENT = 64
_MOST_THREADS = 8
_WORTH_A_THREAD = 16_384
"""Bytes of a ready row whose hash takes longer than handing it to a thread."""
_REMOTE_THREADS = 16
"""Threads that wait for a network most of the time."""

Item = tuple[npt.NDArray[Any], str] | SkippedImage
"""An image and its hash (empty if not asked for)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images in the form that the model takes.

    Attributes
    ----------
    data
        (batch_size, ...) C-contiguous, in the model's dtype. Rows from `valid` on repeat the last
        valid one: they are padding, and must not be counted.
    valid
        How many rows are images.
    names, indexes
        The name and the index in the suite of each valid row.
    hashes
        The SHA-256 of each, in hexadecimal, if it was asked for: of the file's bytes, or of the
        array's row in C order.
    """

    data: npt.NDArray[Any]
    valid: int
    names: tuple[str, ...]
    indexes: tuple[int, ...]
    hashes: tuple[str, ...] = ()


class NoneUsableError(ImageError):
    """No image of a suite can be used; `skipped` says why."""

    def __init__(self, text: str, skipped: tuple[SkippedImage, ...]) -> None:
        super().__init__(text)
        self.skipped = skipped


class Position(NamedTuple):
    """How far a suite was streamed: the next index, and what became of the images before it."""

    next: int
    used: int
    skipped: tuple[SkippedImage, ...]


def stream(
    suite: Suite,
    preprocessing: Preprocessing | Unchanged,
    batch_size: int,
    *,
    threads: int | None = None,
    strict: bool = False,
    ahead: int = 2,
    max_pixels: int = MAX_PIXELS,
    into: Callable[[], npt.NDArray[Any]] | None = None,
    hashing: bool = False,
    start: Position | None = None,
) -> BatchStream:
    """Start to decode a suite and return its batches, all of `batch_size` rows.

    Parameters
    ----------
    suite, preprocessing
        The images, and what to do to them.
    batch_size
        Rows of every batch; the last one is padded.
    threads
        How many threads decode: None for one for each processor (8 at most), 0 to decode in the
        thread that asks for the batch. The batches are the same.
    strict
        Whether an image that cannot be used is an error instead of being skipped.
    ahead
        How many batches are decoded ahead of the one asked for.
    max_pixels
        Images with more pixels are not decoded.
    into
        Called for the array of each batch: C-contiguous, of shape (batch_size,
        *preprocessing.item_shape) and of the model's dtype. It may give the same arrays again and
        again. None: a new array for each batch, aligned to 64 bytes.
    hashing
        Whether to hash what the images are read from, while it is read.
    start
        Go on from there; with the same batch size, the batches are those that would have followed.

    Raises
    ------
    UsageError
        If `batch_size`, `threads` or `ahead` is out of range.
    """
    if batch_size < 1:
        raise UsageError(
            f"The batch size must be at least 1, not {batch_size} (--batch-size).",
            slug="batch-size",
        )
    if (threads is not None and threads < 0) or ahead < 1:
        raise UsageError("Decoding needs at least 0 threads and at least 1 batch ahead.")
    if (suite.kind == "ready") != isinstance(preprocessing, Unchanged):
        raise UsageError("Arrays that are ready take no preprocessing, and other images need it.")
    return BatchStream(
        suite,
        preprocessing,
        batch_size,
        threads,
        strict,
        ahead,
        max_pixels,
        into,
        hashing,
        start or Position(0, 0, suite.unreadable),
    )


class BatchStream(Iterator[Batch]):
    """The batches of a suite, once. A context manager: leaving it stops the threads.

    Whatever ends the iteration (the last batch, an error, Ctrl-C, `close`) stops them too.

    Raises
    ------
    ImageError
        While iterating: if no image at all can be used, or if one cannot and `strict` is set.
    UsageError
        While iterating: if an image has not the model's size and nothing says how to resize it.
    """

    def __init__(
        self,
        suite: Suite,
        preprocessing: Preprocessing | Unchanged,
        batch_size: int,
        threads: int | None,
        strict: bool,
        ahead: int,
        max_pixels: int,
        into: Callable[[], npt.NDArray[Any]] | None,
        hashing: bool,
        start: Position,
    ) -> None:
        self.suite = suite
        self.batch_size = batch_size
        self.used = start.used
        self._preprocessing = preprocessing
        self._strict = strict
        self._max_pixels = max_pixels
        self._shape = (batch_size, *preprocessing.item_shape)
        self._dtype = np.dtype(preprocessing.dtype)
        self._into = into
        self._hashing = hashing
        self._skipped = list(start.skipped)
        self._next = start.next  # the next index to decode
        self._waiting: deque[Future[Item]] = deque()
        self._closed = False
        if threads is None:
            remote = suite.store is not None and suite.store.remote
            threads = _REMOTE_THREADS if remote else min(_MOST_THREADS, processors())
        # Rows of ready arrays are only copied: threads would bring nothing, but for their hashes.
        row = int(np.prod(preprocessing.item_shape, dtype=np.int64)) * self._dtype.itemsize
        worth = suite.kind != "ready" or (hashing and row >= _WORTH_A_THREAD)
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads and worth else None
        )
        self._window = max(ahead * batch_size, 2 * threads)
        if self._pool is not None:
            # A stream that is dropped half way must not leave its threads waiting for more.
            weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        self._decode_ahead()

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The images skipped so far, in the order of the suite, with the reasons."""
        return tuple(self._skipped)

    @property
    def position(self) -> Position:
        """How far the batches that were returned go."""
        return Position(self._next - len(self._waiting), self.used, self.skipped)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise StopIteration
        try:
            batch = self._assemble()
        except BaseException:
            self.close()
            raise
        if batch is None:
            self.close()
            raise StopIteration
        return batch

    def close(self) -> None:
        """Stop decoding and wait for the threads, which finish the image they are at."""
        self._closed = True
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _decode_ahead(self) -> None:
        if self._pool is None:
            return
        while len(self._waiting) < self._window and self._next < len(self.suite):
            # A function, not a method: a queued call must not keep the stream alive.
            task = self._pool.submit(
                _load,
                self.suite,
                self._next,
                self._preprocessing,
                self._max_pixels,
                self._hashing,
            )
            self._waiting.append(task)
            self._next += 1

    def _take(self) -> tuple[int, Item] | None:
        """Return the next index and its image; None at the end of the suite."""
        if self._pool is not None:
            if not self._waiting:
                return None
            index = self._next - len(self._waiting)
            item = self._waiting.popleft().result()
            self._decode_ahead()
            return index, item
        if self._next >= len(self.suite):
            return None
        index, self._next = self._next, self._next + 1
        item = _load(self.suite, index, self._preprocessing, self._max_pixels, self._hashing)
        return index, item

    def _assemble(self) -> Batch | None:
        data: npt.NDArray[Any] | None = None
        indexes: list[int] = []
        hashes: list[str] = []
        while len(indexes) < self.batch_size and (taken := self._take()) is not None:
            index, item = taken
            if isinstance(item, SkippedImage):
                if self._strict:
                    raise ImageError(f"The image '{item.path}' cannot be used: {item.reason}.")
                self._skipped.append(item)
                continue
            if data is None:
                data = self._buffer()
            data[len(indexes)], digest = item
            indexes.append(index)
            if self._hashing:
                hashes.append(digest)
        if data is None:
            if not self.used:
                raise self._none_usable()
            return None
        valid = len(indexes)
        data[valid:] = data[valid - 1]
        self.used += valid
        names = tuple(self.suite.name(index) for index in indexes)
        return Batch(data, valid, names, tuple(indexes), tuple(hashes))

    def _buffer(self) -> npt.NDArray[Any]:
        if self._into is None:
            return aligned_empty(self._shape, self._dtype)
        data = self._into()
        if data.shape != self._shape or data.dtype != self._dtype or not data.flags.c_contiguous:
            raise ValueError(
                f"the array for a batch must be C-contiguous {self._dtype} of shape {self._shape}, "
                f"not {data.dtype} of shape {data.shape}"
            )
        return data

    def _none_usable(self) -> ImageError:
        count = len(self.suite)
        if not self._skipped:
            return NoneUsableError(f"{self.suite.source} holds no images.", ())
        first = self._skipped[-count] if count else self._skipped[0]
        if count == 1:
            none = f"The only image of {self.suite.source} cannot be used"
        else:
            none = f"None of the {count:,} images of {self.suite.source} can be used"
        return NoneUsableError(f"{none}; '{first.path}': {first.reason}.", self.skipped)


def _load(
    suite: Suite,
    index: int,
    preprocessing: Preprocessing | Unchanged,
    max_pixels: int,
    hashing: bool,
) -> Item:
    hashed = hashlib.sha256() if hashing else None
    if isinstance(preprocessing, Unchanged):
        row = suite.row(index)
        if hashed is not None:
            hashed.update(np.ascontiguousarray(row).data)
        return row, _hex(hashed)
    try:
        image = load_image(suite, index, preprocessing.mode, max_pixels, hashed)
        return preprocess(image, preprocessing, max_pixels=max_pixels), _hex(hashed)
    except UnusableImageError as problem:
        return SkippedImage(suite.name(index), str(problem))
    except WrongSizeError as size:
        height, width = preprocessing.size
        raise UsageError(
            f"The image '{suite.name(index)}' is {size} (width x height), the model takes {width} "
            f"x {height}, and nothing says how to resize: give --resize stretch, shorter-side or "
            "letterbox.",
            slug="preprocessing-unknown",
        ) from None


def _hex(hashed: hashlib._Hash | None) -> str:
    return "" if hashed is None else hashed.hexdigest()


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a new C-contiguous array that begins at a multiple of 64 bytes.

    XLA takes such memory as it is; anything less aligned is copied.
    """
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
