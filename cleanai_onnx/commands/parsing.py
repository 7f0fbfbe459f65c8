"""What the parsers of the commands share: the table of options as flags, and its values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from cleanai_onnx import config
from cleanai_onnx.errors import UsageError

if TYPE_CHECKING:
    from cleanai_onnx.coverage import Parameters

__all__ = [
    "Parser",
    "add_general",
    "add_groups",
    "add_images",
    "add_model_and_images",
    "add_options",
    "checkpoint_options",
    "image_options",
    "metric_parameters",
    "settings_of",
    "taken_but",
    "worker_options",
]

GROUPS: dict[config.Group, str] = {
    "output": "output",
    "model": "model",
    "images": "images",
    "preprocessing": "preprocessing (command line > file > beside the model > model > preset)",
    "metrics": "metrics",
    "gates": "gates",
    "run": "run",
}
REPEATED = frozenset({"also", "hypotheses", "input-value", "input-shape", "layer", "report"})
"""Options whose flag may be given several times."""
VALUE_MAY_BE_MISSING = frozenset({"attest"})


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the whole usage before it; flags are whole."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(allow_abbrev=False, **keywords)

    def error(self, message: str) -> NoReturn:
        """Raise the sentence as a UsageError: `main` shows it and ends with its exit code."""
        raise UsageError(f"{message}; see {self.prog} --help.")


def add_model_and_images(parser: argparse.ArgumentParser) -> None:
    """Add the model, the images, and what every command that takes options has."""
    parser.add_argument("model", help="the ONNX file")
    add_images(parser)
    add_general(parser)


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the images."""
    parser.add_argument(
        "images",
        nargs="+",
        help="a folder of images, an image, a glob pattern, a .txt file that lists such, a .npy or "
        ".npz file, a .zip or .tar archive, a .parquet file, a saved dataset, or a URL of these",
    )


def add_general(parser: argparse.ArgumentParser) -> None:
    """Add what every command that takes options has."""
    parser.add_argument("--config", metavar="FILE", help="a configuration file (TOML)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def add_groups(parser: argparse.ArgumentParser, taken: Callable[[config.Option], bool]) -> None:
    """Add the options of the analysis that a command takes, under their headings."""
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for option in filter(taken, config.OPTIONS):
        add_options(groups[option.group], (option,))


def taken_but(names: Collection[str]) -> Callable[[config.Option], bool]:
    """Return what `add_groups` takes of a command that judges no metrics, without `names`."""
    return lambda one: one.group not in ("metrics", "gates") and one.name not in names


def add_options(group: Any, options: Iterable[config.Option]) -> None:
    """Add options to a parser or a group of it."""
    # Every default is None, so that the environment and the file can speak where the user did not.
    for option in options:
        told = option.help.replace("%", "%%")  # argparse would fill it in
        keywords: dict[str, Any] = {"help": told, "default": None, "dest": option.name}
        if option.metavar is None:
            keywords |= {"action": "store_const", "const": True}
        elif option.name in REPEATED:
            keywords |= {"action": "append", "metavar": option.metavar}
        elif option.name in VALUE_MAY_BE_MISSING:
            keywords |= {"nargs": "?", "const": True, "metavar": option.metavar}
        else:
            keywords["metavar"] = option.metavar
            if option.many > 1:
                keywords["nargs"] = option.many
        group.add_argument(f"--{option.name}", **keywords)


def settings_of(arguments: argparse.Namespace, *tables: Iterable[config.Option]) -> config.Settings:
    """Return the value of every option, with what the command line says of those in `tables`."""
    names = {option.name for table in tables for option in table}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return config.gather(given, file=arguments.config)


def image_options(settings: config.Settings) -> dict[str, Any]:
    """Return what says which images there are and how they become inputs."""
    preprocessing = settings.given("preprocessing", files=False)
    file = preprocessing.pop("preprocessing", None)
    preset = preprocessing.pop("preset", None)
    from_files = settings.given("preprocessing", files=True)
    file = from_files.pop("preprocessing", None) if file is None else file
    return {
        "input_name": settings["input"],
        "input_values": settings["input-value"],
        "preset": preset,
        "preprocessing": preprocessing,
        "preprocessing_file": file,
        "preprocessing_config": from_files,
        "device": settings["device"],
        "batch_size": settings["batch-size"],
        "threads": settings["threads"],
        "limit": settings["limit"],
        "seed": settings["seed"],
        "strict": settings["strict"],
    }


def checkpoint_options(settings: config.Settings) -> dict[str, Any]:
    """Return what says where a run is kept from which it goes on.

    Raises
    ------
    UsageError
        If it is said how often, and not where.
    """
    from cleanai_onnx.states.checkpoint import Every

    every = settings["checkpoint-every"]
    if every is not None and settings["checkpoint"] is None:
        raise UsageError(
            "--checkpoint-every needs --checkpoint, which names the folder.", slug="checkpoint"
        )
    return {
        "checkpoint": settings["checkpoint"],
        "checkpoint_every": None if every is None else Every(*every),
    }


def worker_options(settings: config.Settings) -> dict[str, Any]:
    """Return what says how the images are spread over workers."""
    return {
        "workers": settings["workers"],
        "engine": settings["engine"],
        "ray_address": settings["ray-address"],
        "allow_partial": settings["allow-partial"],
    }


def metric_parameters(settings: config.Settings) -> Parameters:
    """Return the parameters of the metrics that need no profile."""
    from cleanai_onnx.coverage import Parameters

    return Parameters(
        threshold=settings["threshold"],
        value_threshold=settings["value-threshold"],
        top_k=settings["top-k"],
        intervals=settings["intervals"],
        bounds_from=settings["bounds-from"],
        cleanai_compat=settings["cleanai-compat"],
    )
