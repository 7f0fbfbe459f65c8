"""Coverage as a test: `assert_coverage` fails with a message that names the layers to look at."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cleanai_onnx.errors import UsageError
from cleanai_onnx.jobs.caching import ResultCache

if TYPE_CHECKING:
    from cleanai_onnx.result import Result
    from cleanai_onnx.validation import Gate

__all__ = ["RESULTS", "assert_coverage", "demands", "require", "split"]

RESULTS = ResultCache()
"""Shared by all assertions of the process."""


def assert_coverage(
    model: Any,
    images: Any,
    *,
    gates: str | Mapping[str, Any] | Sequence[str | Gate] = (),
    baseline: Result | str | Path | None = None,
    **limits: Any,
) -> Result:
    """Fail unless images exercise a model as demanded.

    Several assertions on the same files with the same settings run the analysis once.

    Parameters
    ----------
    model, images
        As for `cleanai_onnx.analyze`.
    gates
        Limits in any form that `cleanai_onnx.Result.judged` takes: ``"nc=30%,kmnc/channel=45%"``,
        a list of such, or a mapping as in a configuration file.
    baseline : Result or path, optional
        An earlier result, for gates that limit a change.
    **limits
        Limits by metric, with ``_`` for ``-``: ``nc=0.3``, ``nc_suite="30%"``, ``dead_channels=0``,
        ``nc={"layers": "conv*", "min": 0.3}``. Every other keyword is an option of
        `cleanai_onnx.analyze`, such as ``profile="model.profile"`` or ``preset="imagenet"``; heat
        maps (``relevance=True``) are left out unless they are asked for.

    Returns
    -------
    Result
        With the outcomes as its `gates`.

    Raises
    ------
    AssertionError
        If a limit is not kept.
    CleanAIError
        If nothing could be measured, or a limit is not one.

    Examples
    --------
    >>> assert_coverage("model.onnx", "test/", nc=0.3, kmnc=0.45, profile="model.profile")
    """
    __tracebackhide__ = True
    demanded, options = split(limits)
    if not demanded and not gates:
        raise UsageError("assert_coverage needs a limit, such as nc=0.3.", slug="gates")
    result = RESULTS.analyze(model, images, {"relevance": False, **options})
    return require(result.judged(demands(demanded, gates), baseline))


def split(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part keywords into limits, by metric, and options of `cleanai_onnx.analyze`.

    Raises
    ------
    UsageError
        If one is neither; the nearest known one is named.
    """
    from cleanai_onnx.jobs.analysis import analyze
    from cleanai_onnx.validation.gate import METRICS

    metrics = {metric.replace("-", "_"): metric for metric in METRICS}
    taken = {*inspect.signature(analyze).parameters} - {"model", "images"}
    limits, options = {}, {}
    for name, value in keywords.items():
        if name in metrics:
            limits[metrics[name]] = value
        elif name in taken:
            options[name] = value
        else:
            near = difflib.get_close_matches(name[:40], [*metrics, *taken], n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UsageError(
                f"{name[:40]} is neither a metric nor an option of analyze{hint}",
                slug="unknown-option",
            )
    return limits, options


def demands(
    limits: Mapping[str, Any], gates: str | Mapping[str, Any] | Sequence[str | Gate]
) -> tuple[Gate, ...]:
    """Return the gates of limits by metric and of further ones."""
    from cleanai_onnx.validation import gates_of

    return (*gates_of(limits), *(gates_of(gates) if gates else ()))


def require(result: Result) -> Result:
    """Return a result that was judged.

    Raises
    ------
    AssertionError
        If one of its gates failed.
    """
    __tracebackhide__ = True
    if not result.passed:
        raise AssertionError(_failure(result))
    return result


def _failure(result: Result) -> str:
    from cleanai_onnx.report.gates import headline, verdict, worst_first
    from cleanai_onnx.report.names import named, printable

    images = result.images
    model, source = (printable(named(name), 200) for name in (result.model.name, images.source))
    lines = [f"{model} over {images.used:,} images of {source}: {headline(result.gates)}"]
    lines += [f"  {verdict(one)}: {printable(one.text)}" for one in worst_first(result.gates)]
    return "\n".join(lines)
