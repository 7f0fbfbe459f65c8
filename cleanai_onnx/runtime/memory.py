"""How much memory there is: of the machine, within the limits of a container."""

from __future__ import annotations

from pathlib import Path

__all__ = ["available_memory"]

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Return how many bytes can still be allocated without swapping.

    The smaller of what the system calls available and what is left of the control group's limit
    (version 2, as containers use it).
    """
    import psutil

    available = int(psutil.virtual_memory().available)
    left = _left_in_cgroup()
    return available if left is None else min(available, left)


def _left_in_cgroup() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = (_CGROUP / "memory.current").read_text(encoding="ascii").strip()
        return None if limit == "max" else max(int(limit) - int(used), 0)
    except (OSError, ValueError):
        # No control group, or not one of version 2: nothing limits this process.
        return None
