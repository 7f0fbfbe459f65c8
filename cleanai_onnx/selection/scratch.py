"""A temporary file that no end of the process leaves behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cleanai_onnx.errors import OutputError

__all__ = ["scratch_file", "write_all"]


def scratch_file(folder: str | Path | None) -> IO[bytes]:
    """Open a temporary file in `folder`, or where the system keeps such files.

    It has no name (on Windows, the system removes it with its last handle), so that it is gone when
    it is closed or the process ends, in whatever way, killed or not.

    Raises
    ------
    OutputError
        If it cannot be created.
    """
    with _explained(folder):
        return tempfile.TemporaryFile(dir=folder, prefix="cleanai-onnx-", buffering=0)


def write_all(file: IO[bytes], content: memoryview, folder: str | Path | None) -> None:
    """Write all of `content` to a file that `scratch_file` opened in `folder`.

    Raises
    ------
    OutputError
        If the disk is full, say.
    """
    with _explained(folder):
        while content:
            # An unbuffered file may take a part.
            content = content[file.write(content) :]


@contextmanager
def _explained(folder: str | Path | None) -> Iterator[None]:
    """Explain what fails inside, while a temporary file of `folder` is created or written."""
    try:
        yield
    except OSError as error:
        # Without quoting a folder that tempfile would have to find again, and fail to.
        place = "the folder for temporary files" if folder is None else ascii(os.fspath(folder))
        reason = error.strerror or "unknown reason"
        raise OutputError(
            f"cannot keep what the images cover in {place}: {reason}; set TMPDIR to a folder with "
            "more room"
        ) from error
