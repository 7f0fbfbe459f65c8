"""The command ``config``: every option, its value, and where it came from."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cleanai_onnx import config
from cleanai_onnx.commands.parsing import Parser, add_general, add_options, settings_of
from cleanai_onnx.commands.showing import make_console
from cleanai_onnx.config import Settings
from cleanai_onnx.errors import harmless

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["parser", "run"]

_UNSET: tuple[Any, ...] = (None, (), {})
"""Values for which a file has no word: there the option is left out."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx config",
        description="Print the value of every option, and where it came from: command line > "
        "environment > configuration file > default. In a pipe it is a configuration file, in "
        "which the defaults are comments.",
        epilog="exit codes: 0 done, 2 an option or a key is unknown or has a value it cannot have",
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    add_general(made)
    flags = [option for option in config.ALL if option not in config.TABLES]
    add_options(made.add_argument_group("options of all commands"), flags)
    return made


def run(arguments: argparse.Namespace) -> int:
    """Print the settings."""
    settings = settings_of(arguments, config.ALL)
    if sys.stdout is None:
        return 0
    if arguments.json:
        print(_json(settings))
        return 0
    console = make_console()
    if console.is_terminal:
        _show(settings, console)
    else:
        for line in _toml(settings):
            print(line)
    return 0


def _groups() -> dict[str, list[config.Option]]:
    groups: dict[str, list[config.Option]] = {}
    for option in config.ALL:
        groups.setdefault(option.group, []).append(option)
    return groups


def _json(settings: Settings) -> str:
    options = {
        option.name: {"value": settings[option.name], "origin": settings.origin(option.name)}
        for option in config.ALL
    }
    return json.dumps({"options": options}, indent=2, default=str)


def _written(value: Any) -> str:
    """Return a value as a configuration file has it, on one line without control characters."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, default=str)


def _toml(settings: Settings) -> Iterator[str]:
    for number, (group, options) in enumerate(_groups().items()):
        if number:
            yield ""
        yield f"# {group}"
        for option in options:
            value, origin = settings[option.name], settings.origin(option.name)
            if value in _UNSET:
                yield f"# {option.name} is not set"
            elif origin == "default":
                yield f"# {option.name} = {_written(value)}"
            else:
                yield f"{option.name} = {_written(value)}  # {harmless(origin)}"


def _show(settings: Settings, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    rows: list[tuple[Text, ...]] = []
    for number, options in enumerate(_groups().values()):
        if number:
            rows.append(())
        for option in options:
            value, origin = settings[option.name], settings.origin(option.name)
            text = "not set" if value in _UNSET else _written(value)
            style = "dim" if origin == "default" else "bold"
            cells = (option.name, text, harmless(origin))
            rows.append(tuple(Text(cell, style) for cell in cells))
    # A long value is cut, never a name or an origin.
    for place, heading in enumerate(("option", "value", "from")):
        widest = max(len(row[place]) for row in rows if row)
        table.add_column(heading, no_wrap=True, min_width=None if place == 1 else widest)
    for row in rows:
        table.add_row(*row)
    console.print(table)
