"""`edgestyle train --family adain`: a pair of networks that paints by any painting."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgestyle.cli import fine_tune, output, train_options


def run(args: argparse.Namespace) -> int:
    """Train a pair of networks of the adain family, or go on training, on the CPU."""
    from edgestyle import checkpoint, images, perceptual
    from edgestyle.files import make_folder
    from edgestyle.training import state
    from edgestyle.training.any_painting import AnyPaintingConfig, AnyPaintingRun, Paintings, describe, train

    if args.qat:
        return fine_tune.run_pair(args)
    found = checkpoint.find(args.start) if args.start else None
    config = AnyPaintingConfig(
        perceptual=train_options.judge(args),
        start=found.sha256() if found else "",
        steps=args.steps or (train_options.MANY_STEPS if args.minutes else 20_000),
        style_size=args.style_size,
        style_weight=args.style_weight,
        learning_rate=args.learning_rate or AnyPaintingConfig.learning_rate,
        seed=args.seed,
        **train_options.given(args, "batch", "crop", "stability_weight"),
    )
    out = args.out or Path("runs") / "adain"
    with output.download() as fetched:
        network = perceptual.load(args.perceptual, fetched)
    paintings = Paintings(images.find(args.style), network, config.style_size)
    photos = train_options.photos(args)
    train_options.list_skipped(photos, paintings)
    make_folder(out)
    there = (out / state.STATE).exists()
    current = AnyPaintingRun.resume(out, config) if there else AnyPaintingRun(config, found.pair() if found else None)

    def save() -> None:
        current.save(out)
        about = describe(current, out.resolve().name, len(photos.pictures), len(paintings), args.licence)
        checkpoint.write(out, about, current.result())

    with output.steps("training", config.steps) as update:
        train(
            current,
            photos,
            paintings,
            network,
            save,
            lambda step, means: update(step, f"content {means['content']:.3f}  style {means['style']:.3f}"),
            seconds=60 * args.minutes if args.minutes else float("inf"),
        )
    output.say(f"{out}  {current.step} steps  {current.seconds / 60:.1f} minutes")
    output.say(f"\nnext:\n  edgestyle stylize photo.jpg --model {out} --style painting.jpg -o out.png")
    return 0
