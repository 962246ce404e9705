"""`edgestyle specialize`: one painting, or one blend, out of a network of several."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgestyle.cli import output
from edgestyle.errors import UsageError

EPILOG = """\
examples:
  edgestyle specialize runs/many great_wave
  edgestyle specialize runs/many great_wave=2,the_scream=1 --out runs/blend
  edgestyle export --model runs/blend --target all

The style is folded into the network's biases: exact, and the result costs no more than a network of one painting.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "specialize",
        help="one painting, or one blend, out of a network of several",
        description="Make a network of one painting, or of one blend, out of a network of several.",
        epilog=EPILOG,
    )
    parser.add_argument("model", metavar="MODEL", help="a zoo name, or a checkpoint folder")
    parser.add_argument(
        "style", metavar="STYLE", help="a painting's name, or several with weights: great_wave=2,the_scream=1"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the checkpoint goes; default: MODEL-STYLE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fold the style in and write the checkpoint."""
    from dataclasses import asdict

    from edgestyle import blending, checkpoint

    found = checkpoint.find(args.model)
    config, net = found.config, found.network()
    if net.config.styles == 1:
        raise UsageError(f"{found.name} is of one painting already; it can be exported as it is")
    weights = blending.parse(args.style, config.styles)
    style = blending.describe(weights, config.styles)
    out = args.out or Path(f"{found.name}-{style.name}")
    single = net.specialized(weights)
    about = config.model_copy(
        update={
            "name": out.resolve().name,
            "network": asdict(single.config),
            "styles": (style,),
            "training": {**config.training, "specialized": {"from": found.sha256(), "weights": weights}},
        }
    )
    checkpoint.write(out, about, single)
    output.say(f"{out}  {style.title}")
    output.say(f"\nnext:\n  edgestyle stylize photo.jpg --model {out} -o out.png")
    output.say(f"  edgestyle export --model {out} --target all")
    return 0
