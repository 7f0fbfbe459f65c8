"""Who does the work: which workers there are, and where their products lie for a while."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cleanai_onnx import inputs
from cleanai_onnx.errors import UsageError
from cleanai_onnx.report.folder import GrowingFolder
from cleanai_onnx.spread.shard import Job, Work, loadable
from cleanai_onnx.spread.spreading import Engine, Processes, Spread, spread, threads_of_each

if TYPE_CHECKING:
    from cleanai_onnx.graph import ModelProto
    from cleanai_onnx.spread.keeping import KeptShards

__all__ = ["EngineName", "Team", "Wanted", "gathered", "is_spread"]

EngineName = Literal["process", "ray"]


@dataclass(frozen=True)
class Wanted:
    """The workers that a user wants; see `cleanai_onnx.analyze`."""

    workers: int | None = None
    engine: EngineName = "process"
    ray_address: str | None = None
    allow_partial: bool = False


def is_spread(wanted: Wanted, others: Mapping[str, bool]) -> bool:
    """Return whether work is to be spread over workers.

    Parameters
    ----------
    wanted
    others
        What does not go together with that, by its name, and whether it was asked for.

    Raises
    ------
    UsageError
        If it was, or if there is an address and nothing that it is for.
    """
    if wanted.ray_address is not None and wanted.engine != "ray":
        raise UsageError("--ray-address needs --engine ray.", slug="workers")
    if wanted.engine == "process" and (wanted.workers is None or wanted.workers <= 1):
        return False
    asked = "--engine ray" if wanted.engine == "ray" else "--workers"
    for other, given in others.items():
        if given:
            raise UsageError(
                f"{asked} does not go together with {other}: leave one of them out.",
                slug="workers",
            )
    return True


@dataclass(frozen=True)
class Team:
    """Workers that are ready.

    Attributes
    ----------
    engine, name
        What they are.
    workers
        How many there are.
    allow_partial
        Whether to go on without the images of a worker that died again and again.
    folder
        For what they write; gone when the team is dismissed.
    """

    engine: Engine
    name: EngineName
    workers: int
    allow_partial: bool
    folder: GrowingFolder

    @property
    def options(self) -> dict[str, Any]:
        """What the report says of them among the options."""
        found: dict[str, Any] = {"workers": self.workers}
        return found if self.name == "process" else {**found, "engine": self.name}

    def spread(
        self,
        work: Work,
        *,
        model: str | Path | bytes | ModelProto,
        images: Any,
        limit: int | None,
        seed: int,
        strict: bool,
        suite: inputs.Suite,
        becoming: Mapping[str, Any],
        running: Mapping[str, Any],
        batch_size: int,
        enclosed: bytes | None = None,
        progress: Callable[[int], None] | None = None,
        kept: KeptShards | None = None,
    ) -> Spread:
        """Let all of them work on a suite.

        Parameters
        ----------
        work
            What each of them does with its images.
        model, images, limit, seed, strict
            As the user gave them; `suite` is what was found.
        becoming, running
            See `Job`. Where the user does not say so, threads are shared.
        batch_size
            How many inputs are run at once.
        enclosed
            What every worker can read as a file.
        progress
            Called with how many images are done.
        kept
            Where the products of shards that are done are kept.

        Raises
        ------
        CleanAIError
            As a worker says; or if one died three times and `allow_partial` is not set.
        """
        letter = None
        if enclosed is not None:
            self.folder.write("enclosed", enclosed)
            letter = self.folder.path / "enclosed"
        job = Job(
            work=work,
            model=loadable(model),
            images=images,
            limit=limit,
            seed=seed,
            first=0,
            last=len(suite),
            found=len(suite),
            becoming=becoming,
            running={
                **running,
                "batch_size": batch_size,
                "threads": running["threads"] or threads_of_each(self.workers),
            },
            strict=strict,
            folder=self.folder.path,
            product=self.folder.path / "product",
            enclosed=letter,
        )
        return spread(
            job,
            self.workers,
            self.engine,
            progress,
            suite.name,
            allow_partial=self.allow_partial,
            kept=kept,
        )


@contextmanager
def gathered(wanted: Wanted, device: str) -> Iterator[Team]:
    """Gather a team, and dismiss it at the end.

    `device` is that of `cleanai_onnx.analyze`.

    Raises
    ------
    UsageError
        If Ray is wanted and cannot be had.
    """
    engine: Engine = Processes()
    workers = wanted.workers or 1
    if wanted.engine == "ray":
        from cleanai_onnx.spread.ray_tasks import RayTasks

        engine = tasks = RayTasks(wanted.ray_address, device, wanted.workers)
        workers = tasks.workers
    folder = GrowingFolder(Path(tempfile.gettempdir(), "cleanai-onnx-workers"))
    try:
        with folder.failing():
            # Products may be pickles, which nobody else may put there.
            folder.path.chmod(0o700)
        yield Team(engine, wanted.engine, workers, wanted.allow_partial, folder)
    finally:
        folder.discard()
        engine.stop()
