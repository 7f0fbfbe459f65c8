"""Exploring in one call: models and seed images in, the inputs that the suite lacks out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx import inputs, runtime
from cleanai_onnx._version import __version__
from cleanai_onnx.coverage import UNIONS, ProfileParameters
from cleanai_onnx.exploration.record import Exploration, ExploredModel
from cleanai_onnx.jobs.exploration_options import DISAGREEMENT, ExplorationOptions
from cleanai_onnx.jobs.seeding import notes_on, seed_images
from cleanai_onnx.jobs.witness import Witness
from cleanai_onnx.measuring.feeding import Progress, resolve
from cleanai_onnx.profiles import Profile, load, require_same_preprocessing
from cleanai_onnx.profiles.storage import digest
from cleanai_onnx.provenance import RunRecord, device_name
from cleanai_onnx.report.exploration import Journal, write_json, write_table
from cleanai_onnx.spread.spread_exploration import Search, SearchedAhead, Stopped, search_spread
from cleanai_onnx.spread.team import EngineName, Wanted, gathered, is_spread

if TYPE_CHECKING:
    from cleanai_onnx.jobs.exploration_rounds import Rounds

__all__ = ["explore", "rounds_for"]

_SHOWN = 48
"""So many found images are in the report."""


@dataclass
class Counts:
    """What became of the seeds so far."""

    became: dict[str, int] = field(default_factory=lambda: dict.fromkeys(
        ("found", "already", "none", "lost"), 0))  # fmt: skip
    steps: int = 0

    @property
    def searched(self) -> int:
        """How many seeds are done."""
        return sum(self.became.values())


def explore(
    models: str | Path | Sequence[str | Path],
    images: str | Path | Sequence[str | Path],
    output: str | Path = "found",
    options: ExplorationOptions | None = None,
    *,
    taps: Sequence[str] = ("activations",),
    profile: Profile | str | Path | None = None,
    profile_parameters: ProfileParameters | None = None,
    input_name: str | None = None,
    input_values: Mapping[str, str] | None = None,
    preset: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    preprocessing_file: str | Path | None = None,
    preprocessing_config: Mapping[str, Any] | None = None,
    device: runtime.Device = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    strict: bool = False,
    workers: int | None = None,
    engine: EngineName = "process",
    ray_address: str | None = None,
    allow_partial: bool = False,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Exploration:
    """Search from seed images for inputs that the suite lacks.

    With two or more models: inputs on which they predict different classes (differential testing;
    Pei et al., DeepXplore, SOSP 2017). With one: inputs that cover what the seeds do not.

    Parameters
    ----------
    models
        One or more ONNX files.
    images
        The seeds, as for `cleanai_onnx.analyze`; they are the suite whose coverage is raised.
    output
        A folder. Images are written there as they are found; an exploration that was ended there
        goes on where it was.
    options
        How to search.
    profile, profile_parameters
        What training taught, for `nbc-suite`, `snac`, `kmnc` and `idc`.
    taps, input_name, input_values, preset, preprocessing, preprocessing_file, preprocessing_config
        As for `cleanai_onnx.analyze`, for every model.
    device, batch_size, threads, limit, seed, strict, progress
        As there; `seed` also decides what is drawn in the search.
    workers, engine, ray_address, allow_partial
        As there: workers search, for disagreement without `coverage_weight`, or perturb. What they
        find is what one process finds; where an exploration is stopped while they search, they
        begin again the next time.
    stop
        Asked between the parts of the search: whether to end with what was found so far.

    Returns
    -------
    Exploration
        What was found; `Exploration_*.json` in the folder has it seed by seed.

    Raises
    ------
    CleanAIError
        With one sentence that says what is wrong and what to do.
    """
    from cleanai_onnx.report.destination import replace_file
    from cleanai_onnx.report.pdf_exploration import render

    paths = [str(models)] if isinstance(models, str | Path) else [str(one) for one in models]
    images = [str(images)] if isinstance(images, str | Path) else [str(one) for one in images]
    chosen = (options or ExplorationOptions()).resolved(len(paths))
    wanted = Wanted(workers, engine, ray_address, allow_partial)
    searches = chosen.perturb is None
    spread = is_spread(
        wanted,
        {
            f"--objective {chosen.objective} (what a seed looks for depends on what was found)": (
                searches and chosen.objective != DISAGREEMENT
            ),
            "--coverage-weight": searches and chosen.coverage_weight > 0,
        },
    )
    runtime.require_onnxruntime()
    record, folder = RunRecord(), Path(output)
    suite = inputs.discover(images, limit, seed)
    if isinstance(profile, str | Path):
        profile = load(profile)
    measures = profile_parameters or ProfileParameters()
    if chosen.metric in UNIONS:
        profile = None  # It decides nothing here.
    becoming = {
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": preprocessing_file,
        "preprocessing_config": preprocessing_config,
    }
    running = {
        "taps": tuple(taps),
        "input_name": input_name,
        "input_values": input_values or {},
        "device": device,
        "threads": threads,
    }
    rounds, resolved = rounds_for(
        paths,
        suite,
        chosen,
        folder=folder,
        becoming=becoming,
        running={**running, "batch_size": batch_size},
        seed=seed,
        profile=profile,
        profile_parameters=measures,
        record=record,
    )
    settings = {
        "version": __version__,
        "models": [witness.model.sha256 for witness in rounds.witnesses],
        "images_found": suite.found,
        "limit": limit,
        "preprocessing": [{one.name: one.value for one in each.fields} for each in resolved],
        "seed": seed,
        "batch_size": rounds.batch_size,
        "taps": list(taps),
        "input_name": input_name,
        "input_values": dict(input_values or {}),
        "profile": None if profile is None else digest(profile),
        **({} if profile is None else asdict(measures)),
        **asdict(chosen),
    }
    journal = Journal(folder, settings)
    with ExitStack() as stack:
        stack.callback(journal.close)
        ahead = None
        if spread:
            team = stack.enter_context(gathered(wanted, device))

            def ahead(had: frozenset[int], done: Callable[[int], None]) -> SearchedAhead:
                return search_spread(
                    team,
                    suite,
                    Search(tuple(paths), chosen, had),
                    asked={
                        "model": paths[0],
                        "images": images,
                        "limit": limit,
                        "seed": seed,
                        "strict": strict,
                        "becoming": becoming,
                        "running": running,
                    },
                    batch_size=rounds.batch_size,
                    done=done,
                    stop=stop,
                )

        try:
            interrupted = rounds.run(journal, progress, stop, strict=strict, ahead=ahead)
        except Stopped:
            interrupted = True
        exploration = _told(
            rounds, journal, chosen, settings, record, suite, resolved[0], interrupted
        )
        stem = folder / "Exploration"
        write_table(stem.with_suffix(".csv"), exploration, journal)
        write_json(stem.with_suffix(".json"), exploration, journal)
        replace_file(
            stem.with_suffix(".pdf"), render(exploration, rounds.findings(journal, _SHOWN))
        )
    return exploration


def rounds_for(
    models: Sequence[str],
    suite: inputs.Suite,
    options: ExplorationOptions,
    *,
    folder: Path,
    becoming: Mapping[str, Any],
    running: Mapping[str, Any],
    seed: int,
    part: tuple[int, int] | None = None,
    profile: Profile | None = None,
    profile_parameters: ProfileParameters | None = None,
    record: RunRecord | None = None,
) -> tuple[Rounds, list[inputs.ResolvedPreprocessing]]:
    """Make everything ready for the rounds of an exploration.

    Parameters
    ----------
    models, folder, seed, profile, profile_parameters
        See `explore`.
    suite, part
        All seeds; search only from the range `part` of them.
    options
        With every default filled in.
    becoming
        How images become inputs: further arguments of `cleanai_onnx.measuring.feeding.resolve`.
    running
        How the models are run: further arguments of `Witness`, and ``batch_size``.
    record
        Where the time is kept.

    Returns
    -------
    Rounds
    list
        How images become inputs, for each model.
    """
    from cleanai_onnx.jobs.exploration_rounds import Rounds

    record = record or RunRecord()
    batch_size = running["batch_size"]
    of_each = {name: value for name, value in running.items() if name != "batch_size"}
    witnesses = [
        Witness(
            model,
            options.metric,
            threshold=options.threshold,
            profile=profile,
            profile_parameters=profile_parameters or ProfileParameters(),
            record=record,
            **of_each,
        )
        for model in models
    ]
    resolved = [
        resolve(witness.image_input, witness.model.metadata, model, suite, **becoming)
        for model, witness in zip(models, witnesses, strict=True)
    ]
    seeds = seed_images(
        [one.preprocessing for one in resolved],
        [witness.image_input for witness in witnesses],
        options.input_range,
    )
    if profile is not None:
        require_same_preprocessing(profile, resolved[0].fields)
    rounds = Rounds(
        witnesses,
        seeds,
        suite if part is None else suite.shard(*part),
        options,
        folder,
        record,
        input_values=running["input_values"],
        batch_size=batch_size,
        seed=seed,
        first=0 if part is None else part[0],
    )
    return rounds, resolved


def _told(
    rounds: Rounds,
    journal: Journal,
    options: ExplorationOptions,
    settings: Mapping[str, object],
    record: RunRecord,
    suite: inputs.Suite,
    resolved: inputs.ResolvedPreprocessing,
    interrupted: bool,
) -> Exploration:
    """Put together what is known in the end."""
    counts = Counts()
    for outcome in journal:
        counts.became[outcome.became] += 1
        counts.steps += outcome.steps if outcome.became == "found" else 0
    found = counts.became["found"]
    first = rounds.witnesses[0]
    return Exploration(
        folder=str(rounds.folder),
        models=tuple(
            ExploredModel(
                witness.model.name,
                witness.model.file,
                witness.model.sha256,
                witness.covered.items,
                before,
                witness.covered.count,
            )
            for witness, before in zip(rounds.witnesses, rounds.covered_before, strict=True)
        ),
        source=suite.source,
        suite=len(suite),
        skipped=rounds.skipped,
        searched=counts.searched,
        found=found,
        already=counts.became["already"],
        none=counts.became["none"],
        lost=counts.became["lost"],
        objective=str(options.objective),
        metric=options.metric,
        settings=settings,
        preprocessing=resolved.fields,
        notes=(*resolved.notes, *notes_on(rounds.seeds)),
        mean_steps=counts.steps / found if found else None,
        growth=_growth(journal, found, rounds.covered_before),
        interrupted=interrupted,
        run=record.facts(
            device_name(first.session.device, first.device),
            first.session.provider,
            rounds.batch_size,
            settings,
            resolved.fields,
        ),
        seconds=sum(record.seconds.values()),
    )


def _growth(
    journal: Journal, found: int, before: Sequence[int], most: int = 400
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return the growth of coverage with what was found, at no more than about `most` points."""
    every = max(1, math.ceil(found / most))
    points, number = [(0, tuple(before))], 0
    for outcome in journal:
        if outcome.became == "found":
            number += 1
            if number % every == 0 or number == found:
                points.append((number, outcome.covered))
    return tuple(points)
