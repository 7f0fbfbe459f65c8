"""From a source to a published model: routes in their order, each tried from end to end."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cleanai_onnx._version import __version__
from cleanai_onnx.converters import isolation
from cleanai_onnx.converters.conversion import (
    Attempt,
    Conversion,
    ConversionError,
    FailedAttemptError,
    UnloadableError,
)
from cleanai_onnx.converters.source import Route, Source
from cleanai_onnx.converters.trial import (
    MODEL,
    Terms,
    Trial,
    read_trial,
    run_in_child,
    try_source,
)
from cleanai_onnx.errors import UsageError
from cleanai_onnx.inputs.settings import read_settings
from cleanai_onnx.inputs.sidecars import sidecar

__all__ = ["Origin", "convert"]

LOG = logging.getLogger(__name__)
Live = Callable[[Route], Source]


@dataclass(frozen=True)
class Origin:
    """What is converted.

    Attributes
    ----------
    name
        The file's name without its folder, or the class of a live model.
    format
        In words.
    sha256
        Of the file; empty for a live model.
    path
        The file or folder, beside which sidecars are looked for; None for a live model.
    """

    name: str
    format: str
    sha256: str = ""
    path: Path | None = None


def convert(
    origin: Origin,
    routes: Sequence[Route],
    request: Mapping[str, Any],
    output: Path,
    terms: Terms,
    *,
    extra: str,
    timeout: float = isolation.DEFAULT_TIMEOUT,
    live: Live | None = None,
) -> tuple[Path, Conversion]:
    """Try routes in their order until one leads to a model that is proved, and publish that.

    Parameters
    ----------
    origin
        What is converted.
    routes
        In the order of preference. Those of which something is not installed are reported, not
        tried; where a source cannot be loaded, the other routes that would load it in the same way
        are left out.
    request
        What the loaders need; JSON must be able to hold it.
    output
        The ONNX file to write.
    terms
        Of acceptance; its `preprocessing` is what the user gave.
    extra
        The extra of this package that installs a route.
    timeout
        Seconds for each attempt.
    live
        For a model in this process: makes its `Source` for a route; then nothing is isolated.

    Returns
    -------
    (Path, Conversion)

    Raises
    ------
    UsageError
        If no route is installed, or an option does not fit the source.
    ConversionError
        If every route failed; it has the attempts.
    ModelError
        If the source is damaged or unsafe.
    """
    beside = _settings_beside(origin.path)
    given = read_settings(terms.preprocessing or {}, "command line")
    terms = Terms(**{**_shallow(terms), "preprocessing": {**beside, **given}})
    attempts: list[Attempt] = []
    hopeless: set[object] = set()
    with isolation.working_folder() as folder:
        for number, route in enumerate(routes):
            if _framework(route) in hopeless or route.needs in hopeless:
                continue
            missing = [name for name in route.needs if not _is_installed(name)]
            if missing:
                hopeless.add(route.needs)
                reason = f"{', '.join(missing)} cannot be imported"
                attempts.append(Attempt(route.name, "not installed", reason))
                continue
            place = folder / str(number)
            place.mkdir()
            started = time.monotonic()
            LOG.info("try %s ...", route.name)
            try:
                trial = _try(route, request, terms, place, timeout, live)
            except FailedAttemptError as error:
                reason = isolation.one_line(str(error))
                attempts.append(Attempt(route.name, "failed", reason, _since(started)))
                LOG.info("%s failed: %s", route.name, reason)
                if isinstance(error, UnloadableError):
                    hopeless.add(_framework(route))
                continue
            attempts.append(Attempt(route.name, "used", "", _since(started)))
            return _published(origin, route, trial, attempts, place / MODEL, output, {
                **trial.preprocessing, **beside, **given})  # fmt: skip
    raise _nothing_worked(origin, routes, attempts, extra)


def _try(
    route: Route,
    request: Mapping[str, Any],
    terms: Terms,
    folder: Path,
    timeout: float,
    live: Live | None,
) -> Trial:
    if live is not None:
        return try_source(live(route), folder, route.batch, terms)
    answer = isolation.run(
        f"{run_in_child.__module__}:{run_in_child.__name__}",
        {
            "route": asdict(route),
            "request": dict(request),
            "terms": asdict(terms),
            "folder": str(folder),
        },
        folder,
        timeout=timeout,
        environment=route.environment,
    )
    return read_trial(answer)


def _published(
    origin: Origin,
    route: Route,
    trial: Trial,
    attempts: Sequence[Attempt],
    draft: Path,
    output: Path,
    preprocessing: Mapping[str, Any],
) -> tuple[Path, Conversion]:
    from cleanai_onnx.converters.publication import publish

    record = Conversion(
        source=isolation.one_line(origin.name, 200),
        format=origin.format,
        source_sha256=origin.sha256,
        route=route.name,
        opset=trial.opset,
        parameters=trial.parameters,
        inputs=trial.inputs,
        outputs=trial.outputs,
        batch=trial.batch,
        parity=trial.parity,
        attempts=tuple(attempts),
        versions={**_versions(), **trial.versions},
        remarks=tuple(isolation.one_line(remark, 500) + "." for remark in trial.remarks),
    )
    record = publish(draft, output, record, read_settings(preprocessing, "source"))
    return Path(record.model), record


def _framework(route: Route) -> object:
    """Return what decides whether a source can be loaded: neither the exporter nor the batch."""
    return route.load, frozenset(route.environment.items())


def _nothing_worked(
    origin: Origin, routes: Sequence[Route], attempts: Sequence[Attempt], extra: str
) -> Exception:
    tried = [attempt for attempt in attempts if attempt.outcome == "failed"]
    if not tried:
        needed = dict.fromkeys(name for route in routes for name in route.needs)
        missing = ", ".join(name for name in needed if not _is_installed(name))
        return UsageError(
            f"{origin.format}s cannot be converted here ({missing} cannot be imported): install "
            f"what is needed with `pip install 'cleanai-onnx[{extra}]'`.",
            slug="package-missing",
        )
    reasons = "; ".join(f"{attempt.route}: {attempt.reason}" for attempt in tried)
    return ConversionError(
        f"{origin.name} could not be converted, and no file was written. {reasons}.",
        tuple(attempts),
    )


def _settings_beside(path: Path | None) -> dict[str, Any]:
    found = None if path is None else sidecar(path)
    return {} if found is None else dict(found.settings)


def _shallow(terms: Terms) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in Terms.__dataclass_fields__}


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _versions() -> dict[str, str]:
    found = {"cleanai-onnx": __version__, "python": platform.python_version()}
    for name in ("onnx", "onnxruntime", "onnxruntime-gpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
