"""Stores: images that are no files of a folder but members of an archive.

A store lists its names once and then gives the bytes of any of them, to several threads at once.
Nothing is unpacked to disk and nothing is read whole: a zip file has a directory at its end, and
of a tar file only the headers are read, once. (`remote` and `tables` have the other stores.)
"""

from __future__ import annotations

import tarfile
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs.decoding import UnusableImageError
from cleanai_onnx.inputs.naming import shown

__all__ = ["ARCHIVE_SUFFIXES", "COMPRESSED", "MOST_BYTES", "Store", "check_bytes", "open_archive"]

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar"})
MOST_BYTES = 2**29
"""An image of more bytes than this is not read into memory."""

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError)


class Store(Protocol):
    """Where images lie."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all that it has, with ``/`` between parts, in no particular order."""

    @property
    def remote(self) -> bool:
        """Whether reading is waiting for a network, so that more threads read faster."""

    def read(self, name: str) -> bytes:
        """Return the bytes of one of `names`; threads may call this at the same time.

        Raises
        ------
        UnusableImageError
            If they cannot be had.
        """


def open_archive(path: str, file: IO[bytes] | None = None) -> Store:
    """Open a zip file, or a tar file that is not compressed.

    Parameters
    ----------
    path
        Its path, or its name if `file` is given.
    file
        The open file, which can seek; by default the one at `path`.

    Raises
    ------
    ImageError
        If it is no such archive, or cannot be read.
    """
    name = shown(path)
    if path.lower().endswith(COMPRESSED):
        raise ImageError(
            f"'{name}' is a compressed tar file, in which no image can be found without reading "
            "all before it: unpack it, or make it a .tar or .zip file."
        )
    kind = ZipStore if path.lower().endswith(".zip") else TarStore
    remote = file is not None
    try:
        return kind(file or open(path, "rb"), remote=remote)
    except (*_DAMAGED, tarfile.TarError) as error:
        form = "zip" if kind is ZipStore else "tar"
        raise ImageError(f"'{name}' is not a {form} file, or it is damaged.") from error
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise ImageError(f"The archive '{name}' cannot be opened: {reason}.") from error


def check_bytes(size: int) -> None:
    """Refuse an image that is too large to be read into memory.

    Raises
    ------
    UnusableImageError
        If it has more than `MOST_BYTES` bytes.
    """
    if size > MOST_BYTES:
        raise UnusableImageError(f"it has {size:,} bytes, more than the limit of {MOST_BYTES:,}")


class ZipStore:
    """The members of a zip file. Its reader has a lock around each access to the file."""

    def __init__(self, file: IO[bytes], *, remote: bool) -> None:
        self.remote = remote
        self._archive = zipfile.ZipFile(file)
        self.names = tuple(one.filename for one in self._archive.infolist() if not one.is_dir())

    def read(self, name: str) -> bytes:
        """Return the bytes of a member; never more than the directory says that there are."""
        try:
            member = self._archive.getinfo(name)
            check_bytes(member.file_size)
            return self._archive.read(member)
        except RuntimeError as error:  # also NotImplementedError, which derives from it
            encrypted = "encrypted" in str(error)
            reason = "it is encrypted" if encrypted else "it is compressed in an unknown way"
            raise UnusableImageError(reason) from error
        except _DAMAGED as error:
            raise UnusableImageError("its data is truncated or damaged") from error
        except OSError as error:
            raise UnusableImageError("the archive cannot be read") from error


class TarStore:
    """The regular files in a tar file that is not compressed, such as a shard of WebDataset."""

    def __init__(self, file: IO[bytes], *, remote: bool) -> None:
        self.remote = remote
        self._file = file
        self._lock = threading.Lock()
        self._places = _places(file)
        self.names = tuple(self._places)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        start, size = self._places[name]
        check_bytes(size)
        try:
            with self._lock:
                self._file.seek(start)
                data = self._file.read(size)
        except OSError as error:
            raise UnusableImageError("the archive cannot be read") from error
        if len(data) < size:
            raise UnusableImageError("its data is truncated or damaged")
        return data


def _places(file: IO[bytes]) -> Mapping[str, tuple[int, int]]:
    """Return where in a tar file the bytes of each regular file begin, and how many there are."""
    places = {}
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.isreg() and not member.issparse():
                places[member.name.removeprefix("./")] = (member.offset_data, member.size)
            # Of a million members, only their places are kept.
            archive.members = []  # type: ignore[attr-defined]
    return places
