"""The training loop: photos and paintings in, a checkpoint out. Stopped at any step, it goes on from there."""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgestyle.errors import CheckError, ConfigError
from edgestyle.feedforward import FeedForwardConfig
from edgestyle.learned import Learned, LearnedConfig, deploy
from edgestyle.losses import LossConfig, PerceptualLoss
from edgestyle.training import devices, state
from edgestyle.training.initialisation import learn_identity, unit_variance
from edgestyle.training.photos import Photos
from edgestyle.training.view import View, look

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from edgestyle.precision import Precision

FREE = ("steps", "minutes", "learning_rate")
"""Settings that a run may be gone on with though they have changed."""
_FIRST_CROP = 256
"""Largest side in pixels of the crops that first weights are found on."""
_PATIENCE = 200
"""Steps before a loss that grows is called divergence."""
_DIVERGED = 3.0
"""Times its lowest running mean."""

LOSS = LossConfig(content_scales=((1, 0.9), (2, 0.1)), variation_weight=2.0, stability_weight=4e-3, lattice_weight=0.03)
"""What training minimises by default."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train. A run can only be resumed with the configuration that it was started with, but for `FREE`."""

    network: LearnedConfig = field(default_factory=FeedForwardConfig)
    loss: LossConfig = LOSS
    perceptual: str = "student"
    """Network whose features are compared, see `edgestyle.perceptual.load`; of a file its name, wherever it lies."""
    paintings: tuple[str, ...] = ()
    """SHA-256 of each painting's file."""
    start: str = ""
    """SHA-256 of the weights that training began with, if it did not begin with random ones."""
    style_size: int = 512
    """Short side of the paintings in pixels: how large their strokes appear."""
    steps: int = 6_000
    """Batches to learn from, at most."""
    minutes: float = 0.0
    """Time to learn, at most; 0 for as long as the steps take."""
    batch: int = 1
    """Crops in a batch, of each process."""
    crop: int = 512
    """Side in pixels of what the losses see of a crop; a multiple of 8. It and the next: see `view.View`. The larger,
    the freer is a network to put strokes where a photo has room for them: smaller crops must have the painting's Gram
    matrices each on its own, at the expense of content (docs/training.md)."""
    shift: int = View.shift
    scales: tuple[int, int] = (352, 576)
    """Short side of the photos that crops are cut from, drawn evenly between the two."""
    dark: float = 0.35
    """Share of the crops that are darkened from one side."""
    learning_rate: float = 1.2e-3
    """Adam's, after a warm-up of 100 steps; it falls to zero over the last 40 % of the run."""
    identity_steps: int = 400
    """Steps of learning to repeat the photo, before the painting comes in."""
    precision: Precision = "bf16"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.crop % Learned.stride or self.crop < 64:
            raise ConfigError(f"crop is {self.crop}; it must be a multiple of {Learned.stride}, at least 64")
        if not 0 <= self.shift < self.crop:
            raise ConfigError(f"shift is {self.shift}; it must be from 0 to less than the crop of {self.crop}")
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ConfigError(f"scales are {self.scales}; they must be two sizes in pixels, the smaller first")
        if not 64 <= self.style_size <= 2048:
            raise ConfigError(f"style_size is {self.style_size}; it must be from 64 to 2048 pixels")
        if not 0 <= self.minutes < float("inf"):
            raise ConfigError(f"minutes is {self.minutes}; it must be 0 (no limit) or more")
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate is {self.learning_rate}; it must be between 0 and 1")

    @property
    def view(self) -> View:
        """What the losses see of a crop."""
        return View(self.crop, self.shift)

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the run is done after so many steps and seconds, 0 to 1."""
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate at `step`. Constant until 60 %, so that a run can be lengthened while it is there."""
        warm_up = min(1.0, (step + 1) / 100)
        cool_down = min(1.0, (1 - self.fraction(step, seconds)) / 0.4)
        return self.learning_rate * warm_up * cool_down


@dataclass(frozen=True)
class Progress:
    """What a run says of itself after a step. Losses are running means, before weighting."""

    step: int
    fraction: float
    """Of the run, 0 to 1."""
    content: float
    style: float
    variation: float
    stability: float
    lattice: float
    total: float
    """Weighted: what is minimised."""
    images_per_second: float
    """Of all processes."""


class Run:
    """A training run: the network, its average, the optimiser and the random numbers, as they are after a step."""

    def __init__(self, config: TrainConfig, start: Learned | None = None, fabric: Fabric | None = None) -> None:
        """Begin a run, from `start` or from random weights, on `fabric`'s device (by default the CPU)."""
        self.config = config
        self.fabric = fabric or devices.start("cpu", config.precision)
        self.step = 0
        self.seconds = 0.0
        self.generator = torch.Generator().manual_seed(config.seed + 7919 * self.fabric.global_rank)
        torch.manual_seed(config.seed)  # the same first weights in every process
        net = copy.deepcopy(start) if start is not None else config.network.build()
        net = net.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net: Learned = net.to(self.fabric.device)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        self._parallel, self._stepper = self.fabric.setup(self.net, self.optimizer)

    def initialise(self, photos: Photos) -> None:
        """First weights: every channel of unit variance, then a few hundred steps of learning to repeat the photo."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed)  # the same photos in every process

        def batch(count: int, size: int) -> tuple[Tensor, ...]:
            crops = photos.crops(count, size, config.scales, generator)
            styles = [draw_styles(count, config.network.styles, generator)] if config.network.styles > 1 else []
            return tuple(part.to(self.fabric.device) for part in (crops, *styles))

        side = min(config.crop, _FIRST_CROP)
        unit_variance(self.net, *batch(16, side))
        small = side // 2 // Learned.stride * Learned.stride
        learn_identity(self.net, (batch(8, small) for _ in range(config.identity_steps)), config.learning_rate)
        for parameter in self.net.parameters() if self.fabric.world_size > 1 else ():
            torch.distributed.broadcast(parameter.data, 0)
        self.average.load_state_dict(self.net.state_dict())

    @property
    def fraction(self) -> float:
        """How much of the run is done, 0 to 1."""
        return self.config.fraction(self.step, self.seconds)

    def advance(self, photos: Tensor, loss: PerceptualLoss) -> dict[str, float]:
        """One step of Adam on a batch of photos, (B, 3, side, side) in [0, 1], where side is `config.view.side`.

        Returns:
            The means of the losses by name, and their weighted sum as "total".

        Raises:
            CheckError: A loss or gradient is NaN or infinite. The weights are as they were before.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.step, self.seconds)
        photos = photos.to(self.fabric.device)
        styles = self._draw_styles(len(photos))
        with self.fabric.autocast():
            seen = look(self._parallel, photos, styles, loss, config.view, self.generator)
        total = seen.total(loss)
        self.optimizer.zero_grad()
        self.fabric.backward(total)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        if not torch.isfinite(norm):  # of the gradient that all processes share, so that all stop at once
            raise CheckError(
                f"training broke down at step {self.step}: a loss or its gradient is NaN or infinite; "
                f"go on from the last checkpoint with a --learning-rate below {config.learning_rate:g}"
            )
        self._stepper.step()
        self.step += 1
        update_average(self.average, self.net, self.step)
        means = {name: getattr(seen.losses, name).mean().item() for name in ("content", "style", "variation")}
        shown = {"stability": seen.stability.mean().item(), "lattice": seen.lattice.mean().item()}
        return {**means, **shown, "total": total.item()}

    def _draw_styles(self, count: int) -> Tensor | None:
        """Which painting each picture is to look like, (B, S); None for a network of one painting."""
        styles = self.config.network.styles
        return draw_styles(count, styles, self.generator).to(self.fabric.device) if styles > 1 else None

    def result(self) -> Learned:
        """The averaged network in deploy form, on the CPU."""
        net: Learned = deploy(self.average).cpu()
        return net

    def save(self, folder: Path) -> None:
        """Write the whole state into `folder`, whole or not at all. To be called in every process; the first writes."""
        generators = self._gather(self.generator.get_state())
        if self.fabric.is_global_zero:
            state.save(
                folder,
                self.config,
                {
                    "step": self.step,
                    "seconds": self.seconds,
                    "net": self.net.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "generators": generators,
                },
            )
        self.fabric.barrier()

    @classmethod
    def resume(cls, folder: Path, config: TrainConfig, fabric: Fabric | None = None) -> Run:
        """The run that was saved in `folder`: on one device, the same bit for bit as if it had never stopped.

        Raises:
            ConfigError: The file is damaged, or of a run with another configuration.
        """
        stored = state.load(folder, config, FREE)
        run = cls(config, fabric=fabric)
        run.step, run.seconds = stored["step"], stored["seconds"]
        run.net.load_state_dict(stored["net"])
        run.average.load_state_dict(stored["average"])
        run.optimizer.load_state_dict(stored["optimizer"])
        if len(stored["generators"]) == run.fabric.world_size:
            run.generator.set_state(stored["generators"][run.fabric.global_rank])
        else:  # with more or fewer processes it is another run anyhow; no two may draw the same photos
            run.generator.manual_seed(config.seed + run.step + 7919 * run.fabric.global_rank)
        return run

    def _gather(self, value: Tensor) -> list[Tensor]:
        """`value` of every process."""
        if self.fabric.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def agree(self, interrupted: bool, diverged: bool, seconds: float) -> tuple[bool, bool]:
        """What holds for all processes, so that all stop at the same step: whether any was interrupted or diverged.

        `seconds`, those of the slowest, are added to the run's time.
        """
        if self.fabric.world_size > 1:
            all_ = torch.tensor([interrupted, diverged, seconds], device=self.fabric.device)
            torch.distributed.all_reduce(all_, torch.distributed.ReduceOp.MAX)
            interrupted, diverged, seconds = bool(all_[0]), bool(all_[1]), all_[2].item()
        self.seconds += seconds
        return interrupted, diverged


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, step: int) -> None:
    """Move an exponential average of weights towards those after `step` steps (Polyak & Juditsky 1992), in place.

    Smoother than any single step.
    """
    decay = min(0.998, step / (step + 10))
    for mean, current in zip(average.parameters(), net.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)


def draw_styles(count: int, styles: int, generator: torch.Generator) -> Tensor:
    """Style vectors to train on, (count, styles): one-hot, every fourth a blend of two (Dumoulin et al. 2017)."""
    rows = torch.zeros(count, styles)
    for row in rows:
        first, second = torch.randperm(styles, generator=generator)[:2].tolist()
        blended, share = torch.rand(2, generator=generator).tolist()
        row[first] = share if blended < 0.25 else 1.0
        row[second] = 1 - row[first]
    return rows


def train(
    run: Run,
    photos: Photos,
    loss: PerceptualLoss,
    save: Callable[[], None],
    report: Callable[[Progress], None],
    save_every: int = 100,
) -> None:
    """Train until `run.fraction` is 1, calling `save` every `save_every` steps, at the end and on Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed or SIGTERM came; the state after the last whole step has been saved.
        CheckError: The losses are not finite, or grow beyond hope. What was saved last is still there.
    """
    meter = _Meter(run.step)
    with deferred_interrupt() as signals:
        while run.fraction < 1:
            began = time.monotonic()
            batch = photos.crops(run.config.batch, run.config.view.side, run.config.scales, run.generator)
            losses = run.advance(batch, loss)
            seconds = time.monotonic() - began
            diverges = meter.update(run.step, {**losses, "seconds": seconds})
            interrupted, diverges = run.agree(bool(signals), diverges, seconds)
            report(meter.progress(run))
            if diverges:
                raise CheckError(meter.complaint(run))
            if run.step % save_every == 0 or run.fraction >= 1 or interrupted:
                save()
            if interrupted:
                raise KeyboardInterrupt(signals[0] if signals else signal.SIGINT)


class _Meter:
    """Running means of what a run says of itself, over about 50 steps."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.means: dict[str, float] = {}
        self.lowest = float("inf")

    def update(self, step: int, values: dict[str, float]) -> bool:
        """Take in a step; whether the loss has grown beyond hope."""
        done = step - self.start
        keep = min(0.98, 1 - 1 / done)
        self.means = {name: keep * self.means.get(name, 0.0) + (1 - keep) * value for name, value in values.items()}
        if done >= _PATIENCE // 4:
            self.lowest = min(self.lowest, self.means["total"])
        return done >= _PATIENCE and self.means["total"] > _DIVERGED * self.lowest

    def progress(self, run: Run) -> Progress:
        losses = {name: value for name, value in self.means.items() if name != "seconds"}
        speed = run.config.batch * run.fabric.world_size / max(self.means["seconds"], 1e-9)
        return Progress(run.step, run.fraction, **losses, images_per_second=speed)

    def complaint(self, run: Run) -> str:
        return (
            f"training diverges: the loss has grown from {self.lowest:.3g} to {self.means['total']:.3g} by step "
            f"{run.step}; go on from the last checkpoint with a --learning-rate below {run.config.learning_rate:g}, or "
            "begin anew with another --out"
        )


@contextmanager
def deferred_interrupt() -> Iterator[list[int]]:
    """Turns Ctrl-C and SIGTERM into entries of a list, so that a step is never cut in half.

    Only the main thread can receive signals.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: received.append(number)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
