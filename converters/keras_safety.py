"""What a Keras file may hold before anything in it is built.

Keras's own safe mode stands behind this; these checks come first, need no Keras and name what they
refuse. They are made in the process that then loads the file.

* Architectures are data, except for a few layers that carry code or load other programs: they are
  refused without ``--trust``.
* A ``.keras`` file is a zip archive: its members must stay inside, be few, and not grow to many
  times their size.
* HDF5 can point to other files (external links, external and virtual datasets), which would bring
  files of this machine into the model: refused, with or without ``--trust``.

A SavedModel is a program: see `cleanai_onnx.converters.keras_saved_model`.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cleanai_onnx.converters.keras_formats import MOST_JSON_BYTES, parse_architecture
from cleanai_onnx.errors import ModelError
from cleanai_onnx.inputs.naming import shown

__all__ = ["CARRIES_CODE", "check_architecture", "check_archive", "check_hdf5", "hdf5_architecture"]

CARRIES_CODE: Mapping[str, str] = {
    "Lambda": "holds Python code",
    "__lambda__": "holds Python code",
    "TFSMLayer": "runs a TensorFlow SavedModel, which is a program",
    "TorchModuleWrapper": "holds a pickled torch module",
    "JaxLayer": "runs a function that the file names",
    "FlaxLayer": "runs a function that the file names",
}
"""Classes that are refused without trust, and why."""

_MOST_MEMBERS = 10_000
_MOST_GROWTH = 100
_ALWAYS_ALLOWED = 1 << 30
_MOST_OBJECTS = 1_000_000
_MOST_DEPTH = 64


def check_architecture(architecture: object, where: str, *, trust: bool) -> None:
    """Refuse an architecture with layers that carry code.

    Raises
    ------
    ModelError
        With the first such layer; ``--trust`` allows it.
    """
    if trust:
        return
    for node in _objects(architecture):
        kind = node.get("class_name")
        if not isinstance(kind, str):
            continue
        # Keras 2 could write registered classes as "package>Name".
        reason = CARRIES_CODE.get(kind.rpartition(">")[2])
        if reason is not None:
            config = node.get("config")
            name = config.get("name", "") if isinstance(config, dict) else ""
            layer = f" '{shown(str(name), 60)}'" if name else ""
            what = "a Python lambda" if kind == "__lambda__" else f"the {kind} layer{layer}"
            raise ModelError(
                f"{where} has {what}, which {reason}: it would run with your rights. If you trust "
                "whoever made the file, give --trust."
            )


def _objects(tree: object) -> Iterator[dict[Any, Any]]:
    waiting = [tree]
    seen = 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > 100 * _MOST_OBJECTS:
            raise ModelError("The architecture has too many parts to be that of a model.")
        if isinstance(node, dict):
            yield node
            waiting.extend(reversed(list(node.values())))
        elif isinstance(node, list | tuple):
            waiting.extend(reversed(node))


def check_archive(path: Path, *, trust: bool) -> None:
    """Check a ``.keras`` file: its members, its architecture, and where the archive would go.

    Raises
    ------
    ModelError
        If it is damaged or not safe to open.
    """
    name = f"'{shown(path.name, 80)}'"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, path.stat().st_size, name)
            if "config.json" not in archive.namelist():
                raise ModelError(
                    f"{name} is a zip archive without the config.json of a Keras model."
                )
            with archive.open("config.json") as stream:
                content = stream.read(MOST_JSON_BYTES + 1)
            broken = archive.testzip()
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        OSError,
        EOFError,
    ) as why:
        raise ModelError(f"{name} is damaged or cut off: {shown(str(why), 100)}.") from None
    except RuntimeError:  # zipfile has no class of its own for it
        raise ModelError(f"{name} is encrypted: save the model without a password.") from None
    if broken is not None:
        raise ModelError(f"{name} is damaged: its member '{shown(broken, 80)}' cannot be read.")
    if len(content) > MOST_JSON_BYTES:
        raise ModelError(f"{name} has a config.json of more than 64 MiB.")
    check_architecture(parse_architecture(content, name), name, trust=trust)


def _check_members(members: list[zipfile.ZipInfo], size: int, name: str) -> None:
    if len(members) > _MOST_MEMBERS:
        raise ModelError(f"{name} has {len(members)} members, more than a Keras file can have.")
    names: set[str] = set()
    for member in members:
        # What a reader sees may differ from what was stored ("\\" becomes "/").
        for text in (member.filename, member.orig_filename):
            parts = PurePosixPath(text.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in text or "\0" in text:
                raise ModelError(
                    f"{name} is not safe to open: its member '{shown(text, 80)}' would be written "
                    "outside of its folder."
                )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ModelError(
                f"{name} is not safe to open: its member '{shown(member.filename, 80)}' is a link."
            )
        if member.filename in names:
            raise ModelError(
                f"{name} is not safe to open: it has two members '{shown(member.filename, 80)}'."
            )
        names.add(member.filename)
    total = sum(member.file_size for member in members)
    if total > max(_ALWAYS_ALLOWED, _MOST_GROWTH * size):
        raise ModelError(
            f"{name} is not safe to open: its {size:,} bytes would grow to {total:,} (a zip bomb)."
        )


def hdf5_architecture(path: Path) -> dict[str, Any] | None:
    """Return the architecture that an HDF5 file holds; None if it holds only weights.

    Raises
    ------
    ModelError
        If the file is damaged or the architecture is not one.
    """
    import h5py

    name = f"'{shown(path.name, 80)}'"
    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            version = file.attrs.get("keras_version", "")
    except (OSError, RuntimeError, ValueError, KeyError) as why:
        raise ModelError(f"{name} is damaged or cut off: {shown(str(why), 120)}.") from None
    if config is None:
        return None
    if not isinstance(config, bytes | str) or len(config) > MOST_JSON_BYTES:
        raise ModelError(f"{name} has a model_config that is not text of at most 64 MiB.")
    version = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
    return {"keras_version": version[:20], **parse_architecture(config, name)}


def check_hdf5(path: Path) -> None:
    """Refuse an HDF5 file that points to other files or grows to many times its size.

    Raises
    ------
    ModelError
        If it is damaged or not safe to open.
    """
    import h5py

    name = f"'{shown(path.name, 80)}'"
    try:
        with h5py.File(path, "r") as file:
            total = _declared_bytes(file, name)
    except (OSError, RuntimeError, ValueError, KeyError) as why:
        raise ModelError(f"{name} is damaged or cut off: {shown(str(why), 120)}.") from None
    size = path.stat().st_size
    if total > max(_ALWAYS_ALLOWED, _MOST_GROWTH * size):
        raise ModelError(f"{name} is not safe to open: its {size:,} bytes claim to hold {total:,}.")


def _declared_bytes(file: Any, name: str) -> int:
    """Return how many bytes all datasets hold by their own account."""
    import h5py

    total = visited = 0
    waiting = [(file, 0)]
    seen = set()
    while waiting:
        group, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise ModelError(f"{name} has groups nested more than {_MOST_DEPTH} deep.")
        for key in group:
            visited += 1
            if visited > _MOST_OBJECTS:
                raise ModelError(f"{name} has more than {_MOST_OBJECTS:,} entries.")
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _points_elsewhere(name, key)
            if isinstance(link, h5py.SoftLink):
                continue  # what it points to lies in this file and is reached by its own name
            item = group[key]
            if isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise _points_elsewhere(name, key)
                total += item.size * item.dtype.itemsize if item.size else 0
            elif isinstance(item, h5py.Group):
                identity = h5py.h5o.get_info(item.id)
                if (identity.fileno, identity.addr) not in seen:
                    seen.add((identity.fileno, identity.addr))
                    waiting.append((item, depth + 1))
    return total


def _points_elsewhere(name: str, key: object) -> ModelError:
    return ModelError(
        f"{name} is not safe to open: its entry '{shown(str(key), 80)}' points to another file."
    )
