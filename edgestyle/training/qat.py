"""Quantization-aware fine-tuning: a trained network learns to paint in 8-bit integers as it paints in floats.

Each step paints a batch three times: with the network as it was at the start, with the network as it is, and with the
network as its int8 file computes (`edgestyle.quantization.simulation`). The second and third are pulled together where
they are further apart than can be seen, the second is kept near the first, and the third goes on learning as in
training. Where that is not looked at, one photo is flat, and counts more: there, strokes are made out of the slightest
differences, which rounding moves the most.
Ranges are found again now and then, by the same observer and on the same photos as an export finds them.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgestyle import checkpoint, precision
from edgestyle.adain import AdaIN
from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import psnr
from edgestyle.errors import CheckError, ConfigError
from edgestyle.images import Image
from edgestyle.learned import Learned, deploy
from edgestyle.losses import PerceptualLoss
from edgestyle.quantization.calibration import calibrate
from edgestyle.quantization.simulation import Simulation
from edgestyle.training.photos import Photos, flattened
from edgestyle.training.view import Seen, View, look

SIZE = (512, 512)
"""Height and width at which ranges are found, as exports do by default."""


def check_batches(crop: int, **counts: int) -> None:
    """Refuse counts below 1, by their names, and crops that no network takes.

    Raises:
        ConfigError: With what came and what is allowed.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1")
    if crop % 8 or crop < 64:
        raise ConfigError(f"crop is {crop}; it must be a multiple of 8, at least 64")


@dataclass(frozen=True)
class QatConfig:
    """How to fine-tune."""

    steps: int = 300
    """Batches to learn from: a few minutes on a CPU."""
    batch: int = 2
    crop: int = 256
    """Side of the crops in pixels; a multiple of 8."""
    scales: tuple[int, int] = (352, 576)
    """Short side of the photos that crops are cut from, drawn evenly between the two."""
    int8_weight: float = 3000.0
    """How much the squared error of the int8 picture against the float picture counts: at 36 dB, 0.75, less what is
    tolerated."""
    tolerated_db: float = 42.0
    """PSNR of the int8 picture that is good enough: only what is worse counts. Most networks reach it on ordinary
    photos from the start, and would give up strokes there for what nobody sees."""
    flat_weight: float = 8.0
    """By how much more it counts in a flat photo."""
    start_weight: float = 10.0
    """How much that of the float picture against the one that the network painted at the start counts."""
    learning_rate: float = 1e-3
    """Adam's; it falls to zero along half a cosine."""
    perceive_every: int = 2
    """Steps after which the picture is looked at as in training: that costs more than all else together."""
    ranges_every: int = 100
    """Steps after which the ranges are found again."""
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("steps", "batch", "perceive_every", "ranges_every")}
        check_batches(self.crop, **counts)

    @property
    def view(self) -> View:
        """What the losses see of a crop."""
        return View(self.crop)

    def rate(self, step: int) -> float:
        """Learning rate at `step`."""
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2


@dataclass(frozen=True)
class QatProgress:
    """What fine-tuning says of itself after a step; running means, PSNR in dB over crops."""

    step: int
    int8_db: float
    """Of the int8 picture against the float picture."""
    start_db: float
    """Of the float picture against the one at the start."""


def fine_tune(
    net: Learned,
    photos: Photos,
    calibration_photos: Sequence[Image],
    config: QatConfig,
    loss: PerceptualLoss | None = None,
    report: Callable[[QatProgress], None] = lambda _: None,
) -> Learned:
    """Fine-tune a trained network for int8.

    Args:
        net: In deploy form; it is not changed.
        photos: To learn on.
        calibration_photos: Ranges are found on these, each (1, 3, H, W) and of one size: those of the export.
        config: How.
        loss: What the int8 picture is to make small, as in training; without it only the two squared errors count.
        report: Called after each step.

    Returns:
        The fine-tuned network, in deploy form.

    Raises:
        CheckError: The loss is NaN or infinite.
    """
    start = copy.deepcopy(net).requires_grad_(False)
    net = copy.deepcopy(net).requires_grad_(True)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(config.seed)
    running = [0.0, 0.0]
    integers = _in_integers(net, calibration_photos)
    for step in range(config.steps):
        if step and step % config.ranges_every == 0:
            integers = _in_integers(net, calibration_photos)
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        compare = partial(_compare, config, start, net)
        if loss and step % config.perceive_every == 0:
            wide = photos.crops(config.batch, config.view.side, config.scales, generator)
            seen = _look(integers, wide, loss, config.view, generator)
            total, errors = compare(seen.photos, seen.pictures)
            total = total + seen.total(loss)
        else:
            batch = flattened(photos.crops(config.batch, config.crop, config.scales, generator), generator)
            total, errors = compare(batch, integers(batch), first_weight=config.flat_weight)
        if not torch.isfinite(total):
            raise CheckError(f"the loss is {total.item()} at step {step}; try a smaller learning rate")
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        keep = min(0.95, 1 - 1 / (step + 1))
        running = [keep * mean + (1 - keep) * error for mean, error in zip(running, errors, strict=True)]
        report(QatProgress(step + 1, psnr(running[0]), psnr(running[1])))
    return deploy(net)


def fine_tune_checkpoint(
    found: Checkpoint,
    out: Path,
    photos: Photos,
    calibration_photos: Sequence[Image],
    config: QatConfig,
    loss: PerceptualLoss | None = None,
    report: Callable[[QatProgress], None] = lambda _: None,
) -> Checkpoint:
    """Fine-tune a checkpoint for int8 and write the result, under the name of its folder.

    The record of its training is kept; that of the fine-tuning is added to it under "qat".

    Args:
        found: The trained checkpoint; it is not changed.
        out: Folder of the new one.
        photos: See `fine_tune`, as are the others.
        calibration_photos: Those of the export.
        config: How.
        loss: What the int8 picture is to make small.
        report: Called after each step.

    Raises:
        CheckError: The loss is NaN or infinite.
    """
    began, last = time.monotonic(), [QatProgress(0, 0, 0)]

    def keep(progress: QatProgress) -> None:
        last[0] = progress
        report(progress)

    net = fine_tune(found.network(), photos, calibration_photos, config, loss, keep)
    return write(found, out, net, config, last[0], time.monotonic() - began)


def write(
    found: Checkpoint, out: Path, net: Learned | AdaIN, config: Any, last: QatProgress, seconds: float
) -> Checkpoint:
    """Write a fine-tuned network, under the name of its folder.

    Args:
        found: What it began with, whose record it keeps.
        out: Folder of the new checkpoint.
        net: In deploy form.
        config: How it was fine-tuned, a dataclass.
        last: What was said after the last step.
        seconds: That it took.
    """
    record = {
        **asdict(config),
        "start_sha256": found.sha256(),
        "minutes": round(seconds / 60, 1),
        "int8_db": round(last.int8_db, 1),
        "start_db": round(last.start_db, 1),
    }
    about = {
        "name": out.resolve().name,
        "network": asdict(net.config),
        "training": {**found.config.training, "qat": record},
    }
    return checkpoint.write(out, found.config.model_copy(update=about), net)


def _in_integers(net: Learned, calibration_photos: Sequence[Image]) -> Simulation:
    """The network as its int8 file computes, with the ranges that it has now."""
    frozen = copy.deepcopy(net).requires_grad_(False)
    return Simulation(net, calibrate(frozen, calibration_photos))


def _look(integers: Simulation, wide: Tensor, loss: PerceptualLoss, view: View, generator: torch.Generator) -> Seen:
    """What training sees of the int8 pictures, which are computed in fp32 whatever the losses are computed in."""

    def paint(photos: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return integers(photos)

    with precision.autocast():
        return look(paint, wide, None, loss, view, generator)


def _compare(
    config: QatConfig, start: nn.Module, net: nn.Module, photos: Tensor, rounded: Tensor, first_weight: float = 1.0
) -> tuple[Tensor, tuple[float, float]]:
    """How far int8 pictures are from those in floats, and these from those at the start: what is to become small, where
    the first picture counts so many times, and the two squared errors in it.
    """
    with torch.no_grad():
        first = start(photos)
    floats = net(photos)
    int8_errors, start_error = (rounded - floats).square().mean((1, 2, 3)), F.mse_loss(floats, first)
    weights = torch.ones_like(int8_errors)
    weights[0] = first_weight
    excess = (int8_errors - 10 ** (-config.tolerated_db / 10)).clamp_min(0)
    total = config.int8_weight * (excess * weights).mean() + config.start_weight * start_error
    return total, (int8_errors.mean().item(), start_error.item())
