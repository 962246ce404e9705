"""The part of `edgestyle stylize` that needs no network: `--method optimize`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgestyle.cli import output
from edgestyle.errors import UsageError

if TYPE_CHECKING:
    from edgestyle.optimize import Step
    from edgestyle.stylize import Painter

SIZE = 512
"""Long side in pixels that a photo is optimised at where no --size is given."""
VARIATION = 3.0
"""What total variation counts: as in training."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add `--method` and what goes with it."""
    group = parser.add_argument_group("optimization", "the reference, minutes a photo; with --style")
    group.add_argument("--method", default="network", choices=("network", "optimize"), help="default network")
    group.add_argument("--iterations", type=int, default=300, metavar="N", help="of L-BFGS; default 300")
    group.add_argument("--style-weight", type=float, default=1.0, help="style against content (beta/alpha); default 1")
    group.add_argument("--style-size", type=int, default=512, help="short side of the painting: stroke size")
    group.add_argument("--content-layers", default="relu3_3", metavar="A,B", help="of VGG-19; default relu3_3")
    group.add_argument(
        "--perceptual", default="student", metavar="student|vgg19|FILE", help="what compares pictures; default student"
    )


def name(args: argparse.Namespace) -> str:
    """What pictures are called after.

    Raises:
        UsageError: The painting is missing, or something came that only networks take.
    """
    if len(args.style) != 1:
        raise UsageError(f"--method optimize takes one --style PAINTING, not {len(args.style)}")
    for option in ("model", "delegate", "strength", "mask", "style_weights"):
        if getattr(args, option):
            raise UsageError(f"--{option.replace('_', '-')} is for networks; leave it out with --method optimize")
    painting: str = args.style[0].stem
    return painting


def painter(args: argparse.Namespace) -> Painter:
    """Gatys' method as a painter; sets the size of photos where none was asked for."""
    from edgestyle import perceptual
    from edgestyle.losses import LossConfig
    from edgestyle.optimize import OptimizeConfig, OptimizingPainter
    from edgestyle.training.photos import load_painting

    args.size = args.size or SIZE
    loss = LossConfig(
        style_weight=args.style_weight,
        content_layers=tuple(args.content_layers.split(",")),
        variation_weight=VARIATION,
        preserve_color=args.preserve_color or "no",
    )
    config = OptimizeConfig(loss, args.iterations)
    painting = load_painting(args.style[0], args.style_size)
    with output.download() as fetched:
        network = perceptual.load(args.perceptual, fetched)
    return OptimizingPainter(name(args), painting, network, config, _tell(config.iterations))


def _tell(of: int) -> Callable[[Step], None]:
    """Says how far an optimisation is: a line each time."""
    began = time.monotonic()

    def tell(step: Step) -> None:
        left = (time.monotonic() - began) * (of - step.iteration) / step.iteration / 60
        losses = f"content {step.content:.3f}  style {step.style:.3f}"
        output.note(f"optimizing {step.iteration}/{of}  {losses}{f'  {left:.0f} min left' if left >= 1 else ''}")

    return tell
