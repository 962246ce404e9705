"""`edgestyle train`: paintings become a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgestyle.cli import interrupts, output
from edgestyle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_fabric import Fabric

    from edgestyle.adain import AdaIN
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.conditional import Conditional
    from edgestyle.learned import Learned
    from edgestyle.losses import LossConfig
    from edgestyle.manifest import Style
    from edgestyle.precision import Precision
    from edgestyle.training.any_painting import Paintings
    from edgestyle.training.loop import Progress, Run, TrainConfig
    from edgestyle.training.photos import Photos
    from edgestyle.training.qat import QatProgress
    from edgestyle.training.transformer_qat import TransformerQatConfig

    Report: TypeAlias = Callable[[QatProgress], None]

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
MANY_STEPS = 1_000_000
"""With --minutes alone, it is the time that ends a run."""


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
    machine.add_argument("--preview-every", type=int, default=1000, metavar="N", help="steps; default 1000")
    machine.add_argument("--tensorboard", action="store_true", help="write curves into OUT/tensorboard")
    parser.set_defaults(run=run)


def _add_settings(group: Any) -> None:
    group.add_argument("--steps", type=int, help="batches to learn from; default 12000, or as many as --minutes allow")
    group.add_argument("--minutes", type=float, default=0, metavar="N", help="stop after so long; default: no limit")
    group.add_argument("--batch", type=int, default=2, help="photos in a batch; default 2")
    group.add_argument("--crop", type=int, default=256, help="side of the training crops in pixels; default 256")
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
    group.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Train, or go on training, or fine-tune for int8."""
    _refuse_what_does_nothing(args)
    if args.family == "adain":
        return _any_painting(args)
    if args.qat:
        return _fine_tune(args)
    if args.calibration:
        raise UsageError("--calibration goes with --qat: only integers have ranges that are found on photos")
    from edgestyle import perceptual
    from edgestyle.files import make_folder
    from edgestyle.losses import PerceptualLoss
    from edgestyle.training import devices
    from edgestyle.training.loop import TrainConfig, train
    from edgestyle.training.photos import load_painting

    args.out = args.out or Path("runs") / args.style[0].stem
    styles, start = _styles(args), _start(args)
    photos = _loaded(args, TrainConfig.dark)
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
    if args.qat and args.minutes:
        raise UsageError("--minutes is for training; --qat takes --steps, which say how fast its learning rate falls")
    if args.qat and args.stability_weight is not None:
        raise UsageError(
            "--stability-weight is for training; --qat holds a network to the pictures that it paints already"
        )


def _fine_tune(args: argparse.Namespace) -> int:
    """Quantization-aware training of the network of --from."""
    from edgestyle import perceptual
    from edgestyle.files import make_folder
    from edgestyle.losses import PerceptualLoss
    from edgestyle.quantization import photos as calibration_photos
    from edgestyle.training.loop import TrainConfig
    from edgestyle.training.photos import load_painting
    from edgestyle.training.qat import SIZE, QatConfig, fine_tune_checkpoint

    start = _trained(args)
    known = [style.name for style in start.config.styles]
    if len(args.style) != len(known):
        raise UsageError(
            f"{start.name} has learned {len(known)} painting(s); give a --style for each, in order: {', '.join(known)}"
        )
    if len(known) > 1:
        return _fine_tune_several(args, start)
    config = QatConfig(batch=args.batch, crop=args.crop, seed=args.seed, **_given(args, "steps", "learning_rate"))
    paintings = [load_painting(path, args.style_size) for path in args.style]
    photos = _loaded(args, TrainConfig.dark)
    ranges = calibration_photos.load(args.calibration, SIZE)
    make_folder(args.out)
    with output.download() as fetched:
        loss = PerceptualLoss(perceptual.load(args.perceptual, fetched), paintings, _loss(args))
    with output.steps("fine-tuning for int8", config.steps) as update:
        fine_tune_checkpoint(start, args.out, photos, ranges, config, loss.objective, _drift(update))
    output.say(f"{args.out}")
    output.say(f"\nnext:\n  edgestyle export --model {args.out} --target all --quantize int8")
    return 0


def _fine_tune_several(args: argparse.Namespace, start: Checkpoint) -> int:
    """Quantization-aware training of a conditional network of several paintings."""
    import torch

    from edgestyle import perceptual, precision
    from edgestyle.conditional import Conditional
    from edgestyle.losses import PerceptualLoss
    from edgestyle.training.loop import TrainConfig
    from edgestyle.training.photos import load_painting
    from edgestyle.training.transformer_qat import TransformerQatConfig, fine_tune

    net = start.network()
    if not isinstance(net, Conditional):
        raise UsageError(f"{start.name} is fine-tuned painting by painting; first make networks of one ('specialize')")
    if args.calibration:
        raise UsageError("--calibration is for networks of one painting: those of several have ranges for all")
    config = TransformerQatConfig(**_given(args, "batch", "crop", "seed", "steps", "learning_rate"))
    paintings = [load_painting(path, args.style_size) for path in args.style]
    photos, styles = _loaded(args, TrainConfig.dark), torch.eye(len(paintings))
    with output.download() as fetched:
        loss = PerceptualLoss(perceptual.load(args.perceptual, fetched), paintings, _loss(args))

    def perceive(pictures: torch.Tensor, crops: torch.Tensor, chosen: Sequence[int]) -> torch.Tensor:
        with precision.autocast():
            return loss.objective(pictures, crops, styles[chosen]).mean()

    _fine_tuned(args, start, config, lambda report: fine_tune(net, net, photos, styles, config, perceive, report))
    output.say(
        f"\nnext:\n  edgestyle export --model {args.out} --style-weights {start.config.styles[0].name} --quantize int8"
    )
    return 0


def _fine_tune_pair(args: argparse.Namespace) -> int:
    """Quantization-aware training of the pair of --from, narrower if --width says so."""
    import copy

    from edgestyle import images, perceptual
    from edgestyle.training.any_painting import AnyPaintingConfig, Paintings, objective
    from edgestyle.training.narrowing import narrow
    from edgestyle.training.transformer_qat import TransformerQatConfig, encode, fine_tune, sample

    start = _trained(args)
    config = TransformerQatConfig(**_given(args, "batch", "crop", "seed", "steps", "learning_rate"))
    with output.download() as fetched:
        network = perceptual.load(args.perceptual, fetched)
    paintings = Paintings(images.find(args.style), network, args.style_size)
    perceive = objective(AnyPaintingConfig(style_weight=args.style_weight), network, paintings)
    photos = _loaded(args, dark=0.35)
    _list_skipped(photos, paintings)
    teacher = start.pair()
    codes = encode(teacher, paintings.squares)
    pair = narrow(teacher, args.width, *sample(photos, codes, config)) if args.width is not None else teacher

    def tune(report: Report) -> AdaIN:
        tuned = copy.deepcopy(pair)
        tuned.transformer = fine_tune(pair.transformer, teacher.transformer, photos, codes, config, perceive, report)
        return tuned

    _fine_tuned(args, start, config, tune)
    output.say(f"\nnext:\n  edgestyle export --model {args.out} --style painting.jpg --target tflite --quantize int8")
    return 0


def _fine_tuned(
    args: argparse.Namespace,
    start: Checkpoint,
    config: TransformerQatConfig,
    tune: Callable[[Report], Conditional | AdaIN],
) -> None:
    """Let a network be fine-tuned, with progress, and write it."""
    import time

    from edgestyle.files import make_folder
    from edgestyle.training import qat

    began = time.monotonic()
    last: list[QatProgress] = []
    make_folder(args.out)
    with output.steps("fine-tuning for int8", config.steps) as update:
        drift = _drift(update)

        def report(progress: QatProgress) -> None:
            last[:] = [progress]
            drift(progress)

        tuned = tune(report)
    qat.write(start, args.out, tuned, config, last[0], time.monotonic() - began)
    output.say(f"{args.out}")


def _trained(args: argparse.Namespace) -> Checkpoint:
    """The network that --qat fine-tunes.

    Raises:
        UsageError: There is none, or the result would take its place.
    """
    start = _start(args)
    if start is None:
        raise UsageError("--qat fine-tunes a trained network; name it by --from, and the new one by --out")
    if args.out is None or args.out.resolve() == start.folder.resolve():
        raise UsageError("--qat needs an --out other than the network of --from")
    if (start.config.family == "adain") != (args.family == "adain"):
        raise UsageError(
            f"{start.name} is of the {start.config.family} family; --family adain goes with its pairs alone"
        )
    return start


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of some options that were given."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _drift(update: Callable[[int, str], None]) -> Report:
    """What shows how far a fine-tuning is, and lets Ctrl-C end it."""

    def report(progress: QatProgress) -> None:
        interrupts.check()
        drift = f"int8 {progress.int8_db:.1f} dB from float, float {progress.start_db:.1f} dB from the start"
        update(progress.step, drift)

    return report


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


def _start(args: argparse.Namespace) -> Checkpoint | None:
    from edgestyle import checkpoint

    return checkpoint.find(args.start) if args.start else None


def _judge(args: argparse.Namespace) -> str:
    """What --perceptual names, as it is kept in the record: a file may lie elsewhere tomorrow."""
    known: bool = args.perceptual in ("student", "vgg19")
    return args.perceptual if known else Path(args.perceptual).name


def _first(args: argparse.Namespace, start: Checkpoint | None, photos: Photos) -> Learned | None:
    """The network to begin with, for the paintings given, with every norm that training makes use of; None to begin
    from scratch.

    Raises:
        UsageError: --family names another than that of --from.
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
    return _with_fine_norms(net, photos, args.seed) if isinstance(net, Conditional) else net


def _with_fine_norms(net: Conditional, photos: Photos, seed: int) -> Conditional:
    import torch

    from edgestyle.training.initialisation import with_fine_norms
    from edgestyle.training.loop import TrainConfig

    if net.config.fine_norms:
        return net
    return with_fine_norms(net, photos.crops(8, 256, TrainConfig.scales, torch.Generator().manual_seed(seed)))


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


def _loss(args: argparse.Namespace) -> LossConfig:
    """What training minimises, as the command line has it."""
    from dataclasses import replace

    from edgestyle.training.loop import LOSS

    return replace(
        LOSS,
        style_weight=args.style_weight,
        **_given(args, "stability_weight"),
        content_layers=tuple(args.content_layers.split(",")),
        preserve_color=args.preserve_color,
    )


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
        loss=_loss(args),
        perceptual=_judge(args),
        paintings=tuple(sha256(path) for path in args.style if path.is_file()),
        start=start.sha256() if start else "",
        style_size=args.style_size,
        steps=args.steps if args.steps is not None else MANY_STEPS if args.minutes else TrainConfig.steps,
        minutes=args.minutes,
        batch=args.batch,
        crop=args.crop,
        learning_rate=TrainConfig.learning_rate if args.learning_rate is None else args.learning_rate,
        precision=_precision(args),
        seed=args.seed,
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


def _any_painting(args: argparse.Namespace) -> int:
    """Train a pair of networks of the adain family, or go on training, on the CPU."""
    from edgestyle import checkpoint, images, perceptual
    from edgestyle.files import make_folder
    from edgestyle.training import state
    from edgestyle.training.any_painting import AnyPaintingConfig, AnyPaintingRun, Paintings, describe, train

    if args.preserve_color != "no":
        raise UsageError("--preserve-color is for networks that learn their paintings, not --family adain")
    if args.calibration:
        raise UsageError("--calibration is for networks that learn their paintings: --family adain has ranges for all")
    if args.qat:
        return _fine_tune_pair(args)
    found = checkpoint.find(args.start) if args.start else None
    config = AnyPaintingConfig(
        perceptual=_judge(args),
        start=found.sha256() if found else "",
        steps=args.steps or (MANY_STEPS if args.minutes else 20_000),
        batch=args.batch,
        crop=args.crop,
        style_size=args.style_size,
        style_weight=args.style_weight,
        learning_rate=args.learning_rate or AnyPaintingConfig.learning_rate,
        seed=args.seed,
        **_given(args, "stability_weight"),
    )
    out = args.out or Path("runs") / "adain"
    with output.download() as fetched:
        network = perceptual.load(args.perceptual, fetched)
    paintings = Paintings(images.find(args.style), network, config.style_size)
    photos = _loaded(args)
    _list_skipped(photos, paintings)
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


def _loaded(args: argparse.Namespace, dark: float = 0.0) -> Photos:
    """The photos to learn on, so many of them darkened."""
    from edgestyle.training.photos import Photos

    return Photos.load(args.photos, dark=dark) if args.photos else Photos.samples(dark=dark)


def _list_skipped(photos: Photos, paintings: Paintings) -> None:
    for line in (*paintings.skipped, *photos.skipped):
        output.note(f"skipped: {line}")


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
