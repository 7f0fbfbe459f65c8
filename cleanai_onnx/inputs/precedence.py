"""Sources of settings in their order, and which of them has the say on each setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cleanai_onnx.inputs.naming import shown
from cleanai_onnx.inputs.settings import NO_CROP, SETTINGS
from cleanai_onnx.inputs.sidecars import SettingsSource
from cleanai_onnx.result import Note

__all__ = ["DEFAULT", "Finding", "Precedence", "number_words", "value_words"]

DEFAULT = "default"
"""The origin of a setting that follows convention, because nothing says anything else."""


@dataclass(frozen=True)
class Finding:
    """A setting's value, its origin in words, and the rank of its source (0 comes first).

    `source` is the origin without the flag, for sentences that begin with it.
    """

    value: Any
    origin: str
    rank: int
    source: str = DEFAULT


@dataclass(frozen=True)
class Precedence:
    """Sources of settings, the first of them that gives a setting having the say.

    `preset` is the name of the preset that makes the last source, if there is one.
    """

    sources: tuple[SettingsSource, ...]
    preset: str | None = None

    @property
    def last(self) -> int:
        """The rank after that of all sources: that of defaults."""
        return len(self.sources)

    def find(self, name: str) -> Finding | None:
        """Return the setting from the first source that gives it."""
        for rank, source in enumerate(self.sources):
            if name in source.settings:
                flag = SETTINGS[name].flag
                origin = source.origin
                if origin == "command line" and flag:
                    origin = f"command line ({flag})"
                return Finding(source.settings[name], origin, rank, source.origin)
        return None

    def left_out_notes(self) -> tuple[Note, ...]:
        """Note what a source says in a way that cannot be followed."""
        return tuple(
            Note(
                "preprocessing-left-out",
                f"The {source.origin} was followed except for this: {shown(what)}.",
            )
            for source in self.sources
            for what in source.left_out
        )

    def overruled_preset_notes(self) -> tuple[Note, ...]:
        """Note what the preset would set but a source other than the command line sets first."""
        if self.preset is None:
            return ()
        overruled = []
        for name, value in self.sources[-1].settings.items():
            finding = self.find(name)
            if finding is None or finding.source == "command line":
                continue
            if finding.rank < self.last - 1 and not same_value(finding.value, value):
                overruled.append(
                    f"{SETTINGS[name].words} {value_words(name, finding.value)} from the "
                    f"{finding.source} instead of {value_words(name, value)}"
                )
        if not overruled:
            return ()
        text = f"More specific settings come before the preset '{self.preset}': "
        return (Note("preset-overruled", text + "; ".join(overruled) + "."),)


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of a setting mean the same: one mean equals three times that mean."""
    if isinstance(one, tuple) and isinstance(other, tuple) and one and other:
        length = max(len(one), len(other))
        one = one * length if len(one) == 1 else one
        other = other * length if len(other) == 1 else other
    return bool(one == other)


def number_words(number: float) -> str:
    """Return a number as people write it: 1/255 and 1/127.5 as fractions."""
    if number and abs(number) < 0.5:
        twice = 2 / number
        if abs(twice - round(twice)) < 1e-6 * abs(twice) and abs(twice) < 1e6:
            return f"1/{round(twice) / 2:g}" if number > 0 else f"{number:.6g}"
    return f"{number:.6g}"


def value_words(name: str, value: Any) -> str:
    """Return the value of a setting in words."""
    if name in ("size", "crop"):
        return "none" if value == NO_CROP else f"{value[0]} x {value[1]}"
    if name == "scale":
        return number_words(value)
    if isinstance(value, tuple):
        return ", ".join(f"{number:.6g}" for number in value)
    return str(value)
