"""Training of the adain family: a folder of photos and a folder of paintings in, a pair of networks out.

Each step paints crops of photos by the codes of paintings drawn at random, and compares them as the training of one
painting does (`edgestyle.losses`), with three differences:

- The Gram distance of each layer counts as `log(1 + distance)`. It is relative to the painting's own, so that a few
  paintings of little contrast would outweigh all others.
- Every second step also paints small crops by a code of zeros, which must give them back: that is what strength 0 is.
- Paintings are mirrored and cut, so that a code says what is anywhere in the painting.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle import images, precision, styling
from edgestyle.adain import AdaIN, AdaINConfig
from edgestyle.checkpoint import CheckpointConfig
from edgestyle.errors import CheckError, ConfigError, ImageError, UsageError
from edgestyle.losses import (
    CONTENT_LAYER,
    GREY_LEVEL,
    STYLE_LAYERS,
    content_loss,
    gram_loss,
    gram_matrix,
    lattice_loss,
    shrink,
    stability_loss,
    total_variation,
)
from edgestyle.perceptual import PerceptualNetwork
from edgestyle.training import state
from edgestyle.training.loop import deferred_interrupt, update_average
from edgestyle.training.photos import Photos, load_painting
from edgestyle.training.record import machine
from edgestyle.training.view import View

SCALES = (1, 2)
"""Style is compared at 1/n of the picture's size; content at the first."""


@dataclass(frozen=True)
class AnyPaintingConfig:
    """How to train. A run can only be resumed with the configuration that it was started with, but for `steps`."""

    network: AdaINConfig = field(default_factory=AdaINConfig)
    perceptual: str = "student"
    """Network whose features are compared, see `edgestyle.perceptual.load`; of a file its name, wherever it lies."""
    start: str = ""
    """SHA-256 of the weights that training began with, if it did not begin with random ones."""
    steps: int = 20_000
    """Batches to learn from."""
    batch: int = 2
    """Crops in a batch, each with a painting of its own."""
    crop: int = 208
    """Side in pixels of what the losses see of a crop; a multiple of 8. It and the next: see `view.View`."""
    shift: int = View.shift
    scales: tuple[int, int] = (352, 576)
    """Short side of the photos that crops are cut from, drawn evenly between the two."""
    style_size: int = 512
    """Short side at which paintings are measured."""
    content_weight: float = 1.0
    style_weight: float = 1.0
    variation_weight: float = 15.0
    stability_weight: float = 2e-3
    lattice_weight: float = 0.03
    identity_weight: float = 4.0
    learning_rate: float = 1.5e-3
    """Adam's; a third of it for the encoder. It falls to zero over the last 40 % of the steps."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("batch", 1), ("crop", 64), ("shift", 0), ("style_size", 64)):
            value = getattr(self, name)
            if value < low or (name == "crop" and value % 8):
                multiple = ", a multiple of 8" if name == "crop" else ""
                raise ConfigError(f"{name} is {value}; it must be at least {low}{multiple}")

    @property
    def view(self) -> View:
        """What the losses see of a crop."""
        return View(self.crop, self.shift)

    def rate(self, step: int) -> float:
        """Learning rate at `step`, after a warm-up of 100 steps."""
        return self.learning_rate * min(1.0, (step + 1) / 100, (self.steps - step) / (0.4 * self.steps))


class Paintings:
    """Paintings to learn from; what each is measured to look like is found when it first comes."""

    def __init__(self, files: Sequence[Path], network: PerceptualNetwork, style_size: int) -> None:
        """Read paintings as the encoder takes them.

        Raises:
            UsageError: There are fewer than two that can be used.
        """
        self.files: list[Path] = []
        self.squares: list[Tensor] = []
        self.skipped: list[str] = []
        for path in files:
            try:
                square = styling.squares(images.read(path))[0]
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            self.files.append(path)
            self.squares.append((torch.from_numpy(square[0]) * 255).round().to(torch.uint8))
        if len(self.files) < 2:
            raise UsageError("fewer than two paintings can be used; give a folder of them by --style, better hundreds")
        self._network, self._style_size = network, style_size
        self._grams: dict[int, list[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.files)

    def view(self, index: int, generator: torch.Generator) -> Tensor:
        """The painting as the encoder sees it now, (3, 256, 256): half of them mirrored, half of them cut."""
        square = self.squares[index].float() / 255
        mirrored, cut, side, top, left = torch.rand(5, generator=generator).tolist()
        if mirrored < 0.5:
            square = square.flip(2)
        if cut < 0.5:
            size = 192 if side < 0.5 else 224
            top, left = int(top * (257 - size)), int(left * (257 - size))
            piece, rest = square[None, :, top : top + size, left : left + size], (256 - size) // 2
            square = F.pad(piece, (rest, rest, rest, rest), mode="reflect")[0]
        return square

    @torch.no_grad()
    def grams(self, index: int) -> list[Tensor]:
        """Its Gram matrices, (C, C) each, scale by scale and layer by layer."""
        if index not in self._grams:
            painting = load_painting(self.files[index], self._style_size)[:, :, :768, :768]
            self._grams[index] = measured_grams(self._network, painting)
        return self._grams[index]


class AnyPaintingRun:
    """A training run: the networks, their average, the optimiser and the random numbers, as they are after a step."""

    def __init__(self, config: AnyPaintingConfig, start: AdaIN | None = None) -> None:
        """Begin a run, from `start` or from random weights."""
        self.config, self.step, self.seconds = config, 0, 0.0
        self.generator = torch.Generator().manual_seed(config.seed)
        torch.manual_seed(config.seed)
        net = copy.deepcopy(start) if start is not None else AdaIN(config.network)
        self.net: AdaIN = net.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        groups = [{"params": list(part.parameters())} for part in (self.net.transformer, self.net.encoder)]
        self.optimizer = torch.optim.Adam(groups, lr=config.learning_rate, betas=(0.9, 0.99))

    def advance(self, photos: Photos, paintings: Paintings, network: PerceptualNetwork) -> dict[str, float]:
        """One step of Adam.

        Returns:
            The means of the losses by name.

        Raises:
            CheckError: A loss is NaN or infinite. The weights are as they were before.
        """
        config = self.config
        for group, share in zip(self.optimizer.param_groups, (1, 1 / 3), strict=True):
            group["lr"] = config.rate(self.step) * share
        losses = self._losses(photos, paintings, network)
        total = weighed(config, losses)
        if not torch.isfinite(total):
            raise CheckError(f"the loss is {total.item()} at step {self.step}; try a smaller --learning-rate")
        self.optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.net, self.step)
        return {name: value.item() for name, value in losses.items()}

    def _losses(self, photos: Photos, paintings: Paintings, network: PerceptualNetwork) -> dict[str, Tensor]:
        config, view, side = self.config, self.config.view, self.config.view.seen
        chosen = torch.randint(len(paintings), (config.batch,), generator=self.generator).tolist()
        inside, (down, right) = view.inside(self.generator), view.move(self.generator)
        wide = photos.crops(config.batch, view.side, config.scales, self.generator)
        seen = wide[:, :, :side, :side]
        views = torch.stack([paintings.view(index, self.generator) for index in chosen])
        with precision.autocast():
            code = self.net.encoder(views.to(memory_format=torch.channels_last))
            whole = self.net.transformer(seen, code).float()
            moved = wide[:, :, down : down + side, right : right + side]
            noise = GREY_LEVEL * torch.randn(moved.shape, generator=self.generator)
            again = self.net.transformer(moved + noise, code).float()
            grams = [paintings.grams(index) for index in chosen]
            content, distances = compare(network, whole[inside], seen[inside], grams)
        return {
            "content": content.mean(),
            "style": torch.log1p(distances).sum(1).mean(),
            "variation": total_variation(whole[inside]).mean(),
            "lattice": lattice_loss(whole).mean(),
            "stability": stability_loss(whole[:, :, down:, right:], again[:, :, : side - down, : side - right]).mean(),
            "identity": self._identity(photos) if self.step % 2 == 0 else content.new_zeros(()),
        }

    def _identity(self, photos: Photos) -> Tensor:
        """How far photos are from what the code of the photo itself makes of them."""
        crops = photos.crops(self.config.batch, 128, self.config.scales, self.generator)
        with precision.autocast():
            again: Tensor = self.net.transformer(crops, crops.new_zeros(len(crops), self.config.network.code))
        return (again.float() - crops).abs().mean()

    def result(self) -> AdaIN:
        """The averaged networks in deploy form, equalised for weights in 8 bits."""
        frozen: AdaIN = copy.deepcopy(self.average).eval().requires_grad_(False)
        frozen.encoder.equalise()
        return frozen.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]

    def save(self, folder: Path) -> None:
        """Write the whole state into `folder`, whole or not at all."""
        parts = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimizer")}
        rest = {"step": self.step, "seconds": self.seconds, "generator": self.generator.get_state()}
        state.save(folder, self.config, {**parts, **rest})

    @classmethod
    def resume(cls, folder: Path, config: AnyPaintingConfig) -> AnyPaintingRun:
        """The run that was saved in `folder`.

        Raises:
            ConfigError: The file is damaged, or of a run with another configuration.
        """
        stored, run = state.load(folder, config, ("steps",)), cls(config)
        run.step, run.seconds = stored["step"], stored["seconds"]
        for name in ("net", "average", "optimizer"):
            getattr(run, name).load_state_dict(stored[name])
        run.generator.set_state(stored["generator"])
        return run


def describe(run: AnyPaintingRun, name: str, photos: int, paintings: int, licence: str) -> CheckpointConfig:
    """The checkpoint's configuration: what was learned, from how much, and on what machine."""
    settings = {key: value for key, value in asdict(run.config).items() if key != "network"}
    done = {"steps": run.step, "photos": photos, "paintings": paintings, "minutes": round(run.seconds / 60, 1)}
    return CheckpointConfig(
        name=name,
        family="adain",
        network=asdict(run.config.network),
        styles=(),
        training={**settings, **done, "machine": machine(torch.device("cpu"), 1)},
        licence=licence,
    )


def measured_grams(network: PerceptualNetwork, painting: Tensor) -> list[Tensor]:
    """Gram matrices of a painting (1, 3, H, W), (C, C) each, scale by scale and layer by layer."""
    found = [network(shrink(painting, scale), STYLE_LAYERS) for scale in SCALES]
    return [gram_matrix(each[layer])[0] for each in found for layer in STYLE_LAYERS]


def compare(
    network: PerceptualNetwork, pictures: Tensor, photos: Tensor, grams: Sequence[Sequence[Tensor]]
) -> tuple[Tensor, Tensor]:
    """How far pictures are from their photos, and from paintings by each Gram matrix.

    Args:
        network: What sees them.
        pictures: (B, 3, H, W).
        photos: What they were made from, (B, 3, H, W), or (1, 3, H, W) if all were made from one.
        grams: What `measured_grams` gives for the painting of each picture.

    Returns:
        Content (B,) and style (B, scales x layers), 0 is perfect; the style of `edgestyle.score` is the latter's sum.
    """
    with torch.no_grad():
        aims = network(photos, (CONTENT_LAYER,))[CONTENT_LAYER]
    features = [
        network(shrink(pictures, scale), (*STYLE_LAYERS, *((CONTENT_LAYER,) if scale == 1 else ()))) for scale in SCALES
    ]
    found = [gram_matrix(each[layer]) for each in features for layer in STYLE_LAYERS]
    targets = [torch.stack(group) for group in zip(*grams, strict=True)]
    style = [gram_loss(gram, target) for gram, target in zip(found, targets, strict=True)]
    return content_loss(features[0][CONTENT_LAYER], aims), torch.stack(style, 1)


def weighed(config: AnyPaintingConfig, losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of losses by name, each with its weight in the configuration."""
    return torch.stack([getattr(config, f"{name}_weight") * value for name, value in losses.items()]).sum()


def objective(
    config: AnyPaintingConfig, network: PerceptualNetwork, paintings: Paintings
) -> Callable[[Tensor, Tensor, Sequence[int]], Tensor]:
    """What training makes small but for what needs the network: of pictures, photos and the indices of paintings."""

    def judge(pictures: Tensor, photos: Tensor, chosen: Sequence[int]) -> Tensor:
        with precision.autocast():
            content, distances = compare(network, pictures, photos, [paintings.grams(index) for index in chosen])
        style, variation = torch.log1p(distances).sum(1), total_variation(pictures)
        seen = {"content": content, "style": style, "variation": variation, "lattice": lattice_loss(pictures)}
        return weighed(config, {name: value.mean() for name, value in seen.items()})

    return judge


def train(
    run: AnyPaintingRun,
    photos: Photos,
    paintings: Paintings,
    network: PerceptualNetwork,
    save: Callable[[], None],
    report: Callable[[int, dict[str, float]], None],
    save_every: int = 200,
    seconds: float = math.inf,
) -> None:
    """Train until `run.config.steps`, or for so many seconds in all, calling `save` on the way and at the end.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed or SIGTERM came; the state after the last whole step has been saved.
    """
    means: dict[str, float] = {}
    with deferred_interrupt() as signals:
        while run.step < run.config.steps and run.seconds < seconds:
            began = time.monotonic()
            losses = run.advance(photos, paintings, network)
            run.seconds += time.monotonic() - began
            means = {name: means.get(name, value) * 0.98 + value * 0.02 for name, value in losses.items()}
            report(run.step, means)
            last = run.step == run.config.steps or run.seconds >= seconds
            if run.step % save_every == 0 or last or signals:
                save()
            if signals:
                raise KeyboardInterrupt(signals[0])
