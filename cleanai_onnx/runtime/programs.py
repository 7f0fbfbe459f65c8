"""Compiled programs kept whole on disk: a later process neither traces, lowers nor compiles them.

JAX's own cache finds a program by its text, for which the function must be traced and lowered
first, in Python; that takes several times as long as loading what was compiled. Here a program is
found by everything that its text follows from: what the caller says of it, the shapes of its
arguments, this package's code, the versions of JAX and numpy, JAX's settings, and the processor.

Only for the CPU, and where the folder of `use_compilation_cache` is in use: a file in it is as
trusted as the machine code that JAX itself keeps there.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import threading
import uuid
import zlib
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cleanai_onnx.runtime.compilation import compiled

if TYPE_CHECKING:
    import jax

__all__ = [
    "Found",
    "KeptFunction",
    "find_program",
    "is_kept",
    "keep_program",
    "named_anew",
    "program_key",
]

_ROOMS = ("coverage", "graph", "lowering", "relevance", "runtime")
"""The code that is traced."""
_DIGEST = 32
"""Bytes of the SHA-256 before the content of a file."""
_OF_THE_PROCESSOR = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),
)


class Found(NamedTuple):
    """A program that was kept, and what was kept with it."""

    program: Callable[..., Any]
    facts: Any


class KeptFunction:
    """A function compiled as by `compiled`, whose programs are kept on disk.

    Arguments by position are arrays, or trees of them; those by name are static.

    Parameters
    ----------
    function, platform, wide
        As for `compiled`.
    identity
        All that the function depends on besides its arguments and the code of this package.
    **options
        Further ones of ``jax.jit``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        platform: str,
        identity: str,
        *,
        wide: bool = False,
        **options: Any,
    ) -> None:
        self._function, self._platform, self._wide = function, platform, wide
        self._options, self._identity = options, identity
        self._programs: dict[Hashable, Callable[..., Any]] = {}
        self._making: dict[Hashable, threading.Lock] = {}

    def __call__(self, *arguments: Any, **static: Hashable) -> Any:
        """Call the program for arguments of these shapes; find or compile it first."""
        signature = _signature(arguments, static)
        program = self._programs.get(signature)
        if program is None:
            with self._making.setdefault(signature, threading.Lock()):
                program = self._programs.get(signature)
                if program is None:
                    program = self._program(signature, arguments, static)
                    self._programs[signature] = program
        return program(*arguments)

    def _program(
        self, signature: Hashable, arguments: tuple[Any, ...], static: Mapping[str, Hashable]
    ) -> Callable[..., Any]:
        name = getattr(self._function, "__qualname__", "")
        made = name, self._identity, self._wide, sorted(self._options.items())
        key = program_key(self._platform, *made, signature)
        found = find_program(key)
        if found is not None:
            return found.program
        function = self._function if key is None else named_anew(self._function)
        jitted = compiled(function, self._platform, wide=self._wide, **self._options)
        program = jitted.lower(*arguments, **static).compile()
        keep_program(key, program)
        return program


def _signature(arguments: tuple[Any, ...], static: Mapping[str, Hashable]) -> Hashable:
    import jax

    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return tree, shapes, tuple(sorted(static.items())), getattr(jax.config, "jax_enable_x64", None)


def program_key(platform: str, *parts: Any) -> str | None:
    """Return the name by which a program is found.

    Parameters
    ----------
    platform
        What it runs on: ``"cpu"``, ``"gpu"``, …
    *parts
        What the program depends on; their `repr` must say all of it, in the same way in each
        process.

    Returns
    -------
    str or None
        None where programs are not kept.
    """
    surroundings = _surroundings() if platform == "cpu" else None
    if surroundings is None:
        return None
    text = repr((surroundings, _settings(), parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def named_anew(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function under a name that no other has.

    JAX's own cache then never has its program. What that loads could not be kept: XLA serialises
    whole only what it has compiled itself, and says so when the program is run.
    """

    @wraps(function)
    def named(*arguments: Any, **static: Any) -> Any:
        return function(*arguments, **static)

    named.__name__ = f"{function.__name__}_{uuid.uuid4().hex}"
    return named


def find_program(key: str | None) -> Found | None:
    """Return what was kept by `key`; None if there is nothing, or if it is damaged."""
    folder = _folder()
    if key is None or folder is None:
        return None
    try:
        content = _path(folder, key).read_bytes()
    except OSError:
        return None
    digest, packed = content[:_DIGEST], content[_DIGEST:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    from jax.errors import JaxRuntimeError
    from jax.experimental.serialize_executable import deserialize_and_load

    (data, taken, given), facts = pickle.loads(zlib.decompress(packed))
    try:
        return Found(deserialize_and_load(data, taken, given, "cpu"), facts)
    except JaxRuntimeError:
        return None  # XLA finds that it does not fit this machine


def is_kept(key: str | None) -> bool:
    """Say whether something was kept by `key`."""
    folder = _folder()
    return key is not None and folder is not None and _path(folder, key).is_file()


def keep_program(key: str | None, program: jax.stages.Compiled, facts: Any = None) -> None:
    """Keep a compiled program, and facts that go with it, by `key`.

    It must be of a function `named_anew`. What cannot be kept is compiled again by the next
    process: a program that JAX does not serialise, or one for which the disk has no room.
    """
    folder = _folder()
    if key is None or folder is None:
        return
    from jax.errors import JaxRuntimeError
    from jax.experimental.serialize_executable import serialize

    try:
        stored = serialize(program)
    except (JaxRuntimeError, NotImplementedError, ValueError):
        return
    packed = zlib.compress(pickle.dumps((stored, facts)), 1)
    name = None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
            name = stream.name
            stream.write(hashlib.sha256(packed).digest() + packed)
        os.replace(name, _path(folder, key))
    except OSError:
        if name is not None:
            with suppress(OSError):
                os.remove(name)


def _folder() -> str | None:
    import jax

    folder: str | None = jax.config.values["jax_compilation_cache_dir"]
    return folder


def _path(folder: str, key: str) -> Path:
    return Path(folder) / f"{key}-program"


def _settings() -> str:
    """Return JAX's settings, but for where its cache is."""
    import jax

    values = jax.config.values.items()
    return repr(sorted((name, repr(x)) for name, x in values if "cache" not in name))


@cache
def _surroundings() -> str | None:
    """Return what all programs depend on; None where it cannot be told."""
    import jax
    import numpy as np
    from jaxlib import version

    if len(jax.devices("cpu")) != 1:
        return None  # a program is kept for one device, and another may be asked for
    processor, code = _processor(), _code()
    if processor is None or code is None:
        return None
    flags = os.environ.get("XLA_FLAGS", "")
    return repr((jax.__version__, version.__version__, np.__version__, flags, processor, code))


def _processor() -> str | None:
    """Return what decides which instructions the processor has, where Linux tells."""
    found = []
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if not line.strip():
                    break
                if name.strip() in _OF_THE_PROCESSOR:
                    found.append(value.strip())
    except OSError:
        return None
    return repr(found) if found else None


def _code() -> str | None:
    """Return the hash of the code that is traced; None where it does not lie in files."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    files = [file for room in _ROOMS for file in sorted((package / room).rglob("*.py"))]
    try:
        for file in files:
            digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest() if files else None
