"""Exploration, spread over workers: they search, and what they found is settled in one process.

Where a seed's search depends on that seed alone (models that should disagree, or a perturbation),
it may be anywhere. What is found is checked, written and counted in the order of the suite, as by
one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cleanai_onnx import inputs
from cleanai_onnx.exploration.search import Outcome
from cleanai_onnx.measuring.feeding import Progress
from cleanai_onnx.result import SkippedImage
from cleanai_onnx.spread.shard import Job
from cleanai_onnx.spread.spreading import Spread
from cleanai_onnx.spread.team import Team

if TYPE_CHECKING:
    from cleanai_onnx.jobs.exploration_options import ExplorationOptions

__all__ = ["Search", "SearchedAhead", "Stopped", "search_spread"]


class Stopped(Exception):  # noqa: N818 (no error: a wish)
    """The user wants no more."""


@dataclass(frozen=True)
class Search:
    """Searches from seeds; the product has what became of each, round by round.

    Attributes
    ----------
    models
        The paths of all models.
    options
        How to search, with every default filled in.
    had
        The numbers of seeds that are left out.
    """

    models: tuple[str, ...]
    options: ExplorationOptions
    had: frozenset[int]

    def do(self, job: Job, suite: inputs.Suite, progress: Progress) -> tuple[SkippedImage, ...]:
        """Search from the seeds of a job, and write what became of them; see `Work`."""
        from cleanai_onnx.jobs.exploring import rounds_for

        options = self.options
        if options.perturb is not None:
            # What is covered is counted elsewhere, and may need a profile.
            options = replace(options, objective=None).resolved(len(self.models))
        rounds, _ = rounds_for(
            self.models,
            suite,
            options,
            folder=job.folder,
            becoming=job.becoming,
            running=job.running,
            seed=job.seed,
            part=(job.first, job.last),
        )
        done = progress(job.last - job.first)
        with job.product.open("wb") as stream:
            for numbers, outcome in rounds.outcomes(self.had, done):
                for array in (np.array(numbers), *outcome):
                    np.save(stream, array, allow_pickle=False)
        return rounds.skipped


class SearchedAhead:
    """What workers found, seed by seed in the order of the suite.

    Parameters
    ----------
    found
        Of the workers; their products are read once, and no more than a round of them at a time.

    Attributes
    ----------
    lost
        Seeds whose worker died again and again.
    """

    def __init__(self, found: Spread) -> None:
        self.lost = found.lost
        self._ranges = [(shard.first, shard.last) for shard in found.shards]
        self._outcomes = _read([shard.product for shard in found.shards])

    def has(self, number: int) -> bool:
        """Return whether there is an outcome of the seed of this number."""
        return any(first <= number < last for first, last in self._ranges)

    def of(self, numbers: Sequence[int]) -> Outcome:
        """Return the outcomes of the next seeds, which these numbers must be of."""
        fields: list[tuple[Any, ...]] = []
        for number in numbers:
            which, outcome = next(self._outcomes)
            if which != number:
                raise AssertionError(f"seed {which} was searched from where {number} was expected")
            fields.append(outcome)
        return Outcome(*(np.array(field) for field in zip(*fields, strict=True)))


def _read(products: Sequence[Path]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    for product in products:
        size = product.stat().st_size
        with product.open("rb") as stream:
            while stream.tell() < size:
                numbers, *fields = (
                    np.load(stream, allow_pickle=False) for _ in range(1 + len(Outcome._fields))
                )
                yield from zip(numbers.tolist(), zip(*fields, strict=True), strict=True)


def search_spread(
    team: Team,
    suite: inputs.Suite,
    work: Search,
    *,
    asked: Mapping[str, Any],
    batch_size: int,
    done: Callable[[int], None],
    stop: Callable[[], bool],
) -> SearchedAhead:
    """Let workers search from the seeds of a suite.

    Parameters
    ----------
    team
        The workers.
    suite
        All seeds.
    work
        What each of them does.
    asked
        Further arguments of `Team.spread`, as the user gave them.
    batch_size
        How many seeds are searched at once.
    done
        Called with how many seeds are done.
    stop
        Asked each time.

    Raises
    ------
    Stopped
        If it says so: the workers are ended.
    CleanAIError
        As a worker says; or if one died three times.
    """

    def told(count: int) -> None:
        if stop():
            raise Stopped
        done(count)

    return SearchedAhead(
        team.spread(work, **asked, suite=suite, batch_size=batch_size, progress=told)
    )
