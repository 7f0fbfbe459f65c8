"""Images at a URL: whatever fsspec knows (http, s3, gs, …), read one by one as they are needed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inputs.decoding import UnusableImageError
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.stores import (
    ARCHIVE_SUFFIXES,
    COMPRESSED,
    Store,
    check_bytes,
    open_archive,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["is_url", "open_urls", "without_secrets"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")
_TRIES = 3


def is_url(source: str) -> bool:
    """Return whether a source is a URL and no path (a drive has one letter only)."""
    return _URL.match(source) is not None


def without_secrets(url: str) -> str:
    """Return a URL that may stand in a report: without user, password and query."""
    return re.sub(r"(://)[^/@]*@", r"\1", url).split("?", 1)[0]


class ObjectStore:
    """Objects below one place of a file system: for each name its path there, and its size."""

    remote = True

    def __init__(
        self, files: AbstractFileSystem, root: str, objects: Mapping[str, tuple[str, int | None]]
    ) -> None:
        self.names = tuple(objects)
        self._files = files
        self._root = root
        self._objects = objects

    @property
    def place(self) -> tuple[int, str]:
        """Where the objects are: fsspec makes one file system for equal arguments."""
        return id(self._files), self._root

    @property
    def root(self) -> str:
        """The URL of that place."""
        return str(self._files.unstrip_protocol(self._root))

    def with_more(self, other: ObjectStore) -> ObjectStore:
        """Return a store that has the objects of another one of the same place too."""
        return ObjectStore(self._files, self._root, {**self._objects, **other._objects})

    def read(self, name: str) -> bytes:
        """Return the bytes of an object; a network that fails is asked again."""
        path, size = self._objects[name]
        check_bytes(size or 0)
        for left in reversed(range(_TRIES)):
            try:
                data: bytes = self._files.cat_file(path)
                return data
            except FileNotFoundError as error:
                raise UnusableImageError("the file does not exist") from error
            except PermissionError as error:
                raise UnusableImageError("permission denied") from error
            except Exception as error:  # each of fsspec's file systems has errors of its own
                if not left:
                    reason = f"it cannot be fetched ({type(error).__name__})"
                    raise UnusableImageError(reason) from error
        raise AssertionError("unreachable")


def open_urls(urls: Sequence[str]) -> list[tuple[str, Store]]:
    """Open what lies at URLs; objects of the same folder become one store.

    Returns
    -------
    list of (str, Store)
        The place of each store, as a URL without secrets, and the store.

    Raises
    ------
    UsageError, ImageError
        As `_open_url`.
    """
    opened: list[tuple[str, Store]] = []
    places: dict[tuple[int, str], int] = {}
    for url in urls:
        store = _open_url(url)
        if isinstance(store, ObjectStore):
            if store.place in places:
                at = places[store.place]
                before = opened[at][1]
                assert isinstance(before, ObjectStore)
                opened[at] = (opened[at][0], before.with_more(store))
                continue
            places[store.place] = len(opened)
        root = store.root if isinstance(store, ObjectStore) else url
        opened.append((without_secrets(root), store))
    return opened


def _open_url(url: str) -> Store:
    """Open all objects below a URL, those that a pattern matches, a single one, or an archive.

    Raises
    ------
    UsageError
        If fsspec, or what it needs for this kind of URL, is not installed.
    ImageError
        If there is nothing, or it cannot be listed.
    """
    name = shown(without_secrets(url))
    try:
        import fsspec
    except ImportError:
        raise UsageError(
            f"'{name}' is a URL, which needs fsspec: pip install 'cleanai-onnx[remote]'."
        ) from None
    try:
        files, path = fsspec.core.url_to_fs(url)
        return _opened(files, path, name)
    except ImportError as error:
        raise UsageError(f"'{name}' cannot be opened: {shown(str(error))}.") from error
    except (ImageError, UsageError):
        raise
    except FileNotFoundError:
        raise ImageError(f"There is nothing at '{name}'.") from None
    except Exception as error:  # each of fsspec's file systems has errors of its own
        text = shown(" ".join(str(error).split()), 120)
        raise ImageError(
            f"'{name}' cannot be read ({type(error).__name__}{': ' if text else ''}{text})."
        ) from error


def _opened(files: AbstractFileSystem, path: str, name: str) -> Store:
    bare = _bare(path)
    if bare.lower().endswith((*ARCHIVE_SUFFIXES, *COMPRESSED)):
        return _archive(files, path, os.path.basename(bare), name)
    if "*" in path or "[" in path:
        found = files.glob(path, detail=True)
        magic = min(path.index(one) for one in "*[" if one in path)
        root = path[: path.rindex("/", 0, magic) + 1]
    else:
        found = files.find(path, detail=True)
        root = path.rstrip("/") + "/"
        if set(found) == {path}:
            root = bare[: bare.rindex("/") + 1]
    objects = {
        _bare(one).removeprefix(root): (one, facts.get("size"))
        for one, facts in found.items()
        if facts.get("type") != "directory" and one.startswith(root)
    }
    if not objects:
        raise FileNotFoundError(path)
    return ObjectStore(files, root, objects)


def _bare(path: str) -> str:
    """Return a path without the query that those of http have."""
    return path.split("?", 1)[0] if path.startswith(("http://", "https://")) else path


def _archive(files: AbstractFileSystem, path: str, base: str, name: str) -> Store:
    whole = ImageError(
        f"'{name}' cannot be read in parts, because its server sends files only whole: "
        "download it first."
    )
    file = files.open(path, "rb")
    if not file.seekable():
        raise whole
    try:
        return open_archive(base, file)
    except ImageError as error:
        # fsspec finds out when it asks for the first part.
        if "range requests" in str(error.__cause__):
            raise whole from error
        raise
