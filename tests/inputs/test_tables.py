"""Images in Parquet files and in datasets as Hugging Face's library saves them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cleanai_onnx.errors import ImageError
from cleanai_onnx.inputs import discover, thumbnail
from cleanai_onnx.inputs.decoding import UnusableImageError, load_image

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra `tables`")
parquet = pytest.importorskip("pyarrow.parquet")


def _png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((5, 4, 3), value, np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def _table(values: list[int | None], column: str = "image") -> pyarrow.Table:
    images = [
        {"bytes": None if value is None else _png(value), "path": f"{value}.png"}
        for value in values
    ]
    return pyarrow.table({"label": list(range(len(values))), column: images})


def _values(suite) -> list[int]:
    return [int(np.asarray(load_image(suite, i, "RGB"))[0, 0, 0]) for i in range(len(suite))]


def test_rows_come_in_their_order_through_groups_of_rows(tmp_path: Path) -> None:
    values = [(7 * row) % 256 for row in range(105)]
    parquet.write_table(_table(values), tmp_path / "train.parquet", row_group_size=10)
    suite = discover(tmp_path / "train.parquet")
    assert suite.names[:2] == ("train.parquet[0]", "train.parquet[1]")
    assert suite.names[-1] == "train.parquet[104]"
    assert _values(suite) == values
    assert thumbnail(suite, 3) == thumbnail(suite, 3)


def test_a_plain_column_of_bytes(tmp_path: Path) -> None:
    parquet.write_table(
        pyarrow.table({"key": ["a", "b"], "photo": [_png(1), _png(2)]}), tmp_path / "x.parquet"
    )
    assert _values(discover(tmp_path / "x.parquet")) == [1, 2]


@pytest.mark.parametrize("inner", ["", "data"])
def test_a_folder_of_shards_as_on_the_hub(inner: str, tmp_path: Path) -> None:
    (tmp_path / inner).mkdir(exist_ok=True)
    for shard in (0, 1):
        name = f"train-{shard:05d}-of-00002.parquet"
        parquet.write_table(_table([shard, shard + 10]), tmp_path / inner / name)
    (tmp_path / "README.md").write_text("x")
    suite = discover(tmp_path)
    assert _values(suite) == [0, 10, 1, 11]
    assert suite.names[2] == "train-00001-of-00002.parquet[0]"


def test_a_folder_with_images_and_a_table_is_one_of_images(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"image": ["a.png"]}), tmp_path / "metadata.parquet")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.png").write_bytes(_png(1))
    assert discover(tmp_path).names == ("class/a.png",)


def _saved(folder: Path, table: pyarrow.Table) -> Path:
    folder.mkdir(parents=True)
    path = str(folder / "data-00000-of-00001.arrow")
    with pyarrow.OSFile(path, "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_dataset(tmp_path: Path) -> None:
    suite = discover(_saved(tmp_path / "set", _table([5, 6, 7])))
    assert _values(suite) == [5, 6, 7]
    assert suite.names[0] == "data-00000-of-00001.arrow[0]"


def test_a_dataset_of_several_splits_names_them(tmp_path: Path) -> None:
    for split in ("train", "test"):
        _saved(tmp_path / "set" / split, _table([1]))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(ImageError, match=r"several splits \(test, train\)"):
        discover(tmp_path / "set")
    assert len(discover(tmp_path / "set" / "test")) == 1


def test_a_row_without_an_image_is_one_skipped_image(tmp_path: Path) -> None:
    parquet.write_table(_table([1, None, 3]), tmp_path / "x.parquet")
    suite = discover(tmp_path / "x.parquet")
    with pytest.raises(UnusableImageError, match="holds no bytes"):
        load_image(suite, 1, "RGB")
    assert np.asarray(load_image(suite, 2, "RGB"))[0, 0, 0] == 3


def test_tables_without_images(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"a": [1], "b": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(ImageError, match="columns are: a, b"):
        discover(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1 but no")
    with pytest.raises(ImageError, match="not a table"):
        discover(tmp_path / "y.parquet")
    (tmp_path / "z.arrow").write_bytes(b"nothing")
    with pytest.raises(ImageError, match="not a table"):
        discover(tmp_path / "z.arrow")
    with pytest.raises(ImageError, match="does not exist"):
        discover(tmp_path / "gone.parquet")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text("{}")
    with pytest.raises(ImageError, match=r"state\.json cannot be read"):
        discover(tmp_path / "set")


def test_damaged_pages_are_rows_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(_table(list(range(50))), path, row_group_size=10, compression="snappy")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 200] = b"\xff" * 200
    path.write_bytes(data)
    suite = discover(path)
    reasons = []
    for index in range(50):
        try:
            load_image(suite, index, "RGB")
        except UnusableImageError as error:
            reasons.append(str(error))
    assert reasons
    assert all("cannot be read" in one or "damaged" in one or "image" in one for one in reasons)


def test_columns_beside_the_images(tmp_path: Path) -> None:
    for name, labels in (("a", [3, None]), ("b", [1, 0])):
        table = _table([5, 6]).set_column(0, "label", pyarrow.array(labels))
        parquet.write_table(table.append_column(name, [["x", "y"]]), tmp_path / f"{name}.parquet")
    table = discover(tmp_path).table
    assert table is not None and table.columns == ("label",)
    assert table.values("label") == {
        "a.parquet[0]": 3, "a.parquet[1]": None, "b.parquet[0]": 1, "b.parquet[1]": 0
    }  # fmt: skip
    saved = discover(_saved(tmp_path / "set", _table([5, 6, 7]))).table
    assert saved is not None and list(saved.values("label").values()) == [0, 1, 2]
    (tmp_path / "1.png").write_bytes(_png(1))
    assert discover(tmp_path / "1.png").table is None


def test_a_column_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(_table([1, 2]), path, compression="none", use_dictionary=False)
    table = discover(path).table
    path.write_bytes(path.read_bytes()[:4])  # cut off after it was opened
    with pytest.raises(ImageError, match=r"column 'label' of 'x.parquet' cannot be read"):
        table.values("label")
