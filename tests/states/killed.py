"""A command that is killed again and again, at random points, until it may finish.

``python -m tests.states.killed SEED KILLS CALLS ARGUMENT...`` runs the command line in child
processes. Each is sent SIGKILL, by itself, in the middle of a call of one of our functions: which
one is drawn from the first CALLS calls from the second batch on (the first one may compile). The
last child is left alone. Printed are how many children were killed, and after how many of these
kills there was a checkpoint.
Children are forked from this process, which has imported everything and started nothing, so
that a kill costs less than a start.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from cleanai_onnx import cli, report
from cleanai_onnx.jobs import analysis
from cleanai_onnx.report import pdf
from cleanai_onnx.states.checkpoint import FILE

ROOT = os.path.dirname(os.path.abspath(cli.__file__))
MOST_CHILDREN = 4
"""For each kill; a run may also end before it is killed, and the next begins anew."""
assert analysis and report and pdf  # imported for the children


class Killer:
    """Ends this process in its n-th call of one of our functions from the second batch on."""

    def __init__(self, calls: int) -> None:
        self._left, self._batches = calls, 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(ROOT):
            return
        self._batches += frame.f_code.co_name == "_measure"
        if self._batches > 1:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def run(arguments: list[str], calls: int | None) -> int:
    """Return how a child ended: its exit code, or the negative number of a signal."""
    child = os.fork()
    if child == 0:
        if calls is not None:
            sys.setprofile(Killer(calls))
        os._exit(cli.main(arguments))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    seed, kills, most = map(int, sys.argv[1:4])
    arguments, draw = sys.argv[4:], random.Random(seed)
    checkpoint = Path(arguments[arguments.index("--checkpoint") + 1], FILE)
    killed = kept = 0
    for _ in range(MOST_CHILDREN * kills):
        if killed < kills and run(arguments, draw.randrange(1, most)) == -signal.SIGKILL:
            killed, kept = killed + 1, kept + checkpoint.exists()
    print(killed, kept)
    return run(arguments, None)


if __name__ == "__main__":
    sys.exit(main())
