"""`edgestyle train`: a painting becomes a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import output

if TYPE_CHECKING:
    from edgestyle.checkpoint import CheckpointConfig
    from edgestyle.training.loop import Run, TrainConfig
    from edgestyle.training.photos import Photos

EPILOG = """\
examples:
  edgestyle train --style painting.jpg --photos photos/ --out runs/mine
  edgestyle train --style painting.jpg --photos photos/ --out runs/bold --style-weight 3 --style-size 384
  edgestyle stylize photo.jpg --model runs/mine

The same command again goes on where it stopped; Ctrl-C saves first. The checkpoint in --out can be used at any time.

Training compares pictures by the features of VGG-19. Its weights are not part of edgestyle: give an .npz file with
conv1_1.weight, conv1_1.bias, ... to conv3_4 (the original Caffe weights) by --vgg, or set EDGESTYLE_DATA to a folder
that holds weights/vgg19_conv1_1-conv3_4_fp16.npz.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="a painting and a folder of photos to a network of your own",
        description="Train a feed-forward network to paint photos in the style of one painting.",
        epilog=EPILOG,
    )
    parser.add_argument("--style", type=Path, required=True, metavar="FILE", help="the painting")
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="FOLDER", help="photos to learn on, better hundreds"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the checkpoint goes")
    parser.add_argument("--title", default="", help="of the painting; default: the name of its file")
    parser.add_argument("--artist", default="", help="of the painting")
    parser.add_argument("--year", default="", help="of the painting")
    parser.add_argument("--licence", default="unstated", help="of the weights, and what the training photos allow")
    parser.add_argument("--vgg", type=Path, metavar="FILE", help="VGG-19 weights, see below")
    group = parser.add_argument_group("settings", "the defaults do for most paintings")
    group.add_argument("--steps", type=int, default=12_000, help="batches to learn from; default 12000")
    group.add_argument("--batch", type=int, default=2, help="photos in a batch; default 2")
    group.add_argument("--crop", type=int, default=256, help="side of the training crops in pixels; default 256")
    group.add_argument("--style-weight", type=float, default=1.0, help="style against content; default 1")
    group.add_argument(
        "--style-size", type=int, default=512, help="short side of the painting: stroke size; default 512"
    )
    group.add_argument("--learning-rate", type=float, default=1.2e-3, help="default 0.0012")
    group.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, or go on training."""
    from edgestyle import checkpoint
    from edgestyle.files import make_folder
    from edgestyle.losses import PerceptualLoss
    from edgestyle.perceptual import VGG19, find_vgg_weights
    from edgestyle.training.loop import STATE, Run, TrainConfig, train
    from edgestyle.training.photos import Photos, load_painting

    config = TrainConfig(
        steps=args.steps,
        batch=args.batch,
        crop=args.crop,
        style_weight=args.style_weight,
        learning_rate=args.learning_rate,
        seed=args.seed,
    )
    weights = find_vgg_weights(args.vgg)
    painting = load_painting(args.style, args.style_size)
    make_folder(args.out)
    photos = Photos.load(args.photos)
    for line in photos.skipped:
        output.note(f"skipped: {line}")
    if (args.out / STATE).exists():
        current = Run.resume(args.out, config)
        output.note(f"going on from step {current.step}")
    else:
        current = Run(config)
        current.initialise(photos)

    def save() -> None:
        current.save(args.out)
        checkpoint.write(args.out, _describe(args, current, photos), current.result())

    loss = PerceptualLoss(VGG19(weights), painting)
    with output.steps("training", config.steps) as update:
        try:
            train(
                current, photos, loss, save, lambda p: update(p.step, f"content {p.content:.3f}  style {p.style:.3f}")
            )
        except KeyboardInterrupt:
            output.note(f"stopped at step {current.step} and saved; the same command goes on from there")
            raise
    output.say(f"{args.out}")
    output.say(f"\nnext:\n  edgestyle stylize photo.jpg --model {args.out} -o out.png")
    return 0


def _describe(args: argparse.Namespace, current: Run, photos: Photos) -> CheckpointConfig:
    """The checkpoint's configuration: what was learned, and from what."""
    import platform
    from dataclasses import asdict

    import torch

    from edgestyle.checkpoint import CheckpointConfig
    from edgestyle.files import sha256
    from edgestyle.manifest import Style

    config: TrainConfig = current.config
    settings = {key: value for key, value in asdict(config).items() if key not in ("network", "steps")}
    style = Style(name=args.style.stem, title=args.title or args.style.stem, artist=args.artist, year=args.year)
    return CheckpointConfig(
        name=args.out.resolve().name,
        family="feedforward",
        network=asdict(config.network),
        styles=(style,),
        training={
            **settings,
            "steps": current.step,
            "style_size": args.style_size,
            "painting_sha256": sha256(args.style),
            "photos": len(photos.pictures),
            "minutes": round(current.seconds / 60, 1),
            "machine": f"{platform.machine()} CPU, {torch.get_num_threads()} threads, torch {torch.__version__}",
        },
        licence=args.licence,
    )
