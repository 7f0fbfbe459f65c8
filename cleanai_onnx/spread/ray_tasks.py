"""Workers that are tasks of Ray: on this machine, or on the machines of a cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cleanai_onnx.errors import UsageError, harmless
from cleanai_onnx.spread.ray_cluster import Cluster
from cleanai_onnx.spread.shard import Job, attempt
from cleanai_onnx.spread.spreading import Outcome, outcome_of

__all__ = ["RayTasks"]


class RayTasks:
    """A Ray cluster, joined or started here; an `Engine` of `cleanai_onnx.spread.spreading`.

    Parameters
    ----------
    address
        The cluster to join; None to start one on this machine, or to use the one that this process
        is already part of.
    device
        As of `cleanai_onnx.analyze`: unless it is ``cpu``, a task has a GPU where there are any.
    workers
        How many tasks run at once; None for as many as there are GPUs, or else processors.

    Raises
    ------
    UsageError
        If Ray is not installed, or the cluster cannot be joined.
    """

    def __init__(self, address: str | None, device: str, workers: int | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise UsageError(
                "--engine ray needs Ray: pip install 'cleanai-onnx[ray]'.", slug="package-missing"
            ) from None
        self._ray = ray
        self._cluster = Cluster(ray, address, workers)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
        self.workers = workers or gpus or max(1, int(resources.get("CPU", 1)))
        # With a GPU it is the GPU that there is one of for each task.
        needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self._task = ray.remote(max_retries=0, **needs)(_done)

    def attempt(self, job: Job, report: Callable[[int], None]) -> Outcome | str:
        """Let a task do a job; see `Engine`."""
        enclosed = None if job.enclosed is None else job.enclosed.read_bytes()
        try:
            product, message = self._cluster.result_of(lambda: self._task.remote(job, enclosed))
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.RayError as error:
            # The process died, or its machine left.
            return harmless(f"{type(error).__name__}: {' '.join(str(error).split())}")[:200]
        report(job.last - job.first)
        outcome = outcome_of(message)
        if outcome.usable:
            job.product.write_bytes(product)
        return outcome

    def stop(self) -> None:
        """Cancel what runs, and end what was started here."""
        self._cluster.stop()


def _done(job: Job, enclosed: bytes | None) -> tuple[bytes, Mapping[str, Any]]:
    """Do a job on whatever machine this is; return its product, and what `attempt` says."""
    with tempfile.TemporaryDirectory(prefix="cleanai-onnx-") as name:
        folder = Path(name)
        letter = None
        if enclosed is not None:
            letter = folder / "enclosed"
            letter.write_bytes(enclosed)
        here = replace(job, folder=folder, product=folder / "product", enclosed=letter)
        message = attempt(here, lambda _: None)
        return (here.product.read_bytes() if message.get("usable") else b""), message
