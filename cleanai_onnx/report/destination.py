"""Where a report goes: a file appears whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cleanai_onnx.errors import OutputError
from cleanai_onnx.report.names import printable

__all__ = ["GrowingFile", "check_destination", "replace_file"]

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder with --output",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder with "
    "--output",
    errno.EROFS: "the file system is read-only; choose another folder with --output",
    errno.EACCES: "you may not write in that folder; choose another with --output",
    errno.EPERM: "you may not write in that folder; choose another with --output",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder with "
    "--output",
    errno.EEXIST: "a part of that path is a file, not a folder; choose another folder with "
    "--output",
    errno.EISDIR: "that is a folder; give the name of a file",
    errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter one",
}


def check_destination(path: str | Path) -> None:
    """Fail now if a report could not be written to `path` later.

    Meant to be called before a long analysis. It makes the parent folder and tries it with an
    empty file that it removes again.

    Raises
    ------
    OutputError
        With one sentence that says why not, and what to do.
    """
    try:
        temporary = _reserve(_target(path))
        temporary.unlink()
    except (OSError, ValueError) as error:
        raise _explained(path, error) from error


def replace_file(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path`, replacing what is there in one step, and return the path.

    The content goes to a temporary file beside the target, is flushed to the disk and renamed.
    On any error, and on Ctrl-C, the temporary file is removed and the old file is untouched.
    A symbolic link is followed, so that the file it names is replaced and not the link.

    Raises
    ------
    OutputError
        With one sentence that says why the file cannot be written, and what to do.
    """
    temporary: Path | None = None
    try:
        target = _target(path)
        temporary = _reserve(target)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError | ValueError):
            raise _explained(path, error) from error
        raise
    return Path(path)


class GrowingFile:
    """A text file that is written piece by piece and appears in its place when it is finished.

    Raises
    ------
    OutputError
        On opening, writing or finishing, with one sentence that says why not, and what to do. What
        was written is removed.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._temporary: Path | None = None
        try:
            self._target = _target(path)
            self._temporary = _reserve(self._target)
            self._stream = self._temporary.open("w", encoding="utf-8", newline="")
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def write(self, text: str) -> int:
        """Append `text`."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> Path:
        """Flush the file to the disk, put it in its place, and return the path as it was given."""
        if self._temporary is not None:
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
                self._temporary.replace(self._target)
            except OSError as error:
                raise self._failed(error) from error
            self._temporary = None
        return Path(self._path)

    def discard(self) -> None:
        """Remove the file, unless it is finished."""
        if self._temporary is not None:
            with suppress(OSError, AttributeError):
                # Closing writes what is buffered, which fails again on a full disk.
                self._stream.close()
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None

    def _failed(self, error: OSError | ValueError) -> OutputError:
        self.discard()
        return _explained(self._path, error)


def _target(path: str | Path) -> Path:
    target = Path(os.path.realpath(path))  # unlike resolve(), this survives a loop of links
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "that is not a regular file")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _reserve(target: Path) -> Path:
    """Create an empty file beside `target`, with the permissions that a new file gets."""
    temporary = target.with_name(f".{secrets.token_hex(8)}.part")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _explained(path: str | Path, error: OSError | ValueError) -> OutputError:
    number = error.errno if isinstance(error, OSError) else None
    reason = _REASONS.get(number or 0)
    if reason is None:
        # A ValueError comes from a path that no file system can hold, such as one with a NUL.
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "unknown reason"
        reason = f"{printable(reason, 200)}; choose another place with --output"
    return OutputError(f"cannot write {printable(str(path), 300)}: {reason}")
