"""What each image covers, in the file of a state: it stays there until it is asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cleanai_onnx import container
from cleanai_onnx.container import UnfitError
from cleanai_onnx.measuring.cover_items import CoverItems, Covers
from cleanai_onnx.selection.packing import Form, packed_length
from cleanai_onnx.selection.record import SIZES, Packed
from cleanai_onnx.states.images import REMEDY, ROWS, refused

__all__ = ["StoredCovers", "add_covers"]

_FORMS, _COUNTS, _CONTENT = "covers.forms", "covers.counts", "covers.content"


def add_covers(archive: zipfile.ZipFile, covers: Covers, images: int) -> None:
    """Add what so many images cover to a file."""
    sizes = np.empty(images, SIZES)
    length = 0
    for image, (form, size, content) in enumerate(covers.packed()):
        sizes[image] = form, size
        length += len(content)
    container.add_array(archive, _FORMS, sizes["form"])
    container.add_array(archive, _COUNTS, sizes["count"])
    pieces = (content for _, _, content in covers.packed())
    container.add_rows(archive, _CONTENT, np.uint8, (length,), pieces)


class StoredCovers:
    """What images cover, in a file that was written with `add_covers`.

    Parameters
    ----------
    path
        The file; it is opened each time that sets are read.
    images
        How many there are.
    items
        How they are numbered.
    """

    def __init__(self, path: str | Path, images: int, items: CoverItems) -> None:
        self._path, self._images = path, images
        self.items = items

    def packed(self) -> Iterator[Packed]:
        """Yield what each image covers.

        Raises
        ------
        UsageError
            If the file does not hold what it should.
        """
        with container.opened(self._path, "state", REMEDY, refused) as archive:
            yield from self._packed(archive)

    def sets(self) -> Iterator[list[list[np.ndarray]]]:
        """Yield, for each image, what it covers of each criterion and part.

        Raises
        ------
        UsageError
            As `packed`.
        """
        with container.opened(self._path, "state", REMEDY, refused) as archive:
            yield from map(self.items.apart, self._packed(archive))

    def _packed(self, archive: zipfile.ZipFile) -> Iterator[Packed]:
        size = self.items.size
        length = sum(packed_length(*one, size) for one in self._sizes(archive))
        with container.opened_bytes(archive, _CONTENT, length) as stream:
            for form, count in self._sizes(archive):
                yield Packed(form, count, stream.read(packed_length(form, count, size)))

    def _sizes(self, archive: zipfile.ZipFile) -> Iterator[tuple[Form, int]]:
        shape = (self._images,)
        forms = container.rows_of(archive, _FORMS, SIZES["form"], shape, ROWS)
        counts = container.rows_of(archive, _COUNTS, SIZES["count"], shape, ROWS)
        for of_forms, of_counts in zip(forms, counts, strict=True):
            for form, count in zip(of_forms.tolist(), of_counts.tolist(), strict=True):
                if form not in tuple(Form):
                    raise UnfitError("what an image covers is written in an unknown form")
                yield Form(form), count
