"""What onnxruntime says of a model's inputs: classes, and the items of a coverage they cover.

Exploration searches on lowered models; what it finds counts only if it holds here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cleanai_onnx import coverage, runtime
from cleanai_onnx.coverage import PROFILED, UNIONS, Observed
from cleanai_onnx.errors import ModelError, UsageError
from cleanai_onnx.exploration.lacking import REACHABLE, Covered
from cleanai_onnx.measuring.runner import Runner
from cleanai_onnx.profiles import Profile, learnt_from, require_same
from cleanai_onnx.provenance import RunRecord

if TYPE_CHECKING:
    from cleanai_onnx import graph

__all__ = ["Testimony", "Witness"]


class Testimony(NamedTuple):
    """What is known of some inputs.

    Attributes
    ----------
    classes
        ``(n,)`` int64, as the model predicts.
    channels
        ``(n, C)`` float32, the values of all channels.
    items
        For each input, the numbers of the items that it covers, an array for each part.
    """

    classes: npt.NDArray[np.int64]
    channels: npt.NDArray[np.float32]
    items: list[list[npt.NDArray[np.int64]]]


class Witness:
    """A model in onnxruntime, and how much of a coverage its inputs have reached.

    Parameters
    ----------
    model, taps, input_name, input_values, device, batch_size, threads
        As for `cleanai_onnx.Analyzer`.
    metric
        One of `REACHABLE`.
    threshold
        t of `nc-suite` and `nc-suite-scaled`.
    profile, profile_parameters
        For a metric that needs one.

    Raises
    ------
    ModelError, UsageError
        If the model, or an option, cannot be used.
    """

    covered: Covered

    def __init__(
        self,
        model: str,
        metric: str,
        *,
        threshold: float,
        profile: Profile | None,
        profile_parameters: coverage.ProfileParameters,
        taps: tuple[str, ...],
        input_name: str | None,
        input_values: Mapping[str, str],
        device: Any,
        threads: int | None,
        record: RunRecord,
    ) -> None:
        if metric not in REACHABLE:
            raise UsageError(
                f"--objective must be one of disagreement, {', '.join(REACHABLE)}, not {metric!r}."
            )
        self._runner = Runner(
            model,
            taps=taps,
            input_name=input_name,
            input_values=input_values,
            device=device,
            threads=threads,
            decide=True,
            record=record,
        )
        self.metric = metric
        self._parameters = coverage.Parameters(threshold=threshold)
        self._profile, self._profile_parameters = profile, profile_parameters
        self.state: Any = None
        if metric not in UNIONS and profile is None:
            raise UsageError(
                f"--objective {metric} needs --profile, which `cleanai-onnx profile` makes from "
                "training images."
            )

    @property
    def model(self) -> graph.Model:
        """The model."""
        return self._runner.model

    @property
    def image_input(self) -> graph.ImageInput:
        """The input that takes the images."""
        return self._runner.image_input

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layers whose channels are measured."""
        return self._runner.layers

    @property
    def device(self) -> Any:
        """Where JAX has the activations."""
        return self._runner.jax_device

    @property
    def session(self) -> runtime.Session:
        """The session."""
        return self._runner.session

    @property
    def batch_size(self) -> int:
        """How many inputs are run at once."""
        return self._runner.batch_size

    def start(self, item_shape: tuple[int, ...], most: int) -> None:
        """Make the session, for inputs of this shape.

        Raises
        ------
        ModelError
            If onnxruntime refuses the model, or it has no classes.
        UsageError
            If the profile is of another model.
        """
        self._runner.prepare(item_shape, most)
        self._runner.start()
        if self._runner.classes is None:
            raise ModelError(
                f"the first output of {self.model.name!r} is no list of class scores: exploration "
                "needs a classifier."
            )
        self._family = None
        if self.metric in UNIONS:
            self.covered = Covered((sum(layer.channels for layer in self.layers),))
        else:
            assert self._profile is not None
            require_same(self._profile, self.model.sha256, self.layers)
            learnt = learnt_from(self._profile)
            if learnt.view != "channel" and self.metric != "idc":
                raise UsageError(
                    f"--objective {self.metric} looks at channels, and the profile is of units: "
                    "learn one with --view channel."
                )
            self._family = next(
                family
                for family in PROFILED
                if self.metric in [metric.id for metric in family.metrics]
            )
            self.state = self._family.init(learnt, self._profile_parameters)
            parts = self._family.items(self.state).get(self.metric, ())
            if not any(parts):
                raise UsageError(f"--objective {self.metric}: {learnt.without_relevance}.")
            self.covered = Covered(parts)
        self._measured = coverage.init(self.layers, self._parameters, self.device)

    def look(self, data: npt.NDArray[Any]) -> Testimony:
        """Run inputs ``(n, ...)`` as the model takes them; nothing is counted as covered yet."""
        parts = [
            self._one_batch(data[first : first + self.batch_size])
            for first in range(0, len(data), self.batch_size)
        ]
        return Testimony(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.channels for part in parts]),
            [items for part in parts for items in part.items],
        )

    def _one_batch(self, data: npt.NDArray[Any]) -> Testimony:
        ran = self._runner.run(self._runner.ready_for(data))
        with runtime.on_device(self.device):
            self._measured, figures = coverage.update(self._measured, ran.activations, ran.valid)
            channels = coverage.channel_matrix(self.layers, figures.channels, ran.valid)
            if self._family is None:
                each = coverage.covered_by_each(
                    self._measured, figures, ran.activations, "channel", (self.metric,)
                )
                found: tuple[Any, ...] = (each[self.metric],)
            else:
                observed = Observed(channels, channels, ran.classes)
                found = self._family.covered_by_each(self.state, observed)[self.metric]
        assert ran.classes is not None  # start() refuses models without
        return Testimony(
            ran.classes, channels, [[part[row] for part in found] for row in range(ran.valid)]
        )
