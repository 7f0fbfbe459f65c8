"""Keras to ONNX.

Taken are ``.keras`` files, HDF5 files of any Keras, an architecture in JSON with its weights,
TensorFlow SavedModels, and live models of any backend. The routes are TensorFlow with tf2onnx, the
torch backend with torch's exporters, and JAX with jax2onnx; each loads the file in a process of its
own, because Keras chooses its backend when it is imported.
"""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx.converters.conversion import Conversion, ConversionError
from cleanai_onnx.converters.isolation import DEFAULT_TIMEOUT, one_line
from cleanai_onnx.converters.keras_formats import FORMATS, format_of, weights_beside
from cleanai_onnx.converters.keras_routes import BACKENDS, SAVED_MODEL, routes_of, with_fixed
from cleanai_onnx.converters.parity import ATOL, RTOL
from cleanai_onnx.converters.source import Route, Source
from cleanai_onnx.errors import UsageError

if TYPE_CHECKING:
    import keras

    from cleanai_onnx.converters.trial import Terms

__all__ = ["OLDEST_KERAS", "to_onnx"]

OLDEST_KERAS = (3, 13, 2)
"""The first version whose safe mode has no known way around it."""


def to_onnx(
    model: keras.Model | str | Path,
    *,
    weights: str | Path | None = None,
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
    output: str | Path | None = None,
    classes: Sequence[str] = (),
    trust: bool = False,
    opset: int | None = None,
    rtol: float = RTOL,
    atol: float = ATOL,
    seed: int = 0,
    images: Sequence[str | Path] = (),
    preprocessing: Mapping[str, Any] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    backends: Sequence[str] = BACKENDS,
) -> tuple[Path, Conversion]:
    """Convert a Keras model and prove that the result is the same network.

    A file is loaded, exported and compared in a process of its own. A live model is first exported
    in this process by the route of its backend, and is what every result is compared with; where
    that route fails, a saved copy of it goes the other routes.

    Parameters
    ----------
    model : keras.Model or path
        A ``.keras``, ``.h5`` or ``.hdf5`` file, an architecture in JSON, the folder of a
        SavedModel (which only the first route takes). The content says what a file is.
    weights : path, optional
        For an architecture in JSON. By default the file beside it that has its name.
    input_shape : sequence of int, or one for each input
        Without the batch axis, for a model that does not tell it (a class of your own).
    output : path, optional
        By default the source's path with the suffix ``.onnx``; for a live model its name, in the
        current folder.
    classes : sequence of str
        Custom layers and functions, each ``"module:Name"``. They are imported, from the current
        folder too.
    trust : bool
        Load what can run code: Lambda and TFSMLayer layers, SavedModels that do more than compute.
    opset : int, optional
        By default what the route's exporter is best at; tf2onnx writes 18 at most.
    rtol, atol : float
        The tolerance: see `cleanai_onnx.converters.parity`.
    seed : int
        Of the inputs that are compared.
    images : sequence of paths
        Images to compare on, besides.
    preprocessing : mapping, optional
        How they become inputs: settings by the names in `cleanai_onnx.inputs.settings`. They come
        before what the model's own Rescaling and Normalization layers tell.
    timeout : float
        Seconds for each attempt on a file.
    backends : sequence of {"tensorflow", "torch", "jax"}
        In the order in which they are tried.

    Returns
    -------
    (Path, Conversion)
        The file, and the record of the conversion.

    Raises
    ------
    UsageError
        If nothing that converts is installed, Keras is too old, or an option is missing or wrong.
    ModelError
        If the source is damaged or unsafe; `ConversionError` where every route failed.
    """
    from cleanai_onnx.converters.trial import Terms

    unknown = [name for name in backends if name not in BACKENDS]
    if unknown or not backends:
        raise UsageError(f"backends must be some of {', '.join(BACKENDS)}, not {backends!r}.")
    terms = Terms(
        rtol=rtol,
        atol=atol,
        seed=seed,
        opset=opset,
        images=tuple(str(image) for image in images),
        preprocessing=dict(preprocessing or {}),
    )
    request: dict[str, Any] = {
        "classes": list(classes),
        "trust": trust,
        "input_shape": _shapes(input_shape),
        "weights": str(Path(weights).absolute()) if weights is not None else None,
    }
    if isinstance(model, str | Path):
        path = Path(model)
        target = path.with_suffix(".onnx") if output is None else Path(output)
        return _from_file(path, request, target, terms, backends, timeout)
    return _from_live(model, request, output, terms, backends, timeout)


def _from_file(
    path: Path,
    request: Mapping[str, Any],
    output: Path,
    terms: Terms,
    backends: Sequence[str],
    timeout: float,
) -> tuple[Path, Conversion]:
    from cleanai_onnx.converters import routes
    from cleanai_onnx.converters.publication import digest_of

    kind = format_of(path)
    weights = request["weights"]
    if kind == "json" and weights is None:
        weights = str(weights_beside(path).absolute())
    if weights is not None and kind != "json":
        raise UsageError(f"--weights is for an architecture in JSON; '{path.name}' has its own.")
    if weights is not None and not Path(weights).is_file():
        raise UsageError(f"--weights: there is no file '{one_line(weights, 200)}'.")
    if kind == "saved-model":
        chosen = with_fixed(SAVED_MODEL)
    else:
        _require_keras()
        chosen = with_fixed([route for backend in backends for route in routes_of(backend)])
    return routes.convert(
        routes.Origin(path.name, FORMATS[kind], digest_of(path), path),
        chosen,
        {**request, "path": str(path.absolute()), "format": kind, "weights": weights},
        output,
        terms,
        extra="keras",
        timeout=timeout,
    )


def _from_live(
    model: Any,
    request: Mapping[str, Any],
    output: str | Path | None,
    terms: Terms,
    backends: Sequence[str],
    timeout: float,
) -> tuple[Path, Conversion]:
    from cleanai_onnx.converters import routes
    from cleanai_onnx.converters.keras_source import source_of

    _require_keras()
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(
            f"a Keras model or a path is needed, not {one_line(type(model).__name__, 80)}: models "
            "of tf_keras must be saved as .h5 first."
        )
    name = re.sub(r"[^\w.-]", "_", model.name)[:100] or "model"
    target = Path(f"{name}.onnx") if output is None else Path(output)
    backend = keras.config.backend()
    origin = routes.Origin(name, "live Keras model")

    def live(route: Route) -> Source:
        return source_of(model, {**request, **route.options})

    own = list(routes_of(backend)) if backend in backends else []
    failure = ConversionError(f"{name} could not be converted in the {backend} backend.")
    if own:
        try:
            return routes.convert(origin, own, request, target, terms, extra="keras", live=live)
        except ConversionError as error:
            failure = error
        except UsageError:
            if len(backends) == 1:
                raise
    others = with_fixed(
        [route for other in backends if other != backend for route in routes_of(other)]
    )
    if not others:
        raise failure
    with tempfile.TemporaryDirectory(prefix="cleanai-onnx-") as folder:
        copy = Path(folder) / "model.keras"
        try:
            model.save(copy)
        except Exception as error:  # whatever a layer of the user's raises
            reason = one_line(f"{type(error).__name__}: {error}")
            text = f"{failure} A copy for the other routes could not be saved ({reason})."
            raise ConversionError(text, failure.attempts) from error
        # The copy holds the user's own code, which has run in this process already.
        trusted = {**request, "path": str(copy), "format": "keras", "trust": True}
        draft = Path(folder) / target.name
        try:
            path, record = routes.convert(
                origin, others, trusted, draft, terms, extra="keras", timeout=timeout
            )
        except ConversionError as error:
            text = f"{failure} {error}"
            raise ConversionError(text, failure.attempts + error.attempts) from error
        record = replace(record, attempts=failure.attempts + record.attempts)
        return _compared_with_live(live(others[0]), path, record, target, terms)


def _compared_with_live(
    source: Source, draft: Path, record: Conversion, output: Path, terms: Terms
) -> tuple[Path, Conversion]:
    """Compare what was made from a copy with the live model itself, and publish it."""
    from cleanai_onnx.converters.conversion import FailedAttemptError
    from cleanai_onnx.converters.parity import OnnxModel, Reference, compare
    from cleanai_onnx.converters.publication import publish
    from cleanai_onnx.converters.sampling import seeded_batches
    from cleanai_onnx.inputs.settings import read_settings

    settings = {**source.preprocessing, **(terms.preprocessing or {})}
    references = [
        Reference(arrays, source.predict(arrays))
        for arrays in seeded_batches(source.inputs, settings, terms.seed)
    ]
    try:
        parity = compare(references, OnnxModel(draft), rtol=terms.rtol, atol=terms.atol)
    except FailedAttemptError as error:
        text = (
            f"{record.source}: the saved copy of the live model is not the same network: {error}."
        )
        raise ConversionError(text, record.attempts) from error
    record = publish(
        draft, output, replace(record, parity=parity), read_settings(settings, "source")
    )
    return Path(record.model), record


def _shapes(given: Any) -> list[list[int]]:
    if given is None or not len(given):
        return []
    shapes = [given] if isinstance(given[0], int) else given
    for shape in shapes:
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise UsageError(
                f"--input-shape must be whole numbers: 224,224,3, not {given!r}.",
                slug="conversion-input-shape",
            )
    return [list(shape) for shape in shapes]


def _require_keras() -> None:
    """Refuse to go on with a Keras whose safe mode is known to have holes.

    Raises
    ------
    UsageError
        If it is missing or older than `OLDEST_KERAS`.
    """
    try:
        text = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            "Keras models cannot be converted here (keras is not installed): install what is "
            "needed with `pip install 'cleanai-onnx[keras]'`.",
            slug="package-missing",
        ) from None
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    if numbers < OLDEST_KERAS:
        wanted = ".".join(map(str, OLDEST_KERAS))
        raise UsageError(
            f"Keras {text} is installed, but loading models safely takes {wanted} or later: "
            f"`pip install 'keras>={wanted}'`.",
            slug="package-missing",
        )
