"""Say which models of a Triton model repository may be deployed.

    python examples/deployment_check.py model_repository images/ --output checks/

A repository has a folder for each model: ``NAME/config.pbtxt``, and ``NAME/1/model.onnx`` with a
number for each version. For the newest version of each ONNX model this checks that its inputs and
outputs are as the configuration says, and that the images exercise it as the gates demand. It
writes a stored result and a JUnit file for each model, and ends with 1 if one may not be deployed.

How images become inputs is the client's business in Triton, so the configuration says it for this
check: ``parameters { key: "cleanai.preset" value { string_value: "imagenet" } }``.
"""

import argparse
import re
import sys
from pathlib import Path

import cleanai_onnx
from cleanai_onnx import report

GATES = "nc=12%,skipped-images=0"


def main() -> int:
    """Check every model, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check the models of a Triton model repository.")
    parser.add_argument("repository", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--gates", default=GATES, help=f"limits (default: {GATES})")
    parser.add_argument("--output", type=Path, default=Path("checks"))
    arguments = parser.parse_args()
    models = newest_models(arguments.repository)
    if not models:
        print(f"{arguments.repository} has no NAME/VERSION/model.onnx.", file=sys.stderr)
        return 2
    refused = 0
    for name, model in models.items():
        problems = check(name, model, arguments)
        print(f"{name}, version {model.parent.name}: {'REFUSED' if problems else 'ok'}")
        for problem in problems:
            print(f"  {problem}")
        refused += bool(problems)
    return 1 if refused else 0


def newest_models(repository: Path) -> dict[str, Path]:
    """Return the newest version of each ONNX model, as Triton's default policy serves it."""
    found: dict[str, Path] = {}
    for path in sorted(repository.glob("*/*/model.onnx"), key=lambda one: one.parent.name.zfill(9)):
        if path.parent.name.isdecimal():
            found[path.parent.parent.name] = path
    return dict(sorted(found.items()))


def check(name: str, model: Path, arguments: argparse.Namespace) -> list[str]:
    """Return what speaks against a model, and write what was measured."""
    config = (model.parent.parent / "config.pbtxt").read_text(encoding="utf-8")
    preset = re.search(r'"cleanai\.preset"\s*value:?\s*\{\s*string_value:\s*"([^"]+)"', config)
    try:
        result = cleanai_onnx.analyze(
            model, arguments.images, preset=preset and preset[1], relevance=False
        ).judged(arguments.gates)
    except cleanai_onnx.CleanAIError as error:
        return [f"{error} [{error.slug}]"]
    result.to_json(arguments.output / f"{name}.json")
    report.write(result, "junit", arguments.output / f"{name}.junit.xml")
    return [
        *disagreements("input", section(config, "input"), result.model.inputs),
        *disagreements("output", section(config, "output"), result.model.outputs),
        *(outcome.text for outcome in result.gates if not outcome.passed),
    ]


def section(config: str, kind: str) -> dict[str, tuple[int, ...]]:
    """Return name and dimensions of the inputs or outputs in a configuration's text."""
    found = {}
    for block in re.findall(rf"\b{kind}\s*:?\s*\[(.*?)\n\]", config, re.DOTALL):
        for entry in re.findall(r"\{(.*?)\}", block, re.DOTALL):
            name = re.search(r'name:\s*"([^"]*)"', entry)
            dims = re.search(r"dims:\s*\[([^\]]*)\]", entry)
            if name and dims:
                found[name[1]] = tuple(int(size) for size in dims[1].split(","))
    return found


def disagreements(kind, configured, tensors) -> list[str]:
    """Say where the configuration promises other tensors than the model has."""
    problems = []
    for tensor in tensors:
        dims = configured.get(tensor.name)
        if dims is None:
            problems.append(f"config.pbtxt has no {kind} {tensor.name!r}")
            continue
        has = tensor.shape[len(tensor.shape) - len(dims) :]  # Triton leaves the batch axis out
        if len(has) != len(dims) or any(
            isinstance(size, int) and -1 != size != dim
            for size, dim in zip(has, dims, strict=True)
            if dim != -1
        ):
            problems.append(f"{kind} {tensor.name!r} is {list(dims)} in config.pbtxt, {list(has)} "
                            "in the model")  # fmt: skip
    return problems


if __name__ == "__main__":
    sys.exit(main())
