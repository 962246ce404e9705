"""`edgestyle models`: the zoo."""

from __future__ import annotations

import argparse
from math import prod
from typing import TYPE_CHECKING, Any

from edgestyle.cli import output

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.manifest import Style

EPILOG = """\
examples:
  edgestyle models
  edgestyle models --json

The names are what --model takes. It also takes the folder of a checkpoint of your own.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="the networks that come with edgestyle",
        description="List the networks that come with edgestyle: paintings, sizes and measured numbers.",
        epilog=EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the zoo."""
    from edgestyle.checkpoint import zoo

    models = zoo()
    if args.json:
        output.print_json({"models": [_as_json(model) for model in models]})
    elif models:
        columns = ("name", "family", "paintings", "parameters", "bytes", "measured")
        output.table(columns, map(_as_row, models), right=("parameters", "bytes"))
    else:
        output.say("The zoo is empty.")
    return 0


def _as_json(model: Checkpoint) -> dict[str, Any]:
    return {
        "name": model.name,
        "family": model.config.family,
        "styles": [style.name for style in model.config.styles],
        "params": _parameters(model),
        "bytes": model.weights.stat().st_size,
    }


def _as_row(model: Checkpoint) -> tuple[str, ...]:
    return (
        model.name,
        model.config.family,
        "\n".join(_paintings(model)),
        f"{_parameters(model):,}",
        f"{model.weights.stat().st_size:,}",
        _measured(model),
    )


def _paintings(model: Checkpoint) -> list[str]:
    """What a network has learned; of several with the names by which --style-weights calls them."""
    styles = model.config.styles
    if len(styles) == 1:
        return [_painting(styles[0])]
    return [f"{style.name}: {_painting(style)}" for style in styles]


def _parameters(model: Checkpoint) -> int:
    return sum(prod(shape) for shape in model.parameter_shapes().values())


def _painting(style: Style) -> str:
    """Title, artist and year, as far as they are known."""
    return ", ".join(part for part in (style.title, style.artist, style.year) if part)


def _measured(model: Checkpoint) -> str:
    """The numbers at the top of the network's measurements, three at most."""
    import json

    from edgestyle import checkpoint

    path = model.folder / checkpoint.MEASURED
    if not path.is_file():
        return ""
    numbers = {key: value for key, value in json.loads(path.read_bytes()).items() if isinstance(value, int | float)}
    return ", ".join(f"{key} {value:g}" for key, value in list(numbers.items())[:3])
