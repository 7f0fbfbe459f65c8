"""A folder from which a run goes on that was killed, as if nothing had happened.

It holds what was measured, replaced in one step again and again, and the files in which the figures
of single images grow; these are cut back to the length that they had at that step. The folder is
bound to everything that figures depend on, and refused to a run that differs in any of it.
"""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cleanai_onnx import container
from cleanai_onnx.container import UnfitError, list_in, whole_in
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs import Position
from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.report.destination import explained
from cleanai_onnx.result import SkippedImage

__all__ = ["Checkpoint", "Every"]

CHECKPOINT_FORMAT_VERSION = 1
TREE = "checkpoint"
FILE = "checkpoint.npz"
UNFINISHED = "checkpoint.new"
LOCK = "lock"
COLUMN = ".column"
SHARD = ".shard"
REMEDY = "remove the folder to begin anew"
_SHARE = 20
"""By default a checkpoint takes at most this part of the time."""


@dataclass(frozen=True)
class Every:
    """How often a checkpoint is written: after so many images, or so many seconds.

    With neither, every 30 seconds, or less often where that would take more than a twentieth of
    the time.
    """

    images: int | None = None
    seconds: float | None = None


class Checkpoint:
    """The folder of one run.

    Parameters
    ----------
    folder : path
        Made if need be. It may hold what an earlier run of this kind has left, and nothing else.
    every : Every

    Raises
    ------
    UsageError
        If the folder holds other files, or another run is using it, or the checkpoint is broken.
    OutputError
        If it cannot be written, now or later.
    """

    def __init__(self, folder: str | Path, every: Every | None = None) -> None:
        self._folder, self._every = Path(folder), every or Every()
        self._position = Position(0, 0, ())
        self._cost = 0.0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with os.scandir(self._folder) as entries:
                others = sorted(one.name for one in entries if not _is_ours(one.name))
            if others:
                raise UsageError(
                    f"the folder {self._name} holds other files (first {shown(others[0])}): give "
                    "--checkpoint a folder of its own."
                )
            self._lock = (self._folder / LOCK).open("wb")
        except (OSError, ValueError) as error:
            raise explained(folder, error, "--checkpoint") from error
        self._acquire()
        self._since = time.monotonic()

    @property
    def _name(self) -> str:
        return shown(str(self._folder))[-300:]

    def _acquire(self) -> None:
        """Keep other runs away until this process ends, in whatever way."""
        try:
            import fcntl
        except ImportError:  # not on Windows
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UsageError(
                f"another run is using the checkpoint {self._name}: wait for it, or give "
                "--checkpoint another folder."
            ) from None

    def open(self, name: str) -> IO[bytes]:
        """Open the file in which a column grows, to be read and written."""
        path = self._folder / f"{name}{COLUMN}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            return os.fdopen(descriptor, "r+b", buffering=0)
        except OSError as error:
            raise explained(path, error, "--checkpoint") from error

    def load(self, identity: Mapping[str, str]) -> tuple[Position, dict[str, Any]] | None:
        """Return how far the earlier run came, and what it had measured; None if there is none.

        Parameters
        ----------
        identity
            Everything that figures depend on, by what a user calls it.

        Raises
        ------
        UsageError
            If the earlier run differed, or what it left is broken.
        """
        path = self._folder / FILE
        if not path.exists():
            return None
        with container.opened(path, "checkpoint", REMEDY, _refused) as archive:
            tree = container.read_tree(archive, TREE)
            if whole_in(tree, "format version", 1) > CHECKPOINT_FORMAT_VERSION:
                raise UnfitError("a newer version of cleanai-onnx has written it")
            self._require_same(tree.get("identity"), identity)
            measured = tree.get("measured")
            if not isinstance(measured, dict):
                raise UnfitError("it has no state")
            skipped = tuple(_skipped(one) for one in list_in(tree, "skipped"))
            position = Position(whole_in(tree, "next"), whole_in(tree, "used"), skipped)
        self._position = position
        return position, measured

    def _require_same(self, before: Any, identity: Mapping[str, str]) -> None:
        if not isinstance(before, dict):
            raise UnfitError("it does not say what it is of")
        for what in {**identity, **before}:
            then, now = before.get(what, "not set"), identity.get(what, "not set")
            if then != now:
                raise UsageError(
                    f"the checkpoint {self._name} is of another run: {what} was "
                    f"{shown(str(then), 80)} there and is {shown(str(now), 80)} here; give the "
                    "same command, or remove the folder to begin anew."
                )

    def is_due(self, position: Position) -> bool:
        """Return whether it is time to write a checkpoint."""
        if self._every.images is not None:
            return position.used - self._position.used >= self._every.images
        seconds = self._every.seconds
        return time.monotonic() - self._since >= (
            max(30.0, _SHARE * self._cost) if seconds is None else seconds
        )

    def write(
        self, position: Position, measured: Mapping[str, Any], identity: Mapping[str, str]
    ) -> None:
        """Replace the checkpoint; whatever ends the process, the old one or the new one is there.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        began = time.monotonic()
        tree = {
            "format version": CHECKPOINT_FORMAT_VERSION,
            "identity": dict(identity),
            "next": position.next,
            "used": position.used,
            "skipped": [[one.path, one.reason] for one in position.skipped],
            "measured": measured,
        }
        path = self._folder / UNFINISHED
        try:
            with path.open("wb") as stream:
                with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                    container.add_tree(archive, TREE, tree)
                stream.flush()
                os.fsync(stream.fileno())
            path.replace(self._folder / FILE)
        except OSError as error:
            raise explained(path, error, "--checkpoint") from error
        self._position, self._since = position, time.monotonic()
        self._cost = self._since - began

    @property
    def every(self) -> Every:
        """How often a checkpoint is wanted."""
        return self._every

    def shard(self, number: int) -> Path:
        """Return where the state of a shard of the suite lies, if it is kept."""
        return self._folder / f"{number}{SHARD}"

    def keep_shard(self, number: int, state: Path) -> Path:
        """Keep a copy of a shard's state, whole or not at all, and return where it lies.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        path = self._folder / UNFINISHED
        try:
            with state.open("rb") as source, path.open("wb") as stream:
                shutil.copyfileobj(source, stream)
                stream.flush()
                os.fsync(stream.fileno())
            return path.replace(self.shard(number))
        except OSError as error:
            raise explained(path, error, "--checkpoint") from error

    def forget_shards(self) -> None:
        """Remove shards that belong to no checkpoint: an earlier run was done, and killed then."""
        for path in self._folder.glob(f"*{SHARD}"):
            path.unlink(missing_ok=True)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what does not fit, when a run goes on, into an error that says what to do."""
        try:
            yield
        except UnfitError as unfit:
            raise UsageError(
                f"the checkpoint {self._name} cannot be used: {unfit}; remove the folder to begin "
                "anew."
            ) from None

    def close(self) -> None:
        """Let another run use the folder; it goes where no checkpoint was written."""
        if not (self._folder / FILE).exists():
            self.remove()
        self._lock.close()

    def remove(self) -> None:
        """Remove the folder with what is ours in it: the run is done."""
        with suppress(OSError):
            with os.scandir(self._folder) as entries:
                names = [one.name for one in entries if _is_ours(one.name)]
            # The checkpoint first: without its columns it would be broken.
            for name in sorted(names, key=lambda name: name != FILE):
                (self._folder / name).unlink()
            self._folder.rmdir()
        self._lock.close()


def _refused(sentence: str) -> UsageError:
    return UsageError(sentence)


def _is_ours(name: str) -> bool:
    return name in (FILE, UNFINISHED, LOCK) or name.endswith((COLUMN, SHARD))


def _skipped(pair: Any) -> SkippedImage:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(p, str) for p in pair):
        raise UnfitError("an image that was skipped has no name")
    return SkippedImage(*pair)
