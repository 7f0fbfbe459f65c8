"""The rounds of an exploration: search, ask onnxruntime, write what holds, count what it covers.

A round takes a few batches of seeds. Its goals are chosen by what was covered before it, so that
what is found depends neither on how fast a row of a batch was, nor on whether the exploration was
interrupted and went on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cleanai_onnx import inputs, runtime
from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.exploration.goals import goals_from
from cleanai_onnx.exploration.lacking import boxes_for, least_of
from cleanai_onnx.exploration.record import Finding, SeedOutcome
from cleanai_onnx.exploration.search import (
    ALREADY,
    FOUND,
    UNFINISHED,
    Outcome,
    Rules,
    Seeds,
    run,
    searcher,
)
from cleanai_onnx.exploration.searched import SearchedModel, bytes_for_each, on_device, prepare
from cleanai_onnx.jobs.perturbing import Perturber
from cleanai_onnx.jobs.seeding import Points, SeedImages, array_file
from cleanai_onnx.jobs.witness import Testimony, Witness
from cleanai_onnx.measuring.feeding import Progress
from cleanai_onnx.provenance import RunRecord
from cleanai_onnx.report.destination import replace_file
from cleanai_onnx.report.explanation import heat_map_name
from cleanai_onnx.result import SkippedImage

if TYPE_CHECKING:
    from cleanai_onnx.jobs.exploration_options import ExplorationOptions
    from cleanai_onnx.report.exploration import Journal
    from cleanai_onnx.spread.spread_exploration import SearchedAhead

__all__ = ["Rounds", "SearchAhead"]

LARGEST_BATCH = 32
BATCH_BYTES = 2**30
"""A batch takes about this much at most, whatever the machine has: what is found depends on it."""
BATCHES = 4
"""Of seeds in a round."""
IMAGES = "images"


SearchAhead = Callable[[frozenset[int], Callable[[int], None]], "SearchedAhead"]
"""Lets workers search from all seeds but some, and tells how many are done."""


class Rounds:
    """Searches from all seeds of a suite.

    Parameters
    ----------
    witnesses
        The models in onnxruntime, not started yet.
    seeds, suite
        The images.
    options
        With every default filled in.
    folder
        Where images are written.
    record
        Where the time is kept.
    input_values, batch_size, seed
        As for `exploring.explore`.
    first
        Where the suite begins in that of which it is a part.

    Attributes
    ----------
    covered_before
        How many items the suite covers, for each model.
    skipped
        Images that cannot be used.
    batch_size
        How many seeds are searched at once.
    """

    def __init__(
        self,
        witnesses: Sequence[Witness],
        seeds: SeedImages,
        suite: inputs.Suite,
        options: ExplorationOptions,
        folder: Path,
        record: RunRecord,
        *,
        input_values: Mapping[str, str],
        batch_size: int | None,
        seed: int,
        first: int = 0,
    ) -> None:
        self._first = first
        self._found: SearchedAhead | None = None
        self.witnesses, self.seeds, self.folder = tuple(witnesses), seeds, folder
        self._suite, self._options, self._record = suite, options, record
        self._input_values, self._seed = input_values, seed
        self._check_patch()
        self.covered_before: tuple[int, ...] = ()
        self.skipped: tuple[SkippedImage, ...] = ()
        for witness, how in zip(self.witnesses, seeds.how, strict=True):
            witness.start(how.item_shape, max(len(suite), 1))
        seeks = options.objective != "disagreement" and options.perturb is None
        self._aims = seeks or options.coverage_weight > 0
        with record.phase("lower models"):
            self._prepare(batch_size)

    def _check_patch(self) -> None:
        size, at = self._options.patch_size, self._options.patch_at
        if size is None:
            return
        shape = self.seeds.shape
        fits = len(shape) == 3 and all(
            low + length <= side
            for low, length, side in zip(at or (0, 0), size, shape, strict=False)
        )
        if not fits:
            raise UsageError(
                f"a patch of {size[0]}x{size[1]} does not fit into images of "
                f"{'x'.join(map(str, shape))}: give another --patch-size or --patch-at."
            )

    def _prepare(self, wanted: int | None) -> None:
        sizes = [witness.image_input.batch for witness in self.witnesses]
        fixed = {size for size in sizes if size is not None}
        if len(fixed) > 1 or (fixed and wanted not in (None, *fixed)):
            raise UsageError(
                f"the batch sizes of the models are fixed ({', '.join(map(str, sorted(fixed)))}) "
                "and do not fit each other or --batch-size: export them with any batch size."
            )
        # Small enough that rows which are free early find further seeds to take.
        some = 1 << (max(len(self._suite) // BATCHES, 1) - 1).bit_length()
        batch: int = next(iter(fixed), None) or wanted or min(max(some, 8), LARGEST_BATCH)
        models = self._lowered(batch)
        each = bytes_for_each(models, batch)
        if not fixed and wanted is None and batch * each > BATCH_BYTES:
            batch = 1 << (max(BATCH_BYTES // each, 1).bit_length() - 1)
            models = self._lowered(batch)
        if batch * each > runtime.available_memory():
            raise ModelError(
                f"the search takes about {batch * each / 2**30:,.1f} GiB of memory for {batch} "
                "images at once, which the machine does not have: give a smaller --batch-size."
            )
        self.batch_size = batch
        options = self._options
        assert options.constraint is not None
        rules = Rules(
            seek="disagreement" if options.objective == "disagreement" else "goal",
            constraint=options.constraint,
            step=float(options.step or 0) * self._span,
            iterations=int(options.iterations or 0),
            apart=options.apart_weight,
            coverage=options.coverage_weight,
            radius=float(options.radius or 0) * self._span,
            patch=options.patch_size or (1, 1),
            corner=options.patch_at,
            scaled=options.metric == "nc-suite-scaled",
            valid=options.compat == "none",
        )
        device = self.witnesses[0].device
        self._weights = on_device(models, device)
        self._search = searcher(models, rules, self.seeds.space, device.platform)
        self._perturber = None
        if options.perturb is not None:
            self._perturber = Perturber(
                self.witnesses[0].model,
                models[0],
                self._weights[0],
                self.seeds,
                kind=options.perturb,
                strength=float(options.strength or 0),
                share=options.share,
                batch=batch,
                input_values=self._input_values,
                seed=self._seed,
            )

    @property
    def _span(self) -> float:
        """The range of values: steps and radii are parts of it."""
        return self.seeds.space.high - self.seeds.space.low

    def _lowered(self, batch: int) -> tuple[SearchedModel, ...]:
        return tuple(
            prepare(
                witness.model,
                witness.image_input,
                (batch, *how.item_shape),
                view,
                witness.layers if self._aims else (),
                self._input_values,
                waking=self._options.compat == "none",
            )
            for witness, how, view in zip(
                self.witnesses, self.seeds.how, self.seeds.views, strict=True
            )
        )

    def run(
        self,
        journal: Journal,
        progress: Progress | None,
        stop: Callable[[], bool],
        *,
        strict: bool,
        ahead: SearchAhead | None = None,
    ) -> bool:
        """Search from every seed that the journal does not have; return whether it was stopped.

        With `ahead`, workers search first, and what they found is settled here.
        """
        passed = len(self._suite) * (1 if ahead is None else 2)
        done = progress(passed + len(self._suite)) if progress is not None else lambda _: None
        journal.start(self._measure_suite(done, strict))
        before = islice(iter(journal), sum(1 for _ in journal))
        if ahead is not None:
            had = frozenset(outcome.index for outcome in journal)
            self._found = ahead(had, _from(len(self._suite), done))
            self.skipped += self._found.lost
        size = self.batch_size * BATCHES
        with inputs.stream(self._suite, self.seeds.shown, size) as batches:
            coming: SeedOutcome | None = next(before, None)
            for number, batch in enumerate(batches):
                if stop():
                    return True
                # The journal has rounds in their order.
                old = []
                while coming is not None and coming.index in batch.indexes:
                    old.append(coming)
                    coming = next(before, None)
                finished = self._round(number, batch, old, journal, stop, _from(passed, done))
                passed += batch.valid
                done(passed)
                if not finished:
                    return True
            done(passed + len(batches.skipped))
        return False

    def _measure_suite(self, done: Callable[[int], None], strict: bool) -> str:
        """Count what the suite covers; return a hash of its images."""
        size, manifest = max(w.batch_size for w in self.witnesses), inputs.Manifest()
        with inputs.stream(
            self._suite, self.seeds.shown, size, strict=strict, hashing=True
        ) as batches:
            for batch in batches:
                manifest.add(batch.indexes, batch.hashes)
                points = self.seeds.points(batch.data[: batch.valid])
                for witness, seen in zip(self.witnesses, self._look(points), strict=True):
                    for items in seen.items:
                        witness.covered.add(items)
                done(batches.used)
            self.skipped = batches.skipped
        self.covered_before = tuple(witness.covered.count for witness in self.witnesses)
        return manifest.sha256(self._suite.full_name)

    def _look(self, x: Points, *, stored: bool = True) -> list[Testimony]:
        """Ask every model about points, as files have them or as they are."""
        to_input = self.seeds.inputs if stored else self.seeds.looked_at
        return [witness.look(to_input(x, i)) for i, witness in enumerate(self.witnesses)]

    def _round(
        self,
        number: int,
        batch: inputs.Batch,
        old: Sequence[SeedOutcome],
        journal: Journal,
        stop: Callable[[], bool],
        done: Callable[[int], None],
    ) -> bool:
        """Search from the seeds of a round; return whether all of them were finished."""
        points = self.seeds.points(batch.data)
        before = self._look(points[: batch.valid])
        goals = self._boxes(number, before) if self._aims else []
        had = {outcome.index for outcome in old}
        for outcome in old:
            self._cover_again(outcome)
        rows = [row for row in range(batch.valid) if batch.indexes[row] not in had]
        if self._found is not None:
            rows = [row for row in rows if self._found.has(batch.indexes[row])]
        if not rows:
            return True
        if self._found is not None:
            found, finished = self._found.of([batch.indexes[row] for row in rows]), True
        else:
            found, finished = self._searched(
                batch, rows, points, before, goals, stop, _from(len(had), done)
            )
        with self._record.phase("check and write"):
            self._settle(batch, rows, points, before, found, journal)
        return finished

    def outcomes(
        self, had: frozenset[int], done: Callable[[int], None]
    ) -> Iterator[tuple[list[int], Outcome]]:
        """Search from every seed of a part of a suite, and settle nothing: what a worker does.

        Yields the numbers in the whole suite of some seeds, those in `had` left out, and what
        became of them. It depends on nothing but a seed and its number, unless what was found
        before decides what is sought.
        """
        size = self.batch_size * BATCHES
        with inputs.stream(self._suite, self.seeds.shown, size) as batches:
            for batch in batches:
                numbers = [self._first + index for index in batch.indexes]
                rows = [row for row, number in enumerate(numbers) if number not in had]
                if rows:
                    points = self.seeds.points(batch.data)
                    before = self._look(points[: batch.valid]) if self._perturber else []
                    told = _from(batches.used - batch.valid + len(batches.skipped), done)
                    found, _ = self._searched(batch, rows, points, before, [], _never, told)
                    yield (
                        [numbers[row] for row in rows],
                        Outcome(*(np.asarray(field)[: len(rows)] for field in found)),
                    )
                done(batches.used + len(batches.skipped))
            self.skipped = batches.skipped

    def _searched(
        self,
        batch: inputs.Batch,
        rows: Sequence[int],
        points: Points,
        before: Sequence[Testimony],
        goals: Sequence[Sequence[Any]],
        stop: Callable[[], bool],
        done: Callable[[int], None],
    ) -> tuple[Outcome, bool]:
        """Search from the seeds in some rows of a round; return whether all were finished."""
        if self._perturber is not None:
            classes = before[0].classes[list(rows)].tolist()
            with self._record.phase("perturb"):
                x = self._perturber(
                    points[list(rows)], classes, [self._first + batch.indexes[row] for row in rows]
                )
            every = np.full(len(rows), FOUND)
            return Outcome(every, np.zeros_like(every), np.array(classes), x), True
        padded = [*rows, *[rows[-1]] * (len(points) - len(rows))]
        numbers = [self._first + batch.indexes[row] for row in padded]
        seeds = Seeds(
            points=points[padded],
            apart=np.array([self._apart(index) for index in numbers], np.int32),
            numbers=np.array(numbers, np.int32),
            goals=tuple(goals_from([of[r] for r in padded], self._width) for of in goals),
            count=np.int32(len(rows)),
        )
        with self._record.phase("search"), runtime.on_device(self.witnesses[0].device):
            return run(self._search, self._weights, seeds, self.batch_size, self._seed, stop, done)

    @property
    def _width(self) -> int:
        """The most neurons of a goal."""
        state = self.witnesses[0].state
        return max((len(s.neurons) for s in getattr(state, "subjects", ())), default=1)

    def _apart(self, index: int) -> int:
        """Return the model that is set apart for a seed, from 0."""
        if self._options.target_model is not None:
            return self._options.target_model - 1
        return int(np.random.default_rng((self._seed, index)).integers(len(self.witnesses)))

    def _boxes(self, number: int, before: Sequence[Testimony]) -> list[list[Any]]:
        """Choose the goals of a round: for each model, a box or None for each seed."""
        options = self._options
        chosen = [
            boxes_for(
                options.metric,
                witness.covered,
                witness.state,
                options.threshold,
                seen.channels,
                np.random.default_rng((self._seed, number, model)),
                least_of(witness.layers),
            )
            for model, (witness, seen) in enumerate(zip(self.witnesses, before, strict=True))
        ]
        if len(chosen) > 1 and not options.neurons_per_model:
            # One in all: of all neurons that are lacking, each as likely as another.
            lacking = np.array([w.covered.items - w.covered.count for w in self.witnesses], float)
            chance = np.random.default_rng((self._seed, number, len(chosen)))
            share = lacking / lacking.sum() if lacking.any() else None
            of = chance.choice(len(chosen), len(before[0].classes), p=share)
            for model, boxes in enumerate(chosen):
                boxes[:] = [box if of[i] == model else None for i, box in enumerate(boxes)]
        return chosen

    def _settle(
        self,
        batch: inputs.Batch,
        rows: Sequence[int],
        points: Points,
        before: Sequence[Testimony],
        outcome: Outcome,
        journal: Journal,
    ) -> None:
        """Ask onnxruntime about what the search found, and write down what became of each seed."""
        ended = [i for i in range(len(rows)) if outcome.became[i] != UNFINISHED]
        if not ended:
            return
        original = self._options.compat == "deepxplore"
        x = np.asarray(outcome.points)[ended]
        after = self._look(x, stored=not original)
        kept = self._look(x) if original else after
        for place, i in enumerate(ended):
            row = rows[i]
            first = tuple(int(seen.classes[row]) for seen in before)
            classes = tuple(int(seen.classes[place]) for seen in after)
            items = [seen.items[place] for seen in after]
            became = self._became(int(outcome.became[i]), first, classes, items)
            one = SeedOutcome(
                index=batch.indexes[row],
                image=batch.names[row],
                became=became,  # type: ignore[arg-type]
                steps=int(outcome.steps[i]),
                apart=self._apart(batch.indexes[row]) + 1 if len(first) > 1 else None,
                before=first,
                classes=classes,
            )
            if became == "found":
                stays = len({int(seen.classes[place]) for seen in kept}) > 1 if original else None
                one = self._written(one, x[place], points[row], items, stays)
            journal.add(one)

    def _became(
        self,
        search: int,
        before: tuple[int, ...],
        classes: tuple[int, ...],
        items: Sequence[Sequence[npt.NDArray[np.int64]]],
    ) -> str:
        if self._perturber is not None:
            return "found"
        if len(before) == 1:
            # Also a search that did not reach its goal may have passed something else.
            if self.witnesses[0].covered.would_add(items[0]):
                return "found"
            return "none" if search != FOUND else "lost"
        if len(set(before)) > 1:
            return "already"
        if search in (ALREADY, FOUND):
            return "found" if len(set(classes)) > 1 else "lost"
        return "none"

    def _written(
        self,
        one: SeedOutcome,
        x: Points,
        seed: Points,
        items: Sequence[Sequence[npt.NDArray[np.int64]]],
        stays: bool | None,
    ) -> SeedOutcome:
        """Write a found image, count what it covers, and return its outcome with both."""
        name = heat_map_name(one.index, len(self._suite), one.image)
        path = self.folder / IMAGES / Path(name).with_suffix(self.seeds.suffix)
        replace_file(path, self.seeds.encoded(x))
        if stays is not None and self.seeds.suffix == ".png":
            # What was found is not what an image can hold.
            replace_file(path.with_suffix(".npy"), array_file(x))
        change = (x - seed).astype(np.float64) / self._span
        adds = [w.covered.add(each) for w, each in zip(self.witnesses, items, strict=True)]
        return SeedOutcome(
            **{
                **one.__dict__,
                "l2": float(np.linalg.norm(change)),
                "linf": float(np.abs(change).max()),
                "adds": sum(adds),
                "covered": tuple(witness.covered.count for witness in self.witnesses),
                "file": f"{IMAGES}/{path.name}",
                "stays": stays,
            }
        )

    def findings(self, journal: Journal, most: int) -> Iterator[Finding]:
        """Yield the first found images with their seeds."""
        outcomes = list(islice((one for one in journal if one.became == "found"), most))
        outcomes.sort(key=lambda one: one.index)
        suite = self._suite.subset([one.index for one in outcomes])
        if not outcomes:
            return
        with inputs.stream(suite, self.seeds.shown, 1) as batches:
            for one, batch in zip(outcomes, batches, strict=True):
                seed = self.seeds.points(batch.data)[0]
                found = self.seeds.decoded(self.folder / str(one.file))
                yield Finding(one, self.seeds.picture(seed), self.seeds.picture(found))

    def _cover_again(self, outcome: SeedOutcome) -> None:
        """Count what an image covers that was found before an interruption."""
        if outcome.became != "found" or outcome.file is None:
            return
        path = self.folder / outcome.file
        original = outcome.stays is not None
        x = self.seeds.decoded(path.with_suffix(".npy") if original else path)
        for witness, seen in zip(
            self.witnesses, self._look(x[None], stored=not original), strict=True
        ):
            witness.covered.add(seen.items[0])


def _never() -> bool:
    return False


def _from(first: int, done: Callable[[int], None]) -> Callable[[int], None]:
    """Return what is called with how many more than `first` are done."""
    return lambda further: done(first + further)
