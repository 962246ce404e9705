"""`edgestyle train --qat`: a trained network learns to paint in integers as it paints in floats."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

from edgestyle.cli import interrupts, output, train_options
from edgestyle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgestyle.adain import AdaIN
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.conditional import Conditional
    from edgestyle.training.qat import QatProgress
    from edgestyle.training.transformer_qat import TransformerQatConfig

    Report: TypeAlias = Callable[[QatProgress], None]


def run(args: argparse.Namespace) -> int:
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
        return _several(args, start)
    config = QatConfig(**train_options.given(args, "batch", "crop", "seed", "steps", "learning_rate"))
    paintings = [load_painting(path, args.style_size) for path in args.style]
    photos = train_options.photos(args, TrainConfig.dark)
    ranges = calibration_photos.load(args.calibration, SIZE)
    make_folder(args.out)
    with output.download() as fetched:
        loss = PerceptualLoss(perceptual.load(args.perceptual, fetched), paintings, train_options.loss(args))
    with output.steps("fine-tuning for int8", config.steps) as update:
        fine_tune_checkpoint(start, args.out, photos, ranges, config, loss, _drift(update))
    output.say(f"{args.out}")
    output.say(f"\nnext:\n  edgestyle export --model {args.out} --target all --quantize int8")
    return 0


def _several(args: argparse.Namespace, start: Checkpoint) -> int:
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
    config = TransformerQatConfig(**train_options.given(args, "batch", "crop", "seed", "steps", "learning_rate"))
    paintings = [load_painting(path, args.style_size) for path in args.style]
    photos, styles = train_options.photos(args, TrainConfig.dark), torch.eye(len(paintings))
    with output.download() as fetched:
        loss = PerceptualLoss(perceptual.load(args.perceptual, fetched), paintings, train_options.loss(args))

    def perceive(pictures: torch.Tensor, crops: torch.Tensor, chosen: Sequence[int]) -> torch.Tensor:
        with precision.autocast():
            return loss.objective(pictures, crops, styles[chosen]).mean()

    _tuned(args, start, config, lambda report: fine_tune(net, net, photos, styles, config, perceive, report))
    output.say(
        f"\nnext:\n  edgestyle export --model {args.out} --style-weights {start.config.styles[0].name} --quantize int8"
    )
    return 0


def run_pair(args: argparse.Namespace) -> int:
    """Quantization-aware training of the pair of --from, narrower if --width says so."""
    import copy

    from edgestyle import images, perceptual
    from edgestyle.training.any_painting import AnyPaintingConfig, Paintings, objective
    from edgestyle.training.loop import TrainConfig
    from edgestyle.training.narrowing import narrow
    from edgestyle.training.transformer_qat import TransformerQatConfig, encode, fine_tune, sample

    start = _trained(args)
    config = TransformerQatConfig(**train_options.given(args, "batch", "crop", "seed", "steps", "learning_rate"))
    with output.download() as fetched:
        network = perceptual.load(args.perceptual, fetched)
    paintings = Paintings(images.find(args.style), network, args.style_size)
    perceive = objective(AnyPaintingConfig(style_weight=args.style_weight), network, paintings)
    photos = train_options.photos(args, TrainConfig.dark)
    train_options.list_skipped(photos, paintings)
    teacher = start.pair()
    codes = encode(teacher, paintings.squares)
    pair = narrow(teacher, args.width, *sample(photos, codes, config)) if args.width is not None else teacher

    def tune(report: Report) -> AdaIN:
        tuned = copy.deepcopy(pair)
        tuned.transformer = fine_tune(pair.transformer, teacher.transformer, photos, codes, config, perceive, report)
        return tuned

    _tuned(args, start, config, tune)
    output.say(f"\nnext:\n  edgestyle export --model {args.out} --style painting.jpg --target tflite --quantize int8")
    return 0


def _tuned(
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
    start = train_options.start(args)
    if start is None:
        raise UsageError("--qat fine-tunes a trained network; name it by --from, and the new one by --out")
    if args.out is None or args.out.resolve() == start.folder.resolve():
        raise UsageError("--qat needs an --out other than the network of --from")
    if (start.config.family == "adain") != (args.family == "adain"):
        raise UsageError(
            f"{start.name} is of the {start.config.family} family; --family adain goes with its pairs alone"
        )
    return start


def _drift(update: Callable[[int, str], None]) -> Report:
    """What shows how far a fine-tuning is, and lets Ctrl-C end it."""

    def report(progress: QatProgress) -> None:
        interrupts.check()
        drift = f"int8 {progress.int8_db:.1f} dB from float, float {progress.start_db:.1f} dB from the start"
        update(progress.step, drift)

    return report
