"""The options by which a user says what to paint by, shared by the commands that paint or fold paintings in."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from edgestyle.errors import UsageError

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.manifest import Style
    from edgestyle.styling import Code


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


def painting(args: argparse.Namespace, found: Checkpoint) -> tuple[Style | None, Code | None]:
    """The painting, or the blend, that is to be folded in, and its code; twice None where there is none.

    Raises:
        UsageError: The network takes none, or what is asked for makes no sense.
    """
    import numpy as np

    from edgestyle import blending, parts
    from edgestyle.styling import Styling

    if args.style_weights and not args.style and len(found.config.styles) > 1:
        weights = blending.parse(args.style_weights, found.config.styles)
        return blending.describe(weights, found.config.styles), np.array([weights], np.float32)
    if not args.style:
        if args.style_weights or args.strength is not None:
            raise UsageError("--style-weights and --strength need a --style PAINTING")
        return None, None
    strength = 1.0 if args.strength is None else args.strength
    return parts.painting(found, Styling(tuple(args.style), numbers(args.style_weights), strength))


def again(args: argparse.Namespace) -> str:
    """The options as they were given, for a command to go on with."""
    given = [f" --style {shlex.quote(str(path))}" for path in args.style]
    given += [f" --style-weights {shlex.quote(args.style_weights)}"] if args.style_weights else []
    given += [f" --strength {args.strength:g}"] if args.strength is not None else []
    return "".join(given)


def numbers(text: str) -> tuple[float, ...]:
    """The weights of several --style.

    Raises:
        UsageError: They are no numbers.
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"--style-weights '{text}' is not a list of numbers; write them as in 2,1") from None
