"""Images in the rows of tables: Parquet files, and datasets that Hugging Face wrote to disk.

An image is the bytes of an image file, in a column of bytes or of ``{bytes, path}`` as the datasets
library writes them. Of a Parquet file one group of rows is in memory at a time (a few, for the
threads that are a little ahead); an Arrow file is mapped.
"""

from __future__ import annotations

import bisect
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx.errors import ImageError, UsageError
from cleanai_onnx.inputs.decoding import UnusableImageError
from cleanai_onnx.inputs.naming import natural_key, shown
from cleanai_onnx.inputs.stores import MOST_BYTES, check_bytes

if TYPE_CHECKING:
    import pyarrow

__all__ = ["TABLE_SUFFIXES", "TableStore", "is_dataset", "open_tables", "tables_in"]

TABLE_SUFFIXES = frozenset({".parquet", ".arrow"})
COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp")
"""Names under which the images are looked for first."""
_GROUPS = 4
"""How many groups of rows are kept in memory."""
_SAVED = "state.json"
_SPLITS = "dataset_dict.json"


class TableStore:
    """The rows of tables, by names such as ``train.parquet[12]``."""

    remote = False

    def __init__(self, tables: Sequence[_Table]) -> None:
        self._tables = {table.name: table for table in tables}
        self.names = tuple(
            f"{table.name}[{row}]" for table in tables for row in range(table.starts[-1])
        )

    def read(self, name: str) -> bytes:
        """Return the bytes of the image in a row."""
        table, _, row = name.removesuffix("]").rpartition("[")
        data: bytes = self._tables[table].read(int(row))
        return data

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns beside the images, as far as all tables have them."""
        first, *others = self._tables.values()
        return tuple(
            name for name in first.columns if all(name in other.columns for other in others)
        )

    def values(self, column: str) -> dict[str, Any]:
        """Return what is in one of `columns` beside each image, by the name of the image.

        Raises
        ------
        ImageError
            If a table is damaged.
        """
        return {
            f"{table.name}[{row}]": value
            for table in self._tables.values()
            for row, value in enumerate(table.values(column))
        }


class _Table:
    """A file: its columns, where its groups of rows start, and how a group or a column is read."""

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        lengths: Sequence[int],
        load: Callable[[int], Any],
        load_column: Callable[[str], Any],
    ) -> None:
        self.name, self.columns = name, columns
        self.starts = [0, *accumulate(lengths)]
        self._load_column = load_column
        self._load = lru_cache(maxsize=_GROUPS)(load)

    def read(self, row: int) -> bytes:
        group = bisect.bisect_right(self.starts, row) - 1
        try:
            value = self._load(group)[row - self.starts[group]].as_py()
        except UnusableImageError:
            raise
        except Exception as error:  # pyarrow fed with damaged pages raises nearly anything
            raise UnusableImageError("its row cannot be read") from error
        if isinstance(value, dict):
            value = value["bytes"]
        if value is None:
            raise UnusableImageError("its row holds no bytes of an image")
        check_bytes(len(value))
        return bytes(value)

    def values(self, column: str) -> list[Any]:
        """Return what is in a column, as Python has it, row by row."""
        try:
            found: list[Any] = self._load_column(column).to_pylist()
        except Exception as error:  # as above
            raise ImageError(
                f"The column '{shown(column)}' of '{shown(self.name)}' cannot be read."
            ) from error
        return found


def is_dataset(folder: str) -> bool:
    """Return whether a folder is what the datasets library's ``save_to_disk`` leaves."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (_SAVED, _SPLITS))


def tables_in(folder: str) -> list[str]:
    """Return the files of tables that a folder holds, in order.

    Raises
    ------
    ImageError
        If it is a dataset that cannot be read, or of several splits.
    """
    shown_folder = shown(folder)
    if os.path.isfile(os.path.join(folder, _SPLITS)):
        splits = [one for one in sorted(os.listdir(folder)) if is_dataset(f"{folder}/{one}")]
        raise ImageError(
            f"The dataset '{shown_folder}' has several splits ({', '.join(map(shown, splits))}): "
            "give the folder of one."
        )
    if os.path.isfile(os.path.join(folder, _SAVED)):
        try:
            state = json.loads(Path(folder, _SAVED).read_bytes())
            files = [os.path.basename(one["filename"]) for one in state["_data_files"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ImageError(
                f"'{shown_folder}' looks like a dataset, but its {_SAVED} cannot be read."
            ) from error
        return [os.path.join(folder, name) for name in files]
    places = (folder, os.path.join(folder, "data"))
    found = [
        os.path.join(place, name)
        for place in places
        if os.path.isdir(place)
        for name in os.listdir(place)
        if os.path.splitext(name)[1].lower() == ".parquet"
    ]
    return sorted(found, key=natural_key)


def open_tables(paths: Sequence[str]) -> TableStore:
    """Open Parquet or Arrow files.

    Raises
    ------
    UsageError
        If pyarrow is not installed.
    ImageError
        If a file cannot be read, or no column of it holds images.
    """
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            f"'{shown(paths[0])}' is a table, which needs pyarrow: "
            "pip install 'cleanai-onnx[tables]'."
        ) from None
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    tables = []
    for path in paths:
        name = Path(os.path.relpath(path, root)).as_posix()
        opened = _arrow if path.lower().endswith(".arrow") else _parquet
        try:
            tables.append(opened(path, name))
        except FileNotFoundError:
            raise ImageError(f"The file '{shown(path)}' does not exist.") from None
        except (pyarrow.ArrowException, OSError) as error:
            raise ImageError(f"'{shown(path)}' is not a table, or it is damaged.") from error
    return TableStore(tables)


def _parquet(path: str, name: str) -> _Table:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    column = _image_column(file.schema_arrow, path)
    groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]

    def load(index: int) -> Any:
        _check_group(groups[index].total_byte_size)
        # A file of its own: that of pyarrow must not be read by several threads.
        with pyarrow.parquet.ParquetFile(path, metadata=file.metadata) as own:
            return own.read_row_group(index, columns=[column], use_threads=False).column(column)

    def load_column(column: str) -> Any:
        with pyarrow.parquet.ParquetFile(path, metadata=file.metadata) as own:
            return own.read(columns=[column]).column(column)

    names = [other for other in file.schema_arrow.names if other != column]
    return _Table(name, names, [group.num_rows for group in groups], load, load_column)


def _check_group(size: int) -> None:
    """Refuse a group of rows that is too large to be read into memory."""
    if size > 4 * MOST_BYTES:
        raise UnusableImageError(
            f"its group of rows has {size:,} bytes: write the file with smaller groups"
        )


def _arrow(path: str, name: str) -> _Table:
    import pyarrow

    source = pyarrow.memory_map(path)
    try:
        table = pyarrow.ipc.open_stream(source).read_all()
    except pyarrow.ArrowInvalid:
        table = pyarrow.ipc.open_file(source).read_all()
    column = _image_column(table.schema, path)
    images = table.column(column)
    names = [other for other in table.schema.names if other != column]
    return _Table(name, names, [len(images)], lambda _: images, table.column)


def _image_column(schema: pyarrow.Schema, path: str) -> str:
    """Return the column that holds images: one called so, or the only one that can."""
    import pyarrow

    def holds_bytes(kind: Any) -> bool:
        if pyarrow.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    able = [field.name for field in schema if holds_bytes(field.type)]
    called = [name for name in COLUMNS if name in able]
    if called:
        return called[0]
    if len(able) == 1:
        return str(able[0])
    listed = ", ".join(shown(name, 40) for name in schema.names[:10]) or "none"
    raise ImageError(
        f"'{shown(path)}' has no column of images (bytes, or structs of bytes and path) called "
        f"'image'; its columns are: {listed}."
    )
