"""Keras models from files, in the backend that ``KERAS_BACKEND`` of this process names."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from cleanai_onnx.converters.conversion import UnloadableError
from cleanai_onnx.converters.keras_formats import Format, read_json
from cleanai_onnx.converters.keras_safety import (
    check_architecture,
    check_archive,
    check_hdf5,
    hdf5_architecture,
)
from cleanai_onnx.converters.keras_source import reason_of
from cleanai_onnx.converters.keras_upgrade import is_old, upgraded
from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.inputs.naming import shown

__all__ = ["load_keras_model"]

_WEIGHTS_IN_ARCHIVE = "model.weights.h5"


def load_keras_model(
    path: Path,
    kind: Format,
    *,
    weights: Path | None = None,
    classes: Sequence[str] = (),
    trust: bool = False,
) -> Any:
    """Check a file and build the model that it holds.

    Parameters
    ----------
    path, kind
        The file and its format.
    weights
        For an architecture in JSON: the file with the weights.
    classes
        Custom layers and functions, each ``"module:Name"``.
    trust
        Build layers that carry code too.

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    UsageError
        If a class cannot be imported.
    ModelError
        If the file is damaged or not safe to load.
    UnloadableError
        If Keras cannot build it in this backend.
    """
    name = f"'{shown(path.name, 80)}'"
    architecture: dict[str, Any] | None = None
    if kind == "keras":
        check_archive(path, trust=trust)
        with _weights_of(path) as inner:
            if inner is not None:
                check_hdf5(inner)
    elif kind == "hdf5":
        architecture, weights = hdf5_architecture(path), path
        if architecture is None:
            raise ModelError(
                f"{name} holds weights without an architecture: convert the JSON of "
                "model.to_json() and give this file with --weights."
            )
    else:
        architecture = read_json(path)
    if architecture is not None:
        if weights is None:
            raise UsageError(f"{name} needs its weights: give --weights FILE.")
        check_architecture(architecture, name, trust=trust)
        check_hdf5(weights)
    import keras

    if classes:
        # Last, so that nothing in the current folder takes the place of an installed module.
        sys.path.append(os.getcwd())
    custom = _custom_objects(classes)
    with tempfile.TemporaryDirectory(prefix="cleanai-onnx-") as folder:
        try:
            with keras.saving.custom_object_scope(custom):
                apart = kind == "json" or (architecture is not None and is_old(architecture))
                if apart and architecture is not None and weights is not None:
                    return _from_parts(architecture, weights, Path(folder), name, trust=trust)
                # Keras goes by the suffix, which need not be what the file is.
                named = _linked(path, Path(folder), ".keras" if kind == "keras" else ".h5")
                return keras.saving.load_model(named, compile=False, safe_mode=not trust)
        except ModelError:
            raise
        except Exception as error:  # Keras raises anything
            raise UnloadableError(f"Keras cannot load it: {_said(error)}") from error


def _said(error: Exception) -> str:
    text = reason_of(error)
    if "Could not locate" in text or "Unknown layer" in text:
        text += " (a class of your own: name it with --class module:Class)"
    return text


def _custom_objects(classes: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in classes:
        module, colon, name = text.partition(":")
        try:
            item = getattr(import_module(module), name) if colon and name else None
        except Exception as error:  # whatever the user's module raises
            raise UsageError(
                f"--class {shown(text, 80)} cannot be imported: {type(error).__name__}: "
                f"{shown(str(error), 120)}."
            ) from error
        if item is None:
            raise UsageError(f"--class must be module:Class, not {shown(text, 80)}.")
        found[name] = item
    return found


def _linked(path: Path, folder: Path, suffix: str) -> str:
    if path.name.endswith(suffix) and not path.name.endswith(".weights.h5"):
        return str(path)
    link = folder / f"model{suffix}"
    link.symlink_to(path.absolute())
    return str(link)


@contextmanager
def _weights_of(archive: Path) -> Iterator[Path | None]:
    """Give the HDF5 file of weights in a ``.keras`` file, unpacked; None if it has none."""
    with tempfile.TemporaryDirectory(prefix="cleanai-onnx-") as folder, ZipFile(archive) as members:
        if _WEIGHTS_IN_ARCHIVE not in members.namelist():
            yield None
            return
        yield Path(members.extract(_WEIGHTS_IN_ARCHIVE, folder))


def _from_parts(
    architecture: Mapping[str, Any], weights: Path, folder: Path, name: str, *, trust: bool
) -> Any:
    """Build an architecture that any Keras wrote, and load weights into it."""
    model = _built(architecture, name, trust=trust)
    if not model.built:
        raise ModelError(
            f"{name} does not say which shape its input has, so that its weights have no place: "
            "save the model after it was called once."
        )
    model.load_weights(_named_weights(weights, folder))
    return model


def _built(architecture: Mapping[str, Any], name: str, *, trust: bool) -> Any:
    """Build an architecture.

    ``keras.models.model_from_json`` takes those of Keras 3 only.
    """
    import keras

    if not is_old(architecture):
        return keras.saving.deserialize_keras_object(dict(architecture), safe_mode=not trust)
    # The scopes in which Keras reads an HDF5 file of Keras 2.
    from keras.src.legacy.saving import saving_options
    from keras.src.saving.serialization_lib import SafeModeScope

    kinds = {"Sequential": keras.Sequential, "Model": keras.Model, "Functional": keras.Model}
    tree = upgraded(architecture)
    if tree["class_name"] not in kinds:
        raise ModelError(
            f"{name} has the class {shown(str(tree['class_name']), 60)}, whose architecture cannot "
            "be stored: only functional and sequential models can be given so."
        )
    with saving_options.keras_option_scope(use_legacy_config=True), SafeModeScope(not trust):
        return kinds[tree["class_name"]].from_config(tree["config"])


def _named_weights(weights: Path, folder: Path) -> str:
    """Return a path whose suffix tells Keras which of its two layouts of weights the file has."""
    import h5py

    with h5py.File(weights, "r") as file:
        old = "layer_names" in file.attrs or "model_weights" in file
    target = folder / ("weights.h5" if old else "model.weights.h5")
    target.symlink_to(weights.absolute())
    return str(target)
