from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.converters.required import require

require("h5py")

import h5py  # noqa: E402
import numpy as np  # noqa: E402

from cleanai_onnx.converters.keras_formats import format_of, read_json, weights_beside  # noqa: E402
from cleanai_onnx.converters.keras_safety import (  # noqa: E402
    CARRIES_CODE,
    check_architecture,
    check_archive,
    check_hdf5,
    hdf5_architecture,
)
from cleanai_onnx.errors import ModelError, UsageError  # noqa: E402

pytestmark = pytest.mark.keras

PLAIN = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": []}}


def archive(path: Path, config: object = PLAIN, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", json.dumps(config))
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_plain_archive_passes(tmp_path: Path) -> None:
    check_archive(archive(tmp_path / "m.keras"), trust=False)


@pytest.mark.parametrize("kind", CARRIES_CODE)
def test_layers_with_code_need_trust_however_deep(kind: str) -> None:
    layer = {"class_name": kind, "config": {"name": "evil\x1b[31m", "function": "x"}}
    tree = {"class_name": "Functional", "config": {"layers": [{"config": {"layer": layer}}]}}
    with pytest.raises(ModelError, match="--trust") as caught:
        check_architecture(tree, "'m'", trust=False)
    assert "\x1b" not in str(caught.value)
    check_architecture(tree, "'m'", trust=True)


def test_a_registered_name_hides_nothing() -> None:
    with pytest.raises(ModelError, match="Lambda"):
        check_architecture({"class_name": "mine>Lambda", "config": {}}, "'m'", trust=False)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "c:/evil", "..\\evil"])
def test_members_stay_inside(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "m.keras", **{name: b"x"})
    with pytest.raises(ModelError, match="outside of its folder"):
        check_archive(path, trust=True)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    archive(path, **{"model.weights.h5": b""})
    content = bytearray(path.read_bytes())
    # The size that the central directory claims for the last member: 3 GiB.
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (3 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ModelError, match="zip bomb"):
        check_archive(path, trust=True)


def test_a_member_cannot_stand_twice(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("config.json", "{}")
    with pytest.raises(ModelError, match="two members"):
        check_archive(path, trust=False)


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras")
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("model.weights.h5")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ModelError, match="is a link"):
        check_archive(path, trust=False)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_archive(tmp_path: Path, keep: float) -> None:
    path = archive(tmp_path / "m.keras", weights=bytes(np.random.default_rng(0).bytes(5000)))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError, match="damaged or cut off"):
        check_archive(path, trust=False)


@pytest.mark.parametrize("text", ["{", "[]", '{"class_name": 1}', "[" * 100_000])
def test_an_archive_needs_an_architecture(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", text)
    with pytest.raises(ModelError, match="architecture"):
        check_archive(path, trust=False)


def test_a_truncated_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10_000.0)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for check in (check_hdf5, hdf5_architecture):
        with pytest.raises(ModelError, match="damaged or cut off"):
            check(path)


def test_hdf5_must_not_point_to_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones(3)
    link, raw, virtual = (tmp_path / f"{name}.h5" for name in ("link", "raw", "virtual"))
    with h5py.File(link, "w") as file:
        file["group/x"] = h5py.ExternalLink(str(secret), "x")
    with h5py.File(raw, "w") as file:
        file.create_dataset("x", (3,), "u1", external=[(str(secret), 0, 3)])
    with h5py.File(virtual, "w") as file:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "x", (3,))
        file.create_virtual_dataset("x", layout)
    for path in (link, raw, virtual):
        with pytest.raises(ModelError, match="points to another file"):
            check_hdf5(path)
    check_hdf5(secret)


def test_hdf5_must_not_grow_without_measure(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1 << 30,), "f4", chunks=(1 << 20,), compression="gzip")
    with pytest.raises(ModelError, match="claim to hold"):
        check_hdf5(path)


def test_groups_that_hold_themselves_end(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["itself"] = group
    check_hdf5(path)


def test_formats_go_by_content(tmp_path: Path) -> None:
    odd = archive(tmp_path / "m.h5")
    assert format_of(odd) == "keras"
    with h5py.File(tmp_path / "m.keras", "w") as file:
        file["x"] = 1
    assert format_of(tmp_path / "m.keras") == "hdf5"
    (tmp_path / "m.json").write_text(json.dumps(PLAIN), encoding="utf-8")
    assert format_of(tmp_path / "m.json") == "json"
    assert read_json(tmp_path / "m.json") == PLAIN
    (tmp_path / "saved").mkdir()
    with pytest.raises(ModelError, match=r"saved_model\.pb"):
        format_of(tmp_path / "saved")
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert format_of(tmp_path / "saved") == "saved-model"
    (tmp_path / "text").write_text("weights", encoding="utf-8")
    with pytest.raises(ModelError, match="no Keras model"):
        format_of(tmp_path / "text")
    with pytest.raises(UsageError, match="does not exist"):
        format_of(tmp_path / "nothing.keras")


def test_json_written_twice_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(json.dumps(PLAIN)), encoding="utf-8")
    assert read_json(tmp_path / "m.json") == PLAIN
    with pytest.raises(UsageError, match="--weights"):
        weights_beside(tmp_path / "m.json")
