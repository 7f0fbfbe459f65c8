"""A result in MLflow: its metrics, its settings, and the reports as artifacts of a run."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cleanai_onnx.errors import OutputError, UsageError, harmless

if TYPE_CHECKING:
    from cleanai_onnx.result import Result

__all__ = ["Logged", "log_to_mlflow", "require_mlflow"]

_LONGEST = 500
"""Older servers take no longer values of parameters."""


class Logged(NamedTuple):
    """Where a result was logged: the run, its experiment, and the tracking store."""

    run_id: str
    experiment_id: str
    store: str


def require_mlflow() -> None:
    """Fail where MLflow is not installed.

    Raises
    ------
    UsageError
        With the command that installs it.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UsageError(
            "MLflow is not installed: install it with `pip install 'cleanai-onnx[mlflow]'`.",
            slug="package-missing",
        )


def log_to_mlflow(result: Result, files: Iterable[str | Path] = ()) -> Logged:
    """Log a result to the active tracking store of MLflow.

    That is what ``MLFLOW_TRACKING_URI`` names, else MLflow's own default. The run is the active one
    or that of ``MLFLOW_RUN_ID``, else a new one.

    Parameters
    ----------
    result : Result
    files : paths
        Reports, kept as artifacts of the run.

    Returns
    -------
    Logged

    Raises
    ------
    UsageError
        If MLflow is not installed.
    OutputError
        If the store cannot be reached or refuses; a part may be logged then.

    Notes
    -----
    Metrics are ``nc.unit``, ``kmnc.channel`` and so on: the whole-model number of each metric in
    each neuron view, as gates judge it; further ``dead-channels``, ``images.used`` and
    ``images.skipped``. Tags hold the SHA-256 of the model, of the images and of
    the configuration, and the verdict of the gates.
    """
    require_mlflow()
    # Before the import: it would report its use to its makers.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with _quiet():
        import mlflow

        try:
            if mlflow.active_run() is not None:
                return _log(mlflow, result, files)
            with mlflow.start_run(run_name=f"cleanai-onnx {harmless(result.model.name)}"):
                return _log(mlflow, result, files)
        except Exception as error:  # of MLflow, of the database and of the network: no common base
            text = harmless(" ".join(f"{type(error).__name__}: {error}".split())[:300])
            raise OutputError(f"MLflow did not take the result: {text}.", slug="mlflow") from error


def _log(mlflow: Any, result: Result, files: Iterable[str | Path]) -> Logged:
    mlflow.log_params(dict(_parameters(result)))
    mlflow.set_tags(dict(_tags(result)))
    mlflow.log_metrics(dict(_metrics(result)))
    for file in files:
        mlflow.log_artifact(str(file), "cleanai-onnx")
    info = mlflow.active_run().info
    return Logged(info.run_id, info.experiment_id, mlflow.get_tracking_uri())


def _metrics(result: Result) -> Iterator[tuple[str, float]]:
    """Yield the numbers of the whole model that are finite."""
    from cleanai_onnx.validation.readings import measures_of, of_firing

    found: list[tuple[str, Any]] = [
        (f"{measure.metric}.{table.view}", measure.total.number)
        for table in result.tables
        for measure in measures_of(table)
        if measure.total is not None
    ]
    dead = of_firing(result, "count").total
    found += [
        ("dead-channels", dead and dead.number),
        ("images.used", result.images.used),
        ("images.skipped", len(result.images.skipped)),
        ("seconds", sum(result.run.seconds.values())),
    ]
    for name, number in found:
        if number is not None and math.isfinite(number):
            yield _name(name), float(number)


def _parameters(result: Result) -> Iterator[tuple[str, str]]:
    yield "model", result.model.file[-_LONGEST:]
    yield "images", result.images.source[-_LONGEST:]
    for name, value in result.run.options.items():
        yield _name(name), str(value)[:_LONGEST]
    for field in result.preprocessing:
        yield _name(f"preprocessing.{field.name}"), f"{field.value} ({field.origin})"[:_LONGEST]


def _tags(result: Result) -> Iterator[tuple[str, str]]:
    hashes = {
        "model.sha256": result.model.sha256,
        "images.sha256": result.images.manifest_sha256,
        "configuration.sha256": result.run.configuration_sha256,
    }
    for name, value in hashes.items():
        if value:
            yield name, value
    yield "cleanai-onnx.version", result.run.tool_version
    yield "cleanai-onnx.run", result.run.id
    yield "device", result.run.device
    if result.gates:
        yield "gates", "passed" if result.passed else "failed"


def _name(text: str) -> str:
    """Return text as the name of a metric or parameter: MLflow takes few other characters."""
    return re.sub(r"[^\w\-. /]", "_", text, flags=re.ASCII)[:250]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from telling how it makes its tables."""
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(disabled)
