"""What the options of `edgestyle train` mean, for every kind of training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import output

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.losses import LossConfig
    from edgestyle.training.any_painting import Paintings
    from edgestyle.training.photos import Photos

MANY_STEPS = 1_000_000
"""With --minutes alone, it is the time that ends a run."""


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of some options that were given."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def start(args: argparse.Namespace) -> Checkpoint | None:
    """The network of --from, if there is one."""
    from edgestyle import checkpoint

    return checkpoint.find(args.start) if args.start else None


def judge(args: argparse.Namespace) -> str:
    """What --perceptual names, as it is kept in the record: a file may lie elsewhere tomorrow."""
    known: bool = args.perceptual in ("student", "vgg19")
    return args.perceptual if known else Path(args.perceptual).name


def loss(args: argparse.Namespace) -> LossConfig:
    """What training minimises, as the command line has it."""
    from dataclasses import replace

    from edgestyle.training.loop import LOSS

    return replace(
        LOSS,
        style_weight=args.style_weight,
        **given(args, "stability_weight"),
        content_layers=tuple(args.content_layers.split(",")),
        preserve_color=args.preserve_color,
    )


def photos(args: argparse.Namespace, dark: float = 0.0) -> Photos:
    """The photos to learn on, so many of them darkened."""
    from edgestyle.training.photos import Photos

    return Photos.load(args.photos, dark=dark) if args.photos else Photos.samples(dark=dark)


def list_skipped(photos: Photos, paintings: Paintings) -> None:
    """Name the files that could not be read."""
    for line in (*paintings.skipped, *photos.skipped):
        output.note(f"skipped: {line}")
