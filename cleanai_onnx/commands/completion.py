"""The command ``completion``, and what a shell is answered when somebody presses Tab.

argcomplete does the work. Unlike tools that write a script of all options once, it asks the program
each time, so that one answer serves bash, zsh and fish and follows the installed version; and the
first word can be a command or a model, which fixed scripts have no words for.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from cleanai_onnx import commands, config
from cleanai_onnx.commands.parsing import Parser

__all__ = ["ASKED", "answer", "parser", "run"]

SHELLS = ("bash", "zsh", "fish")
ASKED = "_ARGCOMPLETE"
"""The variable with which the shell's function calls the program: where its words begin."""


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    made = Parser(
        prog="cleanai-onnx completion",
        description="Print what makes a shell complete commands, options and files.",
        epilog="""\
to switch it on:
  bash   echo 'eval "$(cleanai-onnx completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(cleanai-onnx completion zsh)"' >> ~/.zshrc
  fish   cleanai-onnx completion fish > ~/.config/fish/completions/cleanai-onnx.fish
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=SHELLS, help="the shell")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def run(arguments: argparse.Namespace) -> int:
    """Print the code for a shell."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["cleanai-onnx"], shell=arguments.shell))
    return 0


def answer() -> None:
    """Answer the shell and end the process."""
    import argcomplete
    from argcomplete.lexers import split_line

    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    _, _, _, words, _ = split_line(line, point)
    named = len(words) > 1 and words[1] in commands.NAMES
    if named:
        # The command takes the place of the program: its parser knows the words after it.
        os.environ[ASKED] = str(int(os.environ[ASKED]) + 1)
    made = commands.find(words[1] if named else "analyze").parser()
    _teach(made, () if named else commands.NAMES)
    argcomplete.autocomplete(made, always_complete_options=False)


def _teach(made: argparse.ArgumentParser, first_words: Sequence[str]) -> None:
    """Tell the arguments of a parser what they can be completed to; without that, to files."""
    from argcomplete.completers import FilesCompleter

    choices = {option.name: option.choices for option in config.ALL if option.choices}
    models = FilesCompleter(allowednames=["onnx"])
    for action in made._actions:
        known: Any = action
        if action.dest in choices:
            known.choices = choices[action.dest]
        elif action.dest == "model":
            known.completer = lambda prefix, **_: [*first_words, *models(prefix)]
