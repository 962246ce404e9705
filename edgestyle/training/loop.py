"""The training loop: photos and one painting in, a checkpoint out. Stopped at any step, it goes on from there."""

from __future__ import annotations

import copy
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgestyle.errors import CheckError, ConfigError
from edgestyle.feedforward import FeedForward, FeedForwardConfig, deploy
from edgestyle.files import staged
from edgestyle.losses import Losses, PerceptualLoss
from edgestyle.training.initialisation import learn_identity, unit_variance
from edgestyle.training.photos import Photos

STATE = "state.pt"


@dataclass(frozen=True)
class TrainConfig:
    """How to train. A run can only be resumed with the configuration that it was started with, but for `steps`."""

    network: FeedForwardConfig = field(default_factory=FeedForwardConfig)
    steps: int = 12_000
    """Batches to learn from."""
    batch: int = 2
    """Crops in a batch."""
    crop: int = 256
    """Side in pixels of what the losses see of a crop; a multiple of 8."""
    context: int = 48
    """Pixels around it that only the network sees, on average; a multiple of 8. Zero padding tells a network where the
    border is, and it would soon frame every picture with whatever serves the Gram matrices best. What the losses see
    lies anywhere inside, so that the border is looked at now and then."""
    scales: tuple[int, int] = (352, 576)
    """Short side of the photos that crops are cut from, drawn evenly between the two."""
    style_weight: float = 1.0
    """How much style counts against content (beta / alpha of Gatys et al.)."""
    variation_weight: float = 5.0
    """How much total variation counts: smooths single pixels."""
    learning_rate: float = 1.2e-3
    """Adam's, after a warm-up of 100 steps; it falls to zero over the last 40 % of the steps."""
    identity_steps: int = 400
    """Steps of learning to repeat the photo, before the painting comes in."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "crop"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.crop % FeedForward.stride or self.crop < 64:
            raise ConfigError(f"crop is {self.crop}; it must be a multiple of {FeedForward.stride}, at least 64")
        if self.context % FeedForward.stride or self.context < 0:
            raise ConfigError(f"context is {self.context}; it must be a multiple of {FeedForward.stride}")
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ConfigError(f"scales are {self.scales}; they must be two sizes in pixels, the smaller first")

    @property
    def side(self) -> int:
        """Side of a crop with its context, in pixels."""
        return self.crop + 2 * self.context

    def rate(self, step: int) -> float:
        """Learning rate at `step`. Constant until 60 %, so that a run can be lengthened while it is there."""
        warm_up = min(1.0, (step + 1) / 100)
        cool_down = min(1.0, (self.steps - step) / (0.4 * self.steps))
        return self.learning_rate * warm_up * cool_down


@dataclass(frozen=True)
class Progress:
    """What a run says of itself after a step."""

    step: int
    content: float
    """Running mean, as is style."""
    style: float


class Run:
    """A training run: the network, its average, the optimiser and the random numbers, as they are after a step."""

    def __init__(self, config: TrainConfig, start: FeedForward | None = None) -> None:
        """Begin a run, from `start` or from random weights."""
        self.config = config
        self.step = 0
        self.seconds = 0.0
        self.generator = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        net = copy.deepcopy(start) if start is not None else FeedForward(config.network)
        self.net = net.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))

    def initialise(self, photos: Photos) -> None:
        """First weights: every channel of unit variance, then a few hundred steps of learning to repeat the photo."""
        config = self.config
        unit_variance(self.net, photos.crops(16, config.crop, config.scales, self.generator))
        small = config.crop // 2 // FeedForward.stride * FeedForward.stride
        crops = (photos.crops(8, small, config.scales, self.generator) for _ in range(config.identity_steps))
        learn_identity(self.net, crops, config.learning_rate)
        self.average.load_state_dict(self.net.state_dict())

    def advance(self, photos: Tensor, loss: PerceptualLoss) -> Losses:
        """One step of Adam on a batch of photos, (B, 3, side, side) in [0, 1], where side is `config.side`.

        Raises:
            CheckError: The loss is NaN or infinite.
        """
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.step)
        top, left = torch.randint(2 * config.context + 1, (2,), generator=self.generator).tolist()
        inside = (..., slice(top, top + config.crop), slice(left, left + config.crop))
        with torch.autocast(photos.device.type, torch.bfloat16):
            losses = loss(self.net(photos).float()[inside], photos[inside])
        total = (
            losses.content + config.style_weight * losses.style + config.variation_weight * losses.variation
        ).mean()
        if not torch.isfinite(total):
            raise CheckError(f"the loss is {total.item()} at step {self.step}; try a smaller --learning-rate")
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return losses

    def _update_average(self) -> None:
        """Exponential moving average of the weights (Polyak & Juditsky 1992): smoother than any single step."""
        decay = min(0.998, self.step / (self.step + 10))
        with torch.no_grad():
            for average, current in zip(self.average.parameters(), self.net.parameters(), strict=True):
                average.lerp_(current, 1 - decay)

    def result(self) -> FeedForward:
        """The averaged network in deploy form."""
        return deploy(self.average)

    def save(self, folder: Path) -> None:
        """Write the whole state into `folder`, whole or not at all."""
        state = {
            "config": json.dumps(asdict(self.config)),
            "step": self.step,
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        with staged(folder / STATE) as staging:
            torch.save(state, staging / STATE)

    @classmethod
    def resume(cls, folder: Path, config: TrainConfig) -> Run:
        """The run that was saved in `folder`.

        Raises:
            ConfigError: The file is damaged, or of a run with another configuration.
        """
        try:
            state: dict[str, Any] = torch.load(folder / STATE, weights_only=True)
            stored = json.loads(state["config"])
        except Exception as error:  # torch raises many types for a damaged file
            raise ConfigError(f"{folder / STATE} cannot be resumed from: {error}") from error
        now = json.loads(json.dumps(asdict(config)))
        differing = [f.name for f in fields(config) if f.name != "steps" and stored.get(f.name) != now[f.name]]
        if differing:
            name = differing[0]
            raise ConfigError(
                f"{folder} holds a run with {name} {stored.get(name)}, not {now[name]}; "
                "give the same settings to go on, or another --out to start afresh"
            )
        run = cls(config)
        run.step, run.seconds = state["step"], state["seconds"]
        run.net.load_state_dict(state["net"])
        run.average.load_state_dict(state["average"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.generator.set_state(state["generator"])
        return run


def train(
    run: Run,
    photos: Photos,
    loss: PerceptualLoss,
    save: Callable[[], None],
    report: Callable[[Progress], None],
    save_every: int = 200,
) -> None:
    """Train until `run.config.steps`, calling `save` every `save_every` steps, at the end and on Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the state after the last whole step has been saved.
    """
    config, start = run.config, run.step
    content = style = 0.0
    with _deferred_interrupt() as interrupted:
        while run.step < config.steps:
            began = time.monotonic()
            batch = photos.crops(config.batch, config.side, config.scales, run.generator)
            losses = run.advance(batch, loss)
            keep = min(0.98, 1 - 1 / (run.step - start))
            content = keep * content + (1 - keep) * losses.content.mean().item()
            style = keep * style + (1 - keep) * losses.style.mean().item()
            run.seconds += time.monotonic() - began
            report(Progress(run.step, content, style))
            if run.step % save_every == 0 or run.step == config.steps or interrupted.is_set():
                save()
            if interrupted.is_set():
                raise KeyboardInterrupt


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turns Ctrl-C into an event, so that a step is never cut in half. Only the main thread can receive signals."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGINT, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
