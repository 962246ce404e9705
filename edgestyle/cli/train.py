"""`edgestyle train`: paintings become a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import fine_tune, output, train_any, train_options
from edgestyle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_fabric import Fabric

    from edgestyle.checkpoint import Checkpoint
    from edgestyle.conditional import Conditional
    from edgestyle.learned import Learned
    from edgestyle.manifest import Style
    from edgestyle.precision import Precision
    from edgestyle.training.loop import Progress, Run, TrainConfig
    from edgestyle.training.photos import Photos

EPILOG = """\
examples:
  edgestyle train --style painting.jpg --photos photos/ --out runs/mine
  edgestyle train --style painting.jpg --from adain --minutes 10           # a style of your own from a trained network
  edgestyle train --style a.jpg --style b.jpg --photos photos/             # two paintings in one network, and blends
  edgestyle train --style painting.jpg --photos photos/ --style-weight 3 --style-size 384
  edgestyle train --style painting.jpg --photos photos/ --from runs/mine --qat --out runs/mine-int8
  edgestyle train --family adain --style paintings/ --photos photos/ --out runs/adain
  edgestyle train --family adain --style paintings/ --photos photos/ --from runs/adain --qat --out runs/adain-int8
  torchrun --nproc-per-node 2 -m edgestyle train --style painting.jpg --photos photos/ --out runs/mine

Nothing is downloaded: pictures are compared by a small network that comes with edgestyle (--perceptual student).
--perceptual vgg19 fetches VGG-19 once (575 MB); a file with VGG-19's weights is taken too (docs/training.md).

The same command again goes on where it stopped; Ctrl-C saves first. --out can be used as --model at any time, and
contact_sheet.jpg in it shows how far it is.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="a painting and a folder of photos to a network of your own",
        description="Train a network to paint photos in the style of one painting, of several, or of any.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "--style",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="a painting; again for each further one; with --family adain also folders of paintings, better hundreds",
    )
    parser.add_argument(
        "--family",
        choices=("feedforward", "conditional", "adain"),
        help="feedforward and conditional (instance norms) learn the paintings given, adain learns from many to paint "
        "by any; default: that of --from, conditional from a pair of the adain family; without --from feedforward for "
        "one painting, conditional for several",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photos to learn on, better hundreds; default: scikit-image's"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the checkpoint goes; default: runs/STYLE")
    parser.add_argument("--from", dest="start", metavar="MODEL", help="begin with a trained network, not from scratch")
    parser.add_argument(
        "--qat",
        action="store_true",
        help="fine-tune the network of --from so that its int8 file paints as it does (a few minutes)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="with --qat: the photos that exports will find their ranges on; default as in 'edgestyle export'",
    )
    parser.add_argument(
        "--perceptual", default="student", metavar="student|vgg19|FILE", help="what compares pictures; default student"
    )
    about = parser.add_argument_group("record", "kept in the checkpoint; for several paintings in the order of --style")
    about.add_argument("--title", action="append", default=[], help="of the painting; default: the name of its file")
    about.add_argument("--artist", action="append", default=[], help="of the painting")
    about.add_argument("--year", action="append", default=[], help="of the painting")
    about.add_argument("--licence", default="unstated", help="of the weights, and what the training photos allow")
    _add_settings(parser.add_argument_group("settings", "the defaults do for most paintings"))
    machine = parser.add_argument_group("machine")
    machine.add_argument("--accelerator", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default auto")
    machine.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "bf16", "fp32"),
        help="of convolutions; default auto, the faster of the two on this machine",
    )
    machine.add_argument("--preview-every", type=int, default=500, metavar="N", help="steps; default 500")
    machine.add_argument("--tensorboard", action="store_true", help="write curves into OUT/tensorboard")
    parser.set_defaults(run=run)


def _add_settings(group: Any) -> None:
    group.add_argument("--steps", type=int, help="batches to learn from; default 6000, or as many as --minutes allow")
    group.add_argument("--minutes", type=float, default=0, metavar="N", help="stop after so long; default: no limit")
    group.add_argument("--batch", type=int, help="photos in a batch; default 1, with --qat or adain 2")
    group.add_argument(
        "--crop",
        type=int,
        metavar="N",
        help="side of the training crops in pixels; default 512, with --qat 256, with adain 208",
    )
    group.add_argument("--style-weight", type=float, default=1.0, help="style against content (beta/alpha); default 1")
    group.add_argument(
        "--stability-weight",
        type=float,
        metavar="N",
        help="steadiness in video and in 8 bits, against nearness to the painting; default 0.004, with adain 0.002",
    )
    group.add_argument(
        "--style-size", type=int, default=512, help="short side of the painting: stroke size; default 512"
    )
    group.add_argument(
        "--content-layers",
        default="relu3_3",
        metavar="A,B",
        help="of VGG-19, where content is compared; default relu3_3",
    )
    group.add_argument(
        "--preserve-color",
        default="no",
        choices=("no", "luminance", "histogram"),
        help="keep the photo's colours: style luminance alone, or recolour the painting like each photo; default no",
    )
    group.add_argument("--learning-rate", type=float, help="default 0.0012, with --qat 0.001")
    group.add_argument(
        "--width",
        type=int,
        metavar="N",
        help="with --family adain --qat: keep the N channels at 1/4 of the size that matter most",
    )
    group.add_argument(
        "--trunk-width",
        type=int,
        metavar="N",
        help="with --from: keep the N channels at 1/8 of the size that matter most; 48 of 64 are a sixth faster",
    )
    group.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Train, or go on training, or fine-tune for int8."""
    _refuse_what_does_nothing(args)
    if args.family == "adain":
        return train_any.run(args)
    if args.qat:
        return fine_tune.run(args)
    from edgestyle import perceptual
    from edgestyle.files import make_folder
    from edgestyle.losses import PerceptualLoss
    from edgestyle.training import devices
    from edgestyle.training.loop import TrainConfig, train
    from edgestyle.training.photos import load_painting

    args.out = args.out or Path("runs") / args.style[0].stem
    styles, start = _styles(args), train_options.start(args)
    photos = train_options.photos(args, TrainConfig.dark)
    first_net = _first(args, start, photos)
    config = _config(args, start, first_net)
    paintings = [load_painting(path, config.style_size) for path in args.style]
    make_folder(args.out)
    fabric = devices.start(args.accelerator, config.precision)
    first: bool = fabric.is_global_zero
    with fabric.rank_zero_first(), output.download() as fetched:
        network = perceptual.load(args.perceptual, fetched).to(fabric.device)
    loss = PerceptualLoss(network, [painting.to(fabric.device) for painting in paintings], config.loss)
    current = _begin(args.out, config, first_net, photos, fabric)
    if first:
        _remark(photos, current)
    save, watch = _saver(args, current, styles, photos), _watcher(args, current)
    with output.steps("training", 1000) if first else output.silent() as update:
        try:
            train(current, photos, loss, save, lambda progress: watch(progress, update))
        except KeyboardInterrupt:
            if first:
                output.note(f"stopped at step {current.step} and saved; the same command goes on from there")
            raise
    if first:
        output.say(f"{args.out}  {current.step} steps  {current.seconds / 60:.1f} minutes")
        chosen = f" --style-weights {styles[0].name}" if len(styles) > 1 else ""
        output.say(f"\nnext:\n  edgestyle stylize photo.jpg --model {args.out}{chosen} -o out.png")
        output.say(f"  edgestyle export --model {args.out} --target all{chosen}")
    return 0


def _refuse_what_does_nothing(args: argparse.Namespace) -> None:
    """Refuse options that the kind of training asked for would ignore."""
    if args.width is not None and not (args.family == "adain" and args.qat):
        raise UsageError("--width goes with --family adain --qat, which cuts a narrower network out of that of --from")
    if args.trunk_width is not None and (args.start is None or args.qat or args.family == "adain"):
        raise UsageError("--trunk-width cuts a narrower network out of that of --from, which then goes on training")
    if args.family == "adain" and args.preserve_color != "no":
        raise UsageError("--preserve-color is for networks that learn their paintings, not --family adain")
    if args.family == "adain" and args.calibration:
        raise UsageError("--calibration is for networks that learn their paintings: --family adain has ranges for all")
    if args.calibration and not args.qat:
        raise UsageError("--calibration goes with --qat: only integers have ranges that are found on photos")
    if args.qat and args.minutes:
        raise UsageError("--minutes is for training; --qat takes --steps, which say how fast its learning rate falls")
    if args.qat and args.stability_weight is not None and (args.family == "adain" or len(args.style) > 1):
        raise UsageError("--stability-weight goes with --qat for networks of one painting alone")


def _styles(args: argparse.Namespace) -> tuple[Style, ...]:
    """What is known of each painting."""
    from edgestyle.manifest import Style

    count = len(args.style)
    names = [path.stem for path in args.style]
    if len(set(names)) < count:
        raise UsageError(
            f"paintings are told apart by the names of their files; {' and '.join(names)} are not different"
        )
    for option in ("title", "artist", "year"):
        if len(getattr(args, option)) > count:
            raise UsageError(f"--{option} came {len(getattr(args, option))} times for {count} painting(s)")
    rows = zip(
        names,
        args.title + names[len(args.title) :],
        args.artist + [""] * (count - len(args.artist)),
        args.year + [""] * (count - len(args.year)),
        strict=True,
    )
    return tuple(Style(name=name, title=title, artist=artist, year=year) for name, title, artist, year in rows)


def _first(args: argparse.Namespace, start: Checkpoint | None, photos: Photos) -> Learned | None:
    """The network to begin with, for the paintings given, as training takes it; None to begin from scratch.

    Raises:
        UsageError: --family names another than that of --from, or what is to be narrowed cannot be.
    """
    from edgestyle.conditional import Conditional

    if start is None:
        return None
    becomes = "conditional" if start.config.family == "adain" else start.config.family
    if args.family not in (None, becomes):
        raise UsageError(f"{start.name} can only become a network of the {becomes} family; leave --family out")
    net = (
        _at_paintings(start, args.style) if becomes != start.config.family else start.network().adapted(len(args.style))
    )
    if isinstance(net, Conditional):
        return _prepared(net, photos, args)
    if args.trunk_width is not None:
        raise UsageError(f"--trunk-width is for networks with instance norms; {start.name} has none")
    return net


def _prepared(net: Conditional, photos: Photos, args: argparse.Namespace) -> Conditional:
    """With every norm that training makes use of, without the one that it does not need, and as narrow as asked."""
    import torch

    from edgestyle.training.initialisation import with_fine_norms, with_grey_lens
    from edgestyle.training.loop import TrainConfig
    from edgestyle.training.narrowing import narrow_trunk

    crops = photos.crops(8, 256, TrainConfig.scales, torch.Generator().manual_seed(args.seed))
    if not net.config.fine_norms:
        net = with_fine_norms(net, crops)
    if net.config.picture_norm and net.config.styles == 1:
        net = with_grey_lens(net, crops)
    return net if args.trunk_width in (None, net.config.trunk_width) else narrow_trunk(net, args.trunk_width, crops)


def _at_paintings(start: Checkpoint, files: Sequence[Path]) -> Conditional:
    """What a pair paints by these paintings, as a network of its own."""
    import numpy as np
    import torch

    from edgestyle import images
    from edgestyle.conditional import from_codes
    from edgestyle.stylize import PairPainter

    painter = PairPainter(start.name, start.pair())
    codes = [painter.code(images.read(file)) for file in files]
    return from_codes(painter.pair.transformer, torch.from_numpy(np.concatenate(codes)))


def _config(args: argparse.Namespace, start: Checkpoint | None, first: Learned | None) -> TrainConfig:
    """The settings of a run, from the command line and from the network to begin with."""
    from edgestyle.conditional import ConditionalConfig
    from edgestyle.feedforward import FeedForwardConfig
    from edgestyle.files import sha256
    from edgestyle.training.loop import TrainConfig

    family = args.family or ("conditional" if len(args.style) > 1 else "feedforward")
    fresh = ConditionalConfig if family == "conditional" else FeedForwardConfig
    return TrainConfig(
        network=first.config if first else fresh(styles=len(args.style)),
        loss=train_options.loss(args),
        perceptual=train_options.judge(args),
        paintings=tuple(sha256(path) for path in args.style if path.is_file()),
        start=start.sha256() if start else "",
        style_size=args.style_size,
        steps=args.steps if args.steps is not None else train_options.MANY_STEPS if args.minutes else TrainConfig.steps,
        minutes=args.minutes,
        precision=_precision(args),
        seed=args.seed,
        **train_options.given(args, "batch", "crop", "learning_rate"),
    )


def _precision(args: argparse.Namespace) -> Precision:
    """What --precision names; a run that goes on keeps its own, bit for bit."""
    from edgestyle import precision
    from edgestyle.training import state

    if args.precision != "auto":
        given: Precision = args.precision
        return given
    kept: Precision | None = state.settings(args.out).get("precision") if args.out else None
    return kept or precision.faster(args.accelerator)


def _remark(photos: Photos, current: Run) -> None:
    """Say what is unusual about the photos, and where a run goes on."""
    count, small = len(photos.pictures), photos.smaller_than(current.config.crop)
    for line in photos.skipped[:10]:
        output.note(f"skipped: {line}")
    if photos.skipped:
        output.note(f"{len(photos.skipped)} file(s) skipped, {count} photo(s) to learn on")
    if small:
        output.note(
            f"{small} of {count} photos are shorter than the crop of {current.config.crop} pixels and are enlarged"
        )
    if count < 20:
        output.note(f"{count} photo(s) to learn on: enough to try; for a filter to keep, give hundreds by --photos")
    if current.step:
        output.note(f"going on from step {current.step}")


def _begin(out: Path, config: TrainConfig, first: Learned | None, photos: Photos, fabric: Fabric) -> Run:
    """The run that `out` holds, or a new one."""
    from edgestyle.training.loop import Run
    from edgestyle.training.state import STATE

    if (out / STATE).exists():
        return Run.resume(out, config, fabric)
    if first:
        return Run(config, first, fabric)
    fresh = Run(config, fabric=fabric)
    with output.progress("learning to repeat the photo") if fabric.is_global_zero else output.silent():
        fresh.initialise(photos)
    return fresh


def _saver(args: argparse.Namespace, current: Run, styles: tuple[Style, ...], photos: Photos) -> Callable[[], None]:
    """What writes the state and the checkpoint; each file appears whole or not at all."""
    from edgestyle import checkpoint
    from edgestyle.training import record

    def save() -> None:
        current.save(args.out)
        if current.fabric.is_global_zero:
            about = record.describe(current, args.out.resolve().name, styles, photos, args.licence)
            checkpoint.write(args.out, about, current.result())
            if current.fraction >= 1:
                record.write_preview(args.out, current)

    return save


def _watcher(args: argparse.Namespace, current: Run) -> Callable[[Progress, Callable[[int, str], None]], None]:
    """What follows each step: the progress bar, pictures and curves."""
    from edgestyle.training import record

    first = current.fabric.is_global_zero
    curves = record.curves(args.out) if args.tensorboard and first else None

    def watch(progress: Progress, update: Callable[[int, str], None]) -> None:
        losses = f"content {progress.content:.3f}  style {progress.style:.3f}"
        update(
            int(1000 * progress.fraction), f"step {progress.step}  {losses}  {progress.images_per_second:.1f} photos/s"
        )
        if curves:
            curves(progress)
        if first and progress.step % args.preview_every == 0 and progress.fraction < 1:
            record.write_preview(args.out, current)

    return watch
