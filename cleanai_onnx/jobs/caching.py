"""Results kept while a process lives, so that many questions to one analysis run it once.

A result is found again by what it was made from: the model, the images and the settings. A model
counts by its hash, other files by their size and the time of their last change, so that what was
replaced is measured anew.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cleanai_onnx.result import Result

__all__ = ["ResultCache"]

Identity = tuple[Any, ...]
_WRITTEN = ("per_image", "per_layer", "subset_file", "state", "checkpoint")
"""Options that name what an analysis writes: it is not written where the analysis does not run."""
_SETTINGS = ("config.json", "preprocessor_config.json")


class _UncertainError(Exception):
    """Whether two of a kind are the same cannot be told."""


class ResultCache:
    """The results of the last analyses.

    Parameters
    ----------
    most : int
        How many are kept; 0 for none.
    """

    def __init__(self, most: int = 32) -> None:
        self.most = most
        self._results: OrderedDict[Identity, Result] = OrderedDict()

    def analyze(self, model: Any, images: Any, options: Mapping[str, Any]) -> Result:
        """Return what `cleanai_onnx.analyze` does, without running it where that was done before.

        What has no lasting identity (arrays, batches, a model in memory) is analyzed each time, and
        so is what writes files.
        """
        from cleanai_onnx.jobs.analysis import analyze

        try:
            if any(options.get(name) is not None for name in _WRITTEN):
                raise _UncertainError
            key = (
                _identity(_content(model)),
                _identity(_found(images)),
                _identity({**options, "train": _found(options.get("train"))}),
            )
        except _UncertainError:
            return analyze(model, images, **options)
        if key not in self._results:
            self._results[key] = analyze(model, images, **options)
        self._results.move_to_end(key)
        result = self._results[key]
        while len(self._results) > self.most:
            self._results.popitem(last=False)
        return result


def _content(model: Any) -> list[str]:
    """Return a model's path, the hash of it and its weights, and settings that lie beside it."""
    if not isinstance(model, str | Path):
        raise _UncertainError
    from cleanai_onnx.graph import load_model
    from cleanai_onnx.inputs.sidecars import sidecar_path

    path = Path(model)
    folders = (path.parent, path.absolute().parent.parent)
    settings = (folder / name for folder in folders for name in _SETTINGS)
    return [
        str(model),
        load_model(path).sha256,
        str(sidecar_path(path)),
        *map(str, settings),
    ]


def _found(images: Any) -> Any:
    """Return paths of images, unless what they stand for can change without being seen.

    That is so for patterns, lists of files, and what is not on this machine.
    """
    if images is None:
        return None
    if not isinstance(images, str | Path | list | tuple):
        raise _UncertainError
    for one in [images] if isinstance(images, str | Path) else images:
        text = str(one) if isinstance(one, str | Path) else ""
        if not os.path.isdir(text) and (text.endswith(".txt") or not os.path.isfile(text)):
            raise _UncertainError
    return images


def _identity(value: Any) -> Identity:
    """Return what makes a value the same as another, in a form that can be compared and hashed.

    Raises
    ------
    _UncertainError
        If the value is of a kind of which that cannot be told.
    """
    if value is None or isinstance(value, bool | int | float):
        return type(value).__name__, value
    if isinstance(value, str | Path):
        return ("text", str(value), *_files(str(value)))
    if isinstance(value, Mapping):
        return ("mapping", *((str(key), _identity(value[key])) for key in sorted(value, key=str)))
    if isinstance(value, list | tuple):
        return ("sequence", *map(_identity, value))
    if is_dataclass(value) and not isinstance(value, type):
        return type(value).__name__, _identity(asdict(value))
    raise _UncertainError


def _files(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, size and last change of the file or of the files in the folder `text`, if any."""
    if os.path.isfile(text):
        yield _as_it_is(text)
    for folder, folders, files in os.walk(text, followlinks=True):
        folders.sort()
        yield from (_as_it_is(os.path.join(folder, name)) for name in sorted(files))


def _as_it_is(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return os.path.abspath(path), -1, -1
    return os.path.abspath(path), status.st_size, status.st_mtime_ns
