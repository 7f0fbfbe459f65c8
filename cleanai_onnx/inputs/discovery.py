"""Finding the images: folders, files, patterns, arrays and stores become one ordered suite."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs.arrays import ARRAY_SUFFIXES, array_suite
from cleanai_onnx.inputs.naming import first_of, natural_key, shown, suffix_of
from cleanai_onnx.inputs.remote import without_secrets
from cleanai_onnx.inputs.stored import is_stored, stored_suite
from cleanai_onnx.inputs.suite import Suite
from cleanai_onnx.result import SkippedImage

__all__ = ["IMAGE_SUFFIXES", "discover"]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
)
_SUPPORTED = "png, jpg, jpeg, jpe, bmp, webp, tif, tiff, gif, npy, npz, txt, zip, tar, parquet"
_MAGIC = re.compile(r"[*?\[]")


def discover(
    source: str | Path | Sequence[str | Path], limit: int | None = None, seed: int = 0
) -> Suite:
    """Find the images that `source` names.

    A source is a folder (searched with all folders below it), a file, a glob pattern (``*``, ``?``,
    ``[...]``, and ``**`` for any number of folders), a `.npy`/`.npz` file of arrays, or a `.txt`
    file with such a source on each line; or a store: a `.zip` or `.tar` file, a `.parquet` file, a
    folder of these or of a dataset that Hugging Face's library saved, or a URL that fsspec knows.
    Several sources of files make one suite, and so do several stores. Hidden files and
    folders (with a leading dot) are left out. Each folder is searched once, however many symbolic
    links lead to it. The order is that of `naming.natural_key` on the paths relative to the folder
    that all of them share.

    Parameters
    ----------
    source
        One source or several.
    limit, seed
        Take at most `limit` images, chosen at random by `seed`, in the order they have.

    Raises
    ------
    ImageError
        If a source does not exist or is of no supported kind, or if there is no image.
    UsageError
        If `limit` is not positive, or a package that reads a store is not installed.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    sources = [os.fspath(one) for one in given]
    if not sources or not all(sources):
        raise ImageError("No images were named: give a folder, a file, a pattern or a .npy file.")
    arrays = [one for one in sources if suffix_of(one) in ARRAY_SUFFIXES and not os.path.isdir(one)]
    if arrays:
        if len(sources) > 1:
            raise ImageError(
                f"{shown(os.path.basename(arrays[0]))} is a file of arrays and must be the only "
                "source: give either one such file or images."
            )
        if not os.path.exists(arrays[0]):
            raise ImageError(f"The file '{shown(arrays[0])}' does not exist.")
        return array_suite(Path(arrays[0])).limited(limit, seed)
    listed = [one for source in sources for one in _listed(source)]
    stored = [one for one in listed if is_stored(one, _holds_image)]
    if not stored:
        return _file_suite(sources, listed).limited(limit, seed)
    if len(stored) < len(listed):
        other = next(one for one in listed if one not in stored)
        raise ImageError(
            f"'{shown(other)}' is a source of files and '{shown(without_secrets(stored[0]))}' is "
            "none (an archive, a table or a URL): give either the one kind or the other."
        )
    return stored_suite(stored, _is_image_name).limited(limit, seed)


def _is_image_name(name: str) -> bool:
    return suffix_of(name) in IMAGE_SUFFIXES


def _holds_image(folder: str) -> bool:
    return any(map(_is_image_name, _walk(folder, [])))


def _file_suite(sources: list[str], listed: list[str]) -> Suite:
    unreadable: list[SkippedImage] = []
    found: list[tuple[str, str]] = []  # the folder of the source, the path relative to it
    for source in listed:
        folder, names = _files_of(source, unreadable)
        found.extend((folder, name) for name in names)
    root = _shared_folder([os.path.abspath(folder) for folder in dict(found)])
    prefixes = {folder: _relative(os.path.abspath(folder), root) for folder in dict(found)}
    files = {prefixes[folder] + name for folder, name in found}
    return Suite(
        source=first_of(sources),
        kind="files",
        found=len(files),
        root=root,
        files=tuple(sorted(files, key=natural_key)),
        unreadable=tuple(unreadable),
    )


def _listed(source: str) -> list[str]:
    """Return the lines of a list of sources, and any other source as it is."""
    if suffix_of(source) != ".txt" or not os.path.isfile(source):
        return [source]
    try:
        content = Path(source).read_bytes()
    except OSError as error:
        raise ImageError(f"The list '{shown(source)}' cannot be read: {error.strerror}.") from error
    lines = [os.fsdecode(line) for line in content.splitlines() if line.strip()]
    if not lines:
        raise ImageError(f"The list '{shown(source)}' names no image: write a path on each line.")
    if b"\0" in content:
        raise ImageError(f"'{shown(source)}' is no list of paths: it holds a zero byte.")
    return lines


def _shared_folder(folders: list[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # different drives
        return ""


def _relative(folder: str, root: str) -> str:
    if not root:
        return Path(folder).as_posix().rstrip("/") + "/"
    relative = os.path.relpath(folder, root)
    return "" if relative == os.curdir else Path(relative).as_posix() + "/"


def _files_of(source: str, unreadable: list[SkippedImage]) -> tuple[str, list[str]]:
    """Return the folder of a source and the paths of its images relative to it, unsorted."""
    if os.path.isdir(source):
        names = [name for name in _walk(source, unreadable) if _is_image_name(name)]
        if not names:
            raise ImageError(
                f"The folder '{shown(source)}' holds no image: {_what_else(source)} "
                f"(supported: {_SUPPORTED})."
            )
        return source, names
    if os.path.lexists(source):
        if not _is_image_name(source):
            raise ImageError(
                f"'{shown(source)}' is not of a supported kind (supported: {_SUPPORTED})."
            )
        return os.path.dirname(source) or os.curdir, [os.path.basename(source)]
    if _MAGIC.search(source):
        folder, pattern = _split_pattern(source)
        if not os.path.isdir(folder):
            raise ImageError(
                f"The folder '{shown(folder)}' of the pattern '{shown(source)}' does not exist."
            )
        depth = None if "**" in pattern else len(pattern)
        names = [
            name
            for name in _walk(folder, unreadable, depth)
            if _is_image_name(name) and _matches(name, pattern)
        ]
        if not names:
            raise ImageError(
                f"The pattern '{shown(source)}' matches no image (supported: {_SUPPORTED})."
            )
        return folder, names
    raise ImageError(f"'{shown(source)}' does not exist: there is no such folder or file.")


def _what_else(folder: str) -> str:
    others = sum(1 for _ in _walk(folder, []))
    if not others:
        return "it is empty"
    return f"{others} other file{'' if others == 1 else 's'} only"


def _walk(folder: str, unreadable: list[SkippedImage], depth: int | None = None) -> Iterator[str]:
    """Yield the relative paths of all files below `folder` that are not hidden.

    Real folders come first and links to folders after them, so that a folder has the name of its
    own place where it has one below `folder`; a folder already visited is not entered again, which
    ends loops and keeps links to links from multiplying. Whatever is no folder is yielded, broken
    links and pipes too: those have the name of an image, and are reported when it is read.
    """
    visited: set[tuple[int, int]] = set()
    linked: list[tuple[str, int]] = [("", 1)]
    while linked:
        stack = [linked.pop(0)]
        while stack:
            prefix, level = stack.pop()
            here = os.path.join(folder, *prefix.split("/")) if prefix else folder
            try:
                status = os.stat(here)
                with os.scandir(here) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                denied = isinstance(error, PermissionError)
                reason = "permission denied" if denied else "the folder cannot be listed"
                unreadable.append(SkippedImage(shown(f"{prefix}/"), reason))
                continue
            # Some file systems have no inode numbers; there every folder counts as new.
            if status.st_ino:
                if (status.st_dev, status.st_ino) in visited:
                    continue
                visited.add((status.st_dev, status.st_ino))
            for entry in listed:
                if entry.name.startswith("."):
                    continue
                name = f"{prefix}/{entry.name}" if prefix else entry.name
                if not _leads_to_folder(entry):
                    yield name
                elif depth is None or level < depth:
                    (linked if entry.is_symlink() else stack).append((name, level + 1))


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _split_pattern(source: str) -> tuple[str, list[str]]:
    """Split a pattern into the folder before its first magic part and the parts from there."""
    parts = re.split(r"[\\/]" if os.sep == "\\" else "/", source)
    first = next(place for place, part in enumerate(parts) if _MAGIC.search(part))
    folder = "/".join(parts[:first]) or ("/" if source.startswith("/") else os.curdir)
    return folder, [part for part in parts[first:] if part not in ("", ".")]


def _matches(name: str, pattern: list[str]) -> bool:
    """Whether the parts of a relative path match those of a pattern; case counts.

    All places of the pattern that can be reached are followed at once, so that a pattern with
    many ``**`` costs no more than one with few.
    """
    reached = _with_skips({0}, pattern)
    for part in name.split("/"):
        stepped = set()
        for place in reached:
            if place == len(pattern):
                continue
            if pattern[place] == "**":
                stepped.add(place)
                if place == len(pattern) - 1:  # at the end, ** takes files too
                    stepped.add(place + 1)
            elif fnmatch.fnmatchcase(part, pattern[place]):
                stepped.add(place + 1)
        reached = _with_skips(stepped, pattern)
    return len(pattern) in reached


def _with_skips(places: set[int], pattern: list[str]) -> set[int]:
    """Add the places reached by letting ``**`` stand for no folder (a last one needs a file)."""
    reached = set(places)
    for place in sorted(places):
        while place < len(pattern) - 1 and pattern[place] == "**":
            place += 1
            reached.add(place)
    return reached
