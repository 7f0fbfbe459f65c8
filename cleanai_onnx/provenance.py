"""The identity of a run: when, where, with which versions, and how long its phases took."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from cleanai_onnx._version import __version__
from cleanai_onnx.report.json import canonical
from cleanai_onnx.result import PreprocessingField, RunFacts

__all__ = ["RunRecord", "configuration_sha256", "device_name", "versions"]

LOG = logging.getLogger(__name__)
PACKAGES = ("onnx", "onnxruntime", "onnxruntime-gpu", "jax", "jaxlib", "numpy", "pillow")


class RunRecord:
    """Keeps what is to be told of a run while it goes on.

    Attributes
    ----------
    started : str
        When it began, in UTC (ISO 8601).
    seconds : dict of str to float
        Seconds spent in each phase.
    """

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the phase `name`.

        Its first beginning is logged (many return with each batch), and each end, as a record with
        ``phase`` and ``seconds``.
        """
        if name not in self.seconds:
            LOG.info("%s ...", name)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            LOG.debug("%s: %.6f s", name, spent, extra={"phase": name, "seconds": spent})

    @property
    def spent(self) -> dict[str, float]:
        """The seconds of each phase so far, to the microsecond."""
        return {phase: round(value, 6) for phase, value in self.seconds.items()}

    def facts(
        self,
        device: str,
        provider: str,
        batch_size: int,
        options: Mapping[str, Any],
        preprocessing: Sequence[PreprocessingField],
    ) -> RunFacts:
        """Return the facts of the run so far.

        Its configuration is what decides on the figures, besides the model and the images: the
        options, and how images become inputs.
        """
        return RunFacts(
            id=uuid.uuid4().hex,
            started=self.started,
            tool_version=__version__,
            device=device,
            provider=provider,
            graph_optimization="all",
            batch_size=batch_size,
            seconds=self.spent,
            versions=versions(),
            platform=platform.platform(),
            options=dict(options),
            configuration_sha256=configuration_sha256(options, preprocessing),
        )


def configuration_sha256(
    options: Mapping[str, Any], preprocessing: Sequence[PreprocessingField]
) -> str:
    """Return the hash of what decides on the figures besides the model and the images."""
    configuration = {"options": options, "preprocessing": preprocessing}
    return hashlib.sha256(canonical(configuration)).hexdigest()


def device_name(device: str, jax_device: Any) -> str:
    """Return the device in words."""
    if device == "cuda":
        return f"CUDA: {jax_device.device_kind}"
    return f"CPU: {platform.machine()}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
