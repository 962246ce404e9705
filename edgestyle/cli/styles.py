"""The options by which a user says what to paint by, shared by the commands that paint or fold paintings in."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestyle.errors import UsageError


def add(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add `--style`, `--style-weights` and `--strength`.

    Returns:
        Their group, for further options.
    """
    group = parser.add_argument_group("style", "for networks that paint by any painting, or have learned several")
    group.add_argument(
        "--style", type=Path, action="append", default=[], metavar="PAINTING", help="any picture; may be given again"
    )
    group.add_argument(
        "--style-weights",
        default="",
        metavar="W,W",
        help="how much of each --style (2,1), or of each painting that the network has learned (wave=2,scream=1)",
    )
    group.add_argument(
        "--strength", type=float, metavar="S", help="from 0, the photo, to 1 (default), the style in full"
    )
    return group


def numbers(text: str) -> tuple[float, ...]:
    """The weights of several --style.

    Raises:
        UsageError: They are no numbers.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"--style-weights '{text}' is not a list of numbers; write them as in 2,1") from None
