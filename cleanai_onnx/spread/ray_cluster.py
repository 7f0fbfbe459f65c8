"""A connection to a Ray cluster that is made again where the cluster went away and came back.

Ray's own calls wait long for a head that is gone, and then end the process. So no call here waits:
each task is asked for again and again whether it is done, one thread at a time, and between these
questions the connection can be given up for a new one. Tasks that were lost with it are submitted
again.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cleanai_onnx.errors import UsageError, harmless

__all__ = ["Cluster"]

REACHED_IN = 20
"""Seconds in which a cluster must answer."""
ASKED_EACH = 5.0
"""So many seconds lie between two looks whether the head answers."""
SILENT_FOR = 60.0
"""After so many seconds without an answer the head is gone; Ray's own limit."""
BACK_WITHIN = 300.0
"""So many seconds a cluster may take to come back."""
LOST_TIMES = 3
"""So often a task may be lost with its cluster; perhaps it is what ends it."""
LONGEST_PAUSE = 0.5
"""Seconds between two questions whether a task is done, at most."""


class Cluster:
    """A Ray cluster, joined or started here.

    Parameters
    ----------
    ray
        The module.
    address
        The cluster to join; None to start one on this machine, or to use the one that this process
        is already part of.
    workers
        How many tasks a cluster that is started here has room for.

    Raises
    ------
    UsageError
        If it cannot be joined.
    """

    def __init__(self, ray: Any, address: str | None, workers: int | None) -> None:
        # Ray ends the process that has lost its head for a minute; we are to be earlier.
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(int(2 * SILENT_FOR)))
        self._ray, self._address, self._workers = ray, address, workers
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._lost: UsageError | None = None
        self._running: set[Any] = set()
        self._joined = 0
        self._own = not ray.is_initialized()
        if self._own:
            _join(ray, address, workers)
        self._note_head()
        # It needs no room, so that it answers where all is busy.
        self._echo = ray.remote(num_cpus=0, max_retries=0)(_echo)

    def _note_head(self) -> None:
        self._joined += 1
        self._head = self._address
        with suppress(AttributeError, RuntimeError):  # not known of a ray:// address
            self._head = self._ray.get_runtime_context().gcs_address
        self._asked = self._answered = time.monotonic()

    def result_of(self, submit: Callable[[], Any]) -> Any:
        """Submit a task and return what it returns; threads call this at the same time.

        Raises
        ------
        ray.exceptions.RayTaskError
            If the task raised something.
        ray.exceptions.RayError
            If its process died, or its machine left.
        UsageError
            If the cluster went away and did not come back.
        """
        left = LOST_TIMES
        while True:
            with self._lock:
                self._require_cluster()
                try:
                    reference = submit()
                except ConnectionError as error:  # of a ray:// address
                    self._join_again(error)
                    reference = submit()
                joined = self._joined
                self._running.add(reference)
            try:
                return self._waited_for(reference, joined)
            except _LostError as lost:
                left -= 1
                if not left:
                    raise lost.error from None
            finally:
                self._running.discard(reference)

    def _waited_for(self, reference: Any, joined: int) -> Any:
        pause = 0.01
        exceptions = self._ray.exceptions
        while True:
            with self._lock:
                self._require_cluster()
                if self._joined != joined:
                    raise _LostError(exceptions.RaySystemError("the cluster went away"))
                try:
                    if self._ray.wait([reference], timeout=0)[0]:
                        return self._ray.get(reference)
                except (exceptions.RayTaskError, exceptions.WorkerCrashedError):
                    raise
                except (exceptions.RayError, ConnectionError) as error:
                    if self._answers():
                        raise
                    self._join_again(error)
                    raise _LostError(error) from None
                if self._is_silent():
                    silence = exceptions.RaySystemError("the head does not answer")
                    self._join_again(silence)
                    raise _LostError(silence)
            self._stopped.wait(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)

    def _require_cluster(self) -> None:
        # Ray would start a cluster of its own at the next call.
        if self._lost is not None:
            raise self._lost
        if self._stopped.is_set():
            raise self._ray.exceptions.TaskCancelledError

    def _answers(self) -> bool:
        """Return whether the cluster still does what it is asked to."""
        try:
            # Nothing may be asked of Ray while nobody is there: it would wait, and end the process.
            _reach(self._head, REACHED_IN)
            return bool(self._ray.get(self._echo.remote(), timeout=REACHED_IN))
        except (self._ray.exceptions.RayError, OSError):
            return False

    def _is_silent(self) -> bool:
        """Return whether the head has not answered for long. Tasks may go on without it."""
        now = time.monotonic()
        if now - self._asked < ASKED_EACH:
            return False
        self._asked = now
        try:
            _reach(self._head, 1)
        except OSError:
            return now - self._answered >= SILENT_FOR
        self._answered = now
        return False

    def _join_again(self, error: BaseException) -> None:
        """Wait for the cluster to come back, and join it.

        Raises
        ------
        UsageError
            If it does not.
        """
        until = time.monotonic() + BACK_WITHIN
        if self._own:
            with suppress(Exception):  # what is wrong with it is known already
                self._ray.shutdown()
        while self._own and not self._stopped.is_set():
            try:
                _join(self._ray, self._address, self._workers)
            except UsageError:
                if time.monotonic() >= until:
                    break
                self._stopped.wait(1)
            else:
                self._note_head()
                return
        words = harmless(" ".join(str(error).split()))[:200]
        waited = f" and did not come back within {BACK_WITHIN:.0f} seconds" if self._own else ""
        self._lost = UsageError(
            f"the Ray cluster went away{waited} ({type(error).__name__}: {words}): give the same "
            "command once it is back; with --checkpoint it goes on from the shards that were done.",
            slug="workers",
        )
        raise self._lost

    def stop(self) -> None:
        """Cancel what runs, and end what was started here."""
        self._stopped.set()
        with self._lock:
            if self._lost is None:
                for reference in tuple(self._running):
                    self._ray.cancel(reference, force=True)
            if self._own:
                self._ray.shutdown()


class _LostError(Exception):
    """A task was lost with the cluster, which has been joined again."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def _echo() -> bool:
    return True


def _join(ray: Any, address: str | None, workers: int | None) -> None:
    """Join a cluster, or start one on this machine with room for so many workers."""
    own: dict[str, Any] = {}
    if address is None:
        own["include_dashboard"] = False
        if workers is not None:
            own["num_cpus"] = max(workers, os.cpu_count() or 1)
    # Ray takes this signal over, and would let an interrupted run end as a failed one.
    before = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address, REACHED_IN)
        ray.init(address=address or "local", log_to_driver=False, logging_level=40, **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        text = harmless(" ".join(str(error).split()))[:200]
        raise UsageError(
            f"the Ray cluster cannot be joined: {text}; look at --ray-address.", slug="workers"
        ) from error
    finally:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, before)


def _reach(address: str | None, seconds: float) -> None:
    """Fail where nobody answers at ``host:port``: Ray would ask again and again."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
