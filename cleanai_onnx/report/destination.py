"""Where a report goes: a file appears whole or not at all, and so do the files of one run."""

from __future__ import annotations

import errno
import os
import secrets
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from cleanai_onnx.errors import OutputError
from cleanai_onnx.report.names import printable

__all__ = [
    "GrowingFile",
    "Pending",
    "all_or_nothing",
    "check_destination",
    "discard_unfinished",
    "explained",
    "replace_by",
    "replace_file",
    "when_in_place",
]

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder with {flag}",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder with "
    "{flag}",
    errno.EROFS: "the file system is read-only; choose another folder with {flag}",
    errno.EACCES: "you may not write in that folder; choose another with {flag}",
    errno.EPERM: "you may not write in that folder; choose another with {flag}",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder with {flag}",
    errno.EEXIST: "a part of that path is a file, not a folder; choose another folder with {flag}",
    errno.ENOENT: "that folder does not exist and cannot be made; choose another with {flag}",
    errno.EISDIR: "that is a folder; give the name of a file",
    errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter one",
}


class Pending:
    """A file under a temporary name beside its target; `flag` is what names another place."""

    def __init__(self, path: str | Path, flag: str = "--output") -> None:
        self.path, self.flag = path, flag
        self._group: _Group | None = None
        target = Path(os.path.realpath(path))  # unlike resolve(), this survives a loop of links
        self.target = target
        self.temporary = target.parent / f".{secrets.token_hex(8)}.part"
        # Before the file is there: whatever interrupts this finds it, and removes it.
        _PENDING.add(self)
        try:
            self._check()
            parent = self.target.parent
            _MADE.update(folder for folder in (parent, *parent.parents) if not folder.exists())
            parent.mkdir(parents=True, exist_ok=True)
            self._reserve()
        except BaseException:
            self.remove()
            raise

    def _check(self) -> None:
        """Refuse a target that cannot be replaced."""
        if self.target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if self.target.exists() and not self.target.is_file():
            raise OSError(errno.EINVAL, "that is not a regular file")

    def _reserve(self) -> None:
        """Create the file, empty, with the permissions that a new file gets."""
        os.close(os.open(self.temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))

    def _move(self) -> None:
        self.temporary.replace(self.target)

    def _delete(self) -> None:
        self.temporary.unlink()

    def place(self) -> None:
        """Put the file in its place, now or at the end of `all_or_nothing`."""
        self._group = _GROUP.get()
        if self._group is None:
            self.place_now()
        else:
            self._group.files.append(self)

    def place_now(self) -> None:
        """Put the file in its place."""
        self._move()
        _PENDING.discard(self)
        _MADE.difference_update(self.target.parents)

    @property
    def is_decided(self) -> bool:
        """Whether the file belongs to a group that is being put in its place."""
        return self._group is not None and self._group.decided

    def remove(self) -> None:
        """Remove the file, and the folders made for it that nothing else is in."""
        if self in _PENDING:
            with suppress(OSError, ValueError):
                self._delete()
            _PENDING.discard(self)
            for folder in self.target.parents:
                if folder in _MADE:
                    with suppress(OSError, ValueError):
                        folder.rmdir()
                        _MADE.discard(folder)


class _Group:
    """Files that appear together; `decided` from the moment at which they do."""

    def __init__(self) -> None:
        self.files: list[Pending] = []
        self.then: list[Callable[[], None]] = []
        self.decided = False


_PENDING: set[Pending] = set()
_MADE: set[Path] = set()
"""Folders that were made for files of which none is in its place yet."""
_GROUP: ContextVar[_Group | None] = ContextVar("group", default=None)


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """Let the files that are written inside appear together at the end, or none of them.

    Raises
    ------
    OutputError
        At the end, if a file cannot be put in its place.
    """
    group = _Group()
    token = _GROUP.set(group)
    try:
        yield
        group.decided = True
        for pending in group.files:
            try:
                pending.place_now()
            except OSError as error:
                raise explained(pending.path, error, pending.flag) from error
        for action in group.then:
            action()
    finally:
        _GROUP.reset(token)
        for pending in group.files:
            pending.remove()


def when_in_place(action: Callable[[], None]) -> None:
    """Do something once the files of `all_or_nothing` are in their places; outside of it, now."""
    group = _GROUP.get()
    if group is None:
        action()
    else:
        group.then.append(action)


def discard_unfinished() -> None:
    """Remove all files of this process that are not in their places yet.

    For a process that is about to end without unwinding. If that happens while a group of files is
    being put in place, the rest of the group follows.
    """
    for pending in tuple(_PENDING):
        if pending.is_decided:
            with suppress(OSError):
                pending.place_now()
        pending.remove()


def check_destination(path: str | Path, flag: str = "--output") -> None:
    """Fail now if a report could not be written to `path` later.

    Meant to be called before a long analysis. It tries the parent folder with an empty file, and
    leaves nothing behind. `flag` is the option that names another place.

    Raises
    ------
    OutputError
        With one sentence that says why not, and what to do.
    """
    try:
        Pending(path, flag).remove()
    except (OSError, ValueError) as error:
        raise explained(path, error, flag) from error


def replace_file(path: str | Path, content: bytes, flag: str = "--output") -> Path:
    """Write `content` to `path`, replacing what is there in one step, and return the path.

    The content goes to a temporary file beside the target, is flushed to the disk and renamed.
    On any error, and on Ctrl-C, the temporary file is removed and the old file is untouched.
    A symbolic link is followed, so that the file it names is replaced and not the link. `flag` is
    the option that names another place.

    Raises
    ------
    OutputError
        With one sentence that says why the file cannot be written, and what to do.
    """
    return replace_by(path, lambda stream: stream.write(content), flag)


def replace_by(
    path: str | Path, write: Callable[[IO[bytes]], object], flag: str = "--output"
) -> Path:
    """Replace a file as `replace_file` does, by what `write` writes to the stream it is given.

    Raises
    ------
    OutputError
        As `replace_file`.
    """
    pending: Pending | None = None
    try:
        pending = Pending(path, flag)
        with pending.temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        pending.place()
    except BaseException as error:
        if pending is not None:
            pending.remove()
        # A value error of `write` is a bug; before it, the path is none.
        if isinstance(error, OSError) or (pending is None and isinstance(error, ValueError)):
            raise explained(path, error, flag) from error
        raise
    return Path(path)


class GrowingFile:
    """A text file that is written piece by piece and appears in its place when it is finished.

    One that is neither finished nor discarded is removed with the object, or with the process.

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
            self._pending = Pending(path)
            self._forsaken = weakref.finalize(self, self._pending.remove)
            self._stream = self._pending.temporary.open("w", encoding="utf-8", newline="")
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    @property
    def is_open(self) -> bool:
        """Whether more can be written: neither finished, nor discarded, nor failed."""
        return self._pending is not None

    def write(self, text: str) -> int:
        """Append `text`."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._failed(error) from error

    def lines(self) -> Iterator[str]:
        """Yield the lines that were written."""
        assert self._pending is not None
        try:
            self._stream.flush()
            with self._pending.temporary.open(encoding="utf-8", newline="") as written:
                yield from written
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> Path:
        """Flush the file to the disk, put it in its place, and return the path as it was given."""
        if self._pending is not None:
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
                self._pending.place()
            except OSError as error:
                raise self._failed(error) from error
            self._forsaken.detach()
            self._pending = None
        return Path(self._path)

    def discard(self) -> None:
        """Remove the file, unless it is finished."""
        if self._pending is not None:
            with suppress(OSError, AttributeError):
                # Closing writes what is buffered, which fails again on a full disk.
                self._stream.close()
            self._pending.remove()
            self._pending = None

    def _failed(self, error: OSError | ValueError) -> OutputError:
        self.discard()
        return explained(self._path, error)


def explained(path: str | Path, error: OSError | ValueError, flag: str = "--output") -> OutputError:
    """Return what `error`, met on the way to `path`, means to the user, who may give `flag`."""
    number = error.errno if isinstance(error, OSError) else None
    reason = _REASONS.get(number or 0, "").format(flag=flag)
    if not reason:
        # A ValueError comes from a path that no file system can hold, such as one with a NUL.
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "unknown reason"
        reason = f"{printable(reason, 200)}; choose another place with {flag}"
    return OutputError(f"cannot write {printable(str(path), 300)}: {reason}")
