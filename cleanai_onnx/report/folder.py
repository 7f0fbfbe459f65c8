"""A folder of files that appear together when all of them are there."""

from __future__ import annotations

import errno
import os
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cleanai_onnx.errors import OutputError
from cleanai_onnx.report.destination import Pending, explained

__all__ = ["GrowingFolder"]


class _PendingFolder(Pending):
    """A folder under a temporary name beside its target, whose files will move into the target."""

    def _check(self) -> None:
        if self.target.exists() and not self.target.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _reserve(self) -> None:
        self.temporary.mkdir()

    def _move(self) -> None:
        self.target.mkdir(exist_ok=True)
        with os.scandir(self.temporary) as entries:
            for entry in entries:
                os.replace(entry.path, self.target / entry.name)
        self.temporary.rmdir()

    def _delete(self) -> None:
        shutil.rmtree(self.temporary)


class GrowingFolder:
    """A folder that fills up out of sight and whose files appear when it is finished.

    Memory does not grow with the number of files. Files that the folder held before stay, unless
    one of the same name takes their place. A folder that is neither finished nor discarded is
    removed with the object, or with the process.

    Raises
    ------
    OutputError
        On opening, writing or finishing, with one sentence that says why not, and what to do. What
        was written is removed.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._pending: Pending | None = None
        try:
            self._pending = _PendingFolder(path)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        self._forsaken = weakref.finalize(self, self._pending.remove)

    def write(self, name: str, content: bytes) -> None:
        """Add a file; `name` is one part of a path."""
        with self.failing(), self.open(name) as stream:
            stream.write(content)

    def open(self, name: str) -> IO[bytes]:
        """Open a new file, to be written and read, inside `failing`; the caller closes it."""
        return (self._folder() / name).open("w+b")

    def remove(self, name: str) -> None:
        """Remove a file that was added."""
        (self._folder() / name).unlink()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turn an error of the file system inside into one that says what to do."""
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error

    @property
    def path(self) -> Path:
        """Where the files lie until the folder is finished or discarded."""
        return self._folder()

    def _folder(self) -> Path:
        if self._pending is None:
            raise ValueError("the folder is finished or discarded")
        return self._pending.temporary

    def finish(self) -> Path:
        """Put the files in their place, and return the folder as it was given."""
        if self._pending is not None:
            try:
                self._pending.place()
            except OSError as error:
                raise self._failed(error) from error
            self._forsaken.detach()
            self._pending = None
        return Path(self._path)

    def discard(self) -> None:
        """Remove everything, unless it is finished."""
        if self._pending is not None:
            self._pending.remove()
            self._pending = None

    def _failed(self, error: OSError | ValueError) -> OutputError:
        self.discard()
        return explained(self._path, error)
