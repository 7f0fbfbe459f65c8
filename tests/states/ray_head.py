"""The head of a Ray cluster that can be killed, and started again at the same port.

``python -m tests.states.ray_head PORT FOLDER`` starts one as ``ray start --head`` does, without
what takes it seconds (dashboard, monitor), prints the process ids of its parts, and ends it with
its standard input.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from tests.cli.material import ROOT


class Head:
    """A head at `port`, which is free; its files lie in `folder`, whose path must be short."""

    def __init__(self, port: int, folder: str) -> None:
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.states.ray_head", str(port), folder],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._parts = [int(number) for number in self._process.stdout.readline().split()]
        assert len(self._parts) == 2

    def kill(self) -> None:
        """Kill it, as a machine that goes away does."""
        for number in self._parts:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        port: int = found.getsockname()[1]
        return port


def main() -> None:
    from ray._private import services
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    node = Node(
        RayParams(
            gcs_server_port=int(sys.argv[1]),
            temp_dir=sys.argv[2],
            node_ip_address=services.get_node_ip_address(),
            num_cpus=2,
            object_store_memory=80_000_000,
            include_dashboard=False,
            include_log_monitor=False,
            no_monitor=True,
        ),
        head=True,
        shutdown_at_exit=True,
    )
    parts = [
        started.process.pid
        for kind in ("gcs_server", "raylet")
        for started in node.all_processes[kind]
    ]
    print(*parts, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
