"""Suites of images that are in stores: archives, tables and what lies at URLs."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs.naming import first_of, natural_key, shown, suffix_of
from cleanai_onnx.inputs.remote import is_url, open_urls, without_secrets
from cleanai_onnx.inputs.stores import ARCHIVE_SUFFIXES, COMPRESSED, Store, open_archive
from cleanai_onnx.inputs.suite import Suite
from cleanai_onnx.inputs.tables import (
    TABLE_SUFFIXES,
    TableStore,
    is_dataset,
    open_tables,
    tables_in,
)

__all__ = ["is_stored", "stored_suite"]

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000


class Shelf:
    """Several stores as one; a name begins with the place of its store."""

    def __init__(self, stores: Mapping[str, Store]) -> None:
        self._stores = stores
        self.names = tuple(f"{at}/{name}" for at, store in stores.items() for name in store.names)
        self.remote = any(store.remote for store in stores.values())

    def read(self, name: str) -> bytes:
        """Return the bytes of an image."""
        ends = (match.start() for match in re.finditer("/", name))
        end = next(end for end in ends if name[:end] in self._stores)
        return self._stores[name[:end]].read(name[end + 1 :])


def is_stored(source: str, holds_image: Callable[[str], bool]) -> bool:
    """Return whether the images of a source are in a store, and not files of their own.

    `holds_image` says whether there is an image file in a folder or below it.
    """
    if is_url(source):
        return True
    if os.path.isdir(source):
        if is_dataset(source):
            return True
        return _has_tables(source) and not holds_image(source)
    lower = source.lower()
    return (
        suffix_of(source) in ARCHIVE_SUFFIXES | TABLE_SUFFIXES
        or lower.endswith(COMPRESSED)
        or _archive_of(source) is not None
    )


def stored_suite(sources: Sequence[str], is_image: Callable[[str], bool]) -> Suite:
    """Return the suite of all images in stores.

    Parameters
    ----------
    sources
        Each a URL, an archive, a member of one (``photos.zip/cat.png``), a pattern of archives
        (``shards/*.tar``, ``shards/{000..010}.tar``), a table, or a folder of tables.
    is_image
        Whether a name is that of an image.

    Raises
    ------
    ImageError
        If something does not exist or cannot be read, or if there is no image.
    UsageError
        If a package that reads it is not installed.
    """
    expanded = [one for source in sources for one in _expanded(source)]
    urls = [one for one in expanded if is_url(one)]
    tables = [one for one in expanded if not is_url(one) and _is_table(one)]
    archives = [one for one in expanded if not is_url(one) and not _is_table(one)]
    wanted: dict[str, set[str] | None] = {}
    for path in archives:
        archive = _archive_of(path)
        if archive is None:
            wanted[path] = None
        else:
            chosen = wanted.setdefault(archive, set())
            if chosen is not None:
                chosen.add(path[len(archive) + 1 :])
    stores: dict[str, Store] = {path: open_archive(path) for path in wanted}
    stores |= {place.rstrip("/"): store for place, store in open_urls(urls)}
    if tables:
        stores["tables"] = open_tables([one for path in tables for one in _files(path)])

    # Root and name together are the path of an image, which can be given as a source.
    root = _shared_place(stores) if stores.keys() != {"tables"} else ""
    single = len(stores) == 1
    placed = {"" if single else place[len(root) :]: store for place, store in stores.items()}
    names = [
        f"{place}/{name}" if place else name
        for (place, store), path in zip(placed.items(), stores, strict=True)
        for name in _images(store, wanted.get(path), is_image)
    ]
    source = first_of([without_secrets(one) for one in sources])
    if not names:
        raise ImageError(f"'{source}' holds no image.")
    return Suite(
        source=source,
        kind="files",
        found=len(names),
        root=root,
        files=tuple(sorted(names, key=natural_key)),
        store=placed[""] if single else Shelf(placed),
    )


def _shared_place(stores: Iterable[str]) -> str:
    """Return what the places of all stores begin with, up to a slash."""
    places = [f"{place}/" for place in stores]
    shared = os.path.commonprefix(places)  # noqa: RUF071, as these may be URLs
    return shared[: shared.rfind("/") + 1]


def _has_tables(folder: str) -> bool:
    """Return whether tables lie in a folder, or in its `data`, as on the Hugging Face hub."""
    return any(
        suffix_of(name) == ".parquet"
        for place in (folder, os.path.join(folder, "data"))
        if os.access(place, os.R_OK) and os.path.isdir(place)
        for name in os.listdir(place)
    )


def _is_table(path: str) -> bool:
    return os.path.isdir(path) or suffix_of(path) in TABLE_SUFFIXES


def _files(path: str) -> list[str]:
    return tables_in(path) if os.path.isdir(path) else [path]


def _archive_of(source: str) -> str | None:
    """Return the archive that a source is a member of: ``photos.zip`` of ``photos.zip/cat.png``."""
    head = os.path.dirname(source)
    while head and head != os.path.dirname(head):
        if suffix_of(head) in ARCHIVE_SUFFIXES and os.path.isfile(head):
            return head
        head = os.path.dirname(head)
    return None


def _expanded(source: str) -> list[str]:
    """Return the shards that a pattern stands for, and anything else as it is."""
    if not is_url(source) and os.path.exists(source):
        return [source]
    shards = list(itertools.islice(_braces(source), _MOST_SHARDS + 1))
    if len(shards) > _MOST_SHARDS:
        raise ImageError(f"'{shown(source)}' stands for more than {_MOST_SHARDS:,} files.")
    if is_url(source):
        return shards
    found = [
        path
        for one in shards
        for path in (sorted(glob.glob(one), key=natural_key) if glob.has_magic(one) else [one])
    ]
    if not found:
        raise ImageError(f"The pattern '{shown(source)}' matches no file.")
    return found


def _braces(source: str) -> Iterable[str]:
    """Yield what ``{000..010}`` stands for, in every place."""
    match = _BRACES.search(source)
    if match is None:
        yield source
        return
    first, last = match.groups()
    width = len(first) if first.startswith("0") else 0
    for number in range(int(first), int(last) + 1):
        for rest in _braces(source[match.end() :]):
            yield f"{source[: match.start()]}{number:0{width}}{rest}"


def _images(
    store: Store, chosen: set[str] | None, is_image: Callable[[str], bool]
) -> Iterable[str]:
    if isinstance(store, TableStore):
        return store.names
    if chosen is not None:
        missing = chosen.difference(store.names)
        if missing:
            raise ImageError(f"The archive has no '{shown(sorted(missing)[0])}'.")
        return sorted(chosen)
    return [
        name
        for name in dict.fromkeys(store.names)
        if is_image(name) and not any(part.startswith(".") for part in name.split("/"))
    ]
