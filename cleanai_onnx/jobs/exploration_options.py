"""How to explore: the options, what they may be together, and what each is by default."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from cleanai_onnx.errors import UsageError
from cleanai_onnx.exploration.constraints import CONSTRAINTS, Constraint
from cleanai_onnx.exploration.lacking import REACHABLE
from cleanai_onnx.exploration.perturbations import PERTURBATIONS, Perturbation

__all__ = ["DISAGREEMENT", "ExplorationOptions"]

Compat = Literal["none", "deepxplore"]
DISAGREEMENT = "disagreement"
OF_DISAGREEMENT = "nc-suite-scaled"
"""The coverage that is counted beside disagreements: DeepXplore's."""
_ITERATIONS, _COMPAT_ITERATIONS = 50, 20
_COMPAT_STEP = 10.0
_RADII = {"linf": 0.1, "l2": 3.0}
_PATCHES = {"occlusion": (10, 10), "blackout": (6, 6)}


@dataclass(frozen=True)
class ExplorationOptions:
    """How to explore; what is None has a default that depends on the rest.

    Attributes
    ----------
    objective : str, optional
        ``disagreement`` of two or more models (their default), or a coverage whose lacking items
        are sought with one model: ``nc-suite`` (its default), ``nc-suite-scaled``, ``nbc-suite``,
        ``snac``, ``kmnc`` or ``idc``.
    constraint : {"light", "occlusion", "blackout", "linf", "l2", "any"}, optional
        Which changes are allowed: ``light`` for disagreement, ``any`` for coverage otherwise.
    step : float, optional
        Of each step, as a part of the range from black to white.
    iterations : int, optional
        The most steps from a seed.
    apart_weight : float
        λ1, the weight of the model that is set apart.
    coverage_weight : float
        λ2, the weight of the neurons that are not covered, beside disagreement.
    neurons_per_model : bool
        One neuron of each model, as in DeepXplore's code, instead of one in all, as in its paper.
    target_model : int, optional
        The model that is set apart, from 1; drawn for each seed otherwise.
    radius : float, optional
        Of the balls `linf` and `l2`.
    patch_size, patch_at : (int, int), optional
        Height and width of the rectangle of `occlusion` and of the patches of `blackout`; first
        row and column of the rectangle, drawn for each seed otherwise.
    threshold : float
        t of `nc-suite` and `nc-suite-scaled`.
    input_range : (float, float), optional
        The smallest and the largest valid value of arrays that are ready.
    compat : {"none", "deepxplore"}
        As DeepXplore's code: no projection to valid pixels, no check after rounding to 8 bits.
    perturb : {"gaussian", "pixels", "relevant", "fgsm", "bim"}, optional
        Do not search, but perturb every seed in this way, with one model.
    strength, share : float
        How much, as a part of the range from black to white, and which part of the pixels.

    Raises
    ------
    UsageError
        If a value has no meaning.
    """

    objective: str | None = None
    constraint: Constraint | None = None
    step: float | None = None
    iterations: int | None = None
    apart_weight: float = 1.0
    coverage_weight: float = 0.0
    neurons_per_model: bool = False
    target_model: int | None = None
    radius: float | None = None
    patch_size: tuple[int, int] | None = None
    patch_at: tuple[int, int] | None = None
    threshold: float = 0.75
    input_range: tuple[float, float] | None = None
    compat: Compat = "none"
    perturb: Perturbation | None = None
    strength: float | None = None
    share: float = 0.02

    def __post_init__(self) -> None:
        if self.constraint not in (None, *CONSTRAINTS):
            raise UsageError(
                f"--constraint must be one of {', '.join(CONSTRAINTS)}, not {self.constraint!r}."
            )
        if self.compat not in ("none", "deepxplore"):
            raise UsageError(
                f"--compat must be none or deepxplore for exploring, not {self.compat!r}."
            )
        for name, given, constraints in (
            ("radius", self.radius, tuple(_RADII)),
            ("patch-size", self.patch_size, tuple(_PATCHES)),
            ("patch-at", self.patch_at, ("occlusion",)),
        ):
            if given is not None and self.constraint not in constraints:
                raise UsageError(
                    f"--{name} belongs to --constraint {' or '.join(constraints)}: leave it out."
                )

    def resolved(self, models: int) -> ExplorationOptions:
        """Return the options with every default filled in.

        Raises
        ------
        UsageError
            If they do not fit so many models.
        """
        one, original = models == 1, self.compat == "deepxplore"
        objective = self.objective or ("nc-suite" if one else DISAGREEMENT)
        if objective not in (DISAGREEMENT, *REACHABLE):
            raise UsageError(
                f"--objective must be one of {', '.join((DISAGREEMENT, *REACHABLE))}, not "
                f"{objective!r}."
            )
        if one and objective == DISAGREEMENT:
            raise UsageError("--objective disagreement needs two or more models.")
        if not one and objective != DISAGREEMENT:
            raise UsageError(
                f"--objective {objective} is for one model: with several, they are searched for "
                "disagreement."
            )
        if self.perturb is not None and not one:
            raise UsageError("--perturb is for one model: give the one whose suite is perturbed.")
        if self.perturb is not None and self.perturb not in PERTURBATIONS:
            raise UsageError(
                f"--perturb must be one of {', '.join(PERTURBATIONS)}, not {self.perturb!r}."
            )
        if self.strength is not None and self.perturb is None:
            raise UsageError("--strength belongs to --perturb: leave it out.")
        if one and original:
            raise UsageError("--compat deepxplore needs two or more models.")
        if self.target_model is not None and not 1 <= self.target_model <= models:
            raise UsageError(
                f"--target-model must be from 1 to {models}, the number of models, not "
                f"{self.target_model}."
            )
        constraint = self.constraint or ("any" if one else "light")
        radius = self.radius or _RADII.get(constraint)
        steps = {"light": 1.0, "occlusion": 0.5, "blackout": 1.0, "any": 0.05}
        steps |= {"linf": (radius or 0) / 8, "l2": (radius or 0) / 5}
        filled: dict[str, Any] = {
            "objective": objective,
            "constraint": constraint,
            "radius": radius,
            "patch_size": self.patch_size or _PATCHES.get(constraint),
            "iterations": self.iterations or (_COMPAT_ITERATIONS if original else _ITERATIONS),
            "step": self.step or (_COMPAT_STEP if original else steps[constraint]),
        }
        if self.perturb is not None:
            chosen_pixels = self.perturb in ("pixels", "relevant")
            filled["strength"] = self.strength or (0.75 if chosen_pixels else 0.3)
        if original:
            filled["target_model"] = self.target_model or 1
            filled["neurons_per_model"] = True
            if self.constraint == "occlusion":
                filled["patch_at"] = self.patch_at or (0, 0)
        return ExplorationOptions(**{**asdict(self), **filled})

    @property
    def metric(self) -> str:
        """The coverage that is counted."""
        return OF_DISAGREEMENT if self.objective == DISAGREEMENT else str(self.objective)
