"""What the figures of a run depend on, by what a user calls it: the same identity, the same run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from cleanai_onnx._version import __version__
from cleanai_onnx.inputs import Suite
from cleanai_onnx.profiles import Profile
from cleanai_onnx.profiles.storage import digest
from cleanai_onnx.provenance import versions
from cleanai_onnx.result import PreprocessingField

__all__ = ["identity_of"]


def identity_of(
    model_sha256: str,
    options: Mapping[str, Any],
    preprocessing: Sequence[PreprocessingField],
    profile: Profile | None,
    suite: Suite,
) -> dict[str, str]:
    """Return the identity of a run.

    Parameters
    ----------
    model_sha256
    options
        By name, without dashes before it.
    preprocessing, profile, suite
        What was made of the options. Of image files, names, lengths and times of change count.
    """
    found: dict[str, Any] = {
        "the model (SHA-256)": model_sha256,
        "the number of images": len(suite),
        "the images (a hash of their names, lengths and times)": _fingerprint(suite),
        "the version of cleanai-onnx": __version__,
    }
    found |= {f"the version of {package}": version for package, version in versions().items()}
    found |= {f"--{name.replace(' ', '-').replace('_', '-')}": v for name, v in options.items()}
    found |= {f"preprocessing: {one.name}": one.value for one in preprocessing}
    found["--profile"] = "none" if profile is None else digest(profile)
    return {what: str(value) for what, value in found.items()}


def _fingerprint(suite: Suite) -> str:
    hashed = hashlib.sha256()
    if suite.kind != "files":
        # Of arrays all that is known is what is in them; a part says whether the file is the same.
        hashed.update(repr(list(suite.rows)).encode())
        for index in range(0, len(suite), max(1, len(suite) // 64)):
            hashed.update(suite.row(index).tobytes())
        return hashed.hexdigest()
    for index, name in enumerate(suite.files):
        hashed.update(name.encode("utf-8", "surrogatepass"))
        try:
            status = os.stat(suite.path(index))
        except OSError:  # it will be skipped
            continue
        hashed.update(b"\0%d %d\n" % (status.st_size, status.st_mtime_ns))
    return hashed.hexdigest()
