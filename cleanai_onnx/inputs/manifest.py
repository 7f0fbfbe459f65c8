r"""One hash for all images of a run, whatever their order.

A manifest has a line for each image: its SHA-256 in lower-case hexadecimal, two spaces, and its
path in the suite, in UTF-8, with ``\\`` for a backslash and ``\n`` for a line feed. Its hash is the
SHA-256 of the lines, sorted as bytes, with a line feed after each. For a folder of images that
is, in a shell: ``(cd images && find * -type f | xargs sha256sum) | LC_ALL=C sort | sha256sum``.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Sequence
from itertools import groupby

__all__ = ["Manifest"]

_SIZE = 32
"""Bytes of a SHA-256."""


class Manifest:
    """The images that were used, each with its hash: 40 bytes of memory for each image."""

    def __init__(self) -> None:
        self._hashes = bytearray()
        self._indexes = array("q")

    def __len__(self) -> int:
        return len(self._indexes)

    def add(self, indexes: Sequence[int], hashes: Sequence[str]) -> None:
        """Add images by their positions in the suite and their hashes, in hexadecimal."""
        for index, digest in zip(indexes, hashes, strict=True):
            self._hashes += bytes.fromhex(digest)
            self._indexes.append(index)

    def sha256(self, path_of: Callable[[int], str]) -> str:
        """Return the hash of the manifest, in hexadecimal.

        Parameters
        ----------
        path_of
            Returns the path of the image at a position in the suite.
        """
        found = hashlib.sha256()
        for digest, group in groupby(sorted(range(len(self)), key=self._hash), key=self._hash):
            # Only copies of one image have the same hash: few paths are in memory at a time.
            for path in sorted(_escaped(path_of(self._indexes[place])) for place in group):
                found.update(b"%s  %s\n" % (digest.hex().encode(), path))
        return found.hexdigest()

    def _hash(self, place: int) -> bytes:
        return bytes(self._hashes[_SIZE * place : _SIZE * (place + 1)])


def _escaped(path: str) -> bytes:
    return os.fsencode(path).replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
