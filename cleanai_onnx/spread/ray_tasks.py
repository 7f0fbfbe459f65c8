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
from cleanai_onnx.spread.spreading import Outcome, explained
from cleanai_onnx.states import storage

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
        self._task = ray.remote(max_retries=0, **needs)(_measured)

    def attempt(self, job: Job, report: Callable[[int], None]) -> Outcome | str:
        """Let a task do a job; see `Engine`."""
        profile = None if job.profile is None else job.profile.read_bytes()
        try:
            state, problem = self._cluster.result_of(lambda: self._task.remote(job, profile))
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.RayError as error:
            # The process died, or its machine left.
            return harmless(f"{type(error).__name__}: {' '.join(str(error).split())}")[:200]
        report(job.last - job.first)
        if problem is not None:
            return explained(problem)
        job.state.write_bytes(state)
        return Outcome(storage.load(job.state))

    def stop(self) -> None:
        """Cancel what runs, and end what was started here."""
        self._cluster.stop()


def _measured(job: Job, profile: bytes | None) -> tuple[bytes, Mapping[str, Any] | None]:
    """Do a job on whatever machine this is; return the state, or what is wrong with the job."""
    with tempfile.TemporaryDirectory(prefix="cleanai-onnx-") as name:
        folder = Path(name)
        known = folder / "profile"
        if profile is not None:
            known.write_bytes(profile)
        here = replace(
            job,
            folder=folder,
            state=folder / "state",
            profile=None if profile is None else known,
        )
        problem = attempt(here, lambda _: None)
        return (here.state.read_bytes() if problem is None else b""), problem
