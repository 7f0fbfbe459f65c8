"""A set of items in few bytes: the smallest of three forms, chosen for each set.

- ``WORDS``: 4 bytes for each item. The smallest for a few items.
- ``BLOCKS``: the items' lower 16 bits, 2 bytes for each, after the number of items in each block of
  65,536. The smallest for what most metrics cover.
- ``BITS``: a bit for each item there is. The smallest where more than a sixteenth is covered.

The second is what Roaring bitmaps (Chambi et al. 2016) do block by block.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from cleanai_onnx.container import UnfitError

__all__ = ["LARGEST_ITEM", "Form", "pack", "packed_length", "unpack", "unpack_stored"]

LARGEST_ITEM = 2**32 - 1
_BLOCK_BITS = 16


class Form(IntEnum):
    """How a set is written."""

    WORDS = 0
    BLOCKS = 1
    BITS = 2


def pack(items: NDArray[np.int64], size: int) -> tuple[Form, bytes]:
    """Write ascending, distinct `items` below `size` in the form that is the smallest for them."""
    form = min(Form, key=lambda form: packed_length(form, len(items), size))
    if form is Form.WORDS:
        return form, items.astype(np.uint32).tobytes()
    if form is Form.BLOCKS:
        counts = np.bincount(items >> _BLOCK_BITS, minlength=_blocks(size)).astype(np.uint32)
        return form, counts.tobytes() + items.astype(np.uint16).tobytes()
    covered = np.zeros(size, np.bool_)
    covered[items] = True
    return form, np.packbits(covered).tobytes()


def packed_length(form: Form, count: int, size: int) -> int:
    """Return how many bytes `count` items below `size` take in a form."""
    if form is Form.WORDS:
        return 4 * count
    return 4 * _blocks(size) + 2 * count if form is Form.BLOCKS else (size + 7) // 8


def unpack(form: Form, content: bytes, size: int) -> NDArray[np.int64]:
    """Read what `pack` wrote."""
    if form is Form.WORDS:
        return np.frombuffer(content, np.uint32).astype(np.int64)
    if form is Form.BLOCKS:
        blocks = _blocks(size)
        counts = np.frombuffer(content, np.uint32, blocks)
        items = np.repeat(np.arange(blocks, dtype=np.int64) << _BLOCK_BITS, counts)
        items += np.frombuffer(content, np.uint16, offset=counts.nbytes)
        return items
    return np.flatnonzero(np.unpackbits(np.frombuffer(content, np.uint8), count=size))


def unpack_stored(form: Form, count: int, content: bytes, size: int) -> NDArray[np.int64]:
    """Read `count` items that lay in a file, which may hold anything.

    Raises
    ------
    UnfitError
        If they are not ascending, distinct items below `size`, or another number of them.
    """
    if form is Form.BLOCKS and np.frombuffer(content, np.uint32, _blocks(size)).sum() != count:
        raise UnfitError("what an image covers has another number of items than it says")
    items = unpack(form, content, size)
    ascending = (items[1:] > items[:-1]).all()
    if len(items) != count or not ascending or (count and items[-1] >= size):
        raise UnfitError("what an image covers is no set of the items that there are")
    return items


def _blocks(size: int) -> int:
    return (size + (1 << _BLOCK_BITS) - 1) >> _BLOCK_BITS
