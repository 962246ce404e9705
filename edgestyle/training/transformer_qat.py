"""Quantization-aware fine-tuning of a transformer of many styles: it learns to paint in integers as in floats.

Each step paints a batch three times: with the network as it was at the start, with the network as it is, and with the
network rounding what its layers give. The second is kept near the first, the third near the second, and the more so
where a photo is flat: there, strokes are made out of the slightest differences, which rounding moves the most. Now and
then the third is also to look like its painting, as in training.

An exported file has one painting folded in, and ranges of its own (a network of one painting is fine-tuned by those:
`edgestyle.training.qat`). To find them for every painting that is drawn would take all the time, so here they are
running means (Jacob et al. 2018, arXiv:1712.05877) over all paintings.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from edgestyle import precision
from edgestyle.adain import AdaIN, Transformer
from edgestyle.drift import psnr
from edgestyle.errors import CheckError
from edgestyle.learned import Learned, deploy
from edgestyle.training.photos import Photos, flattened
from edgestyle.training.qat import QatProgress, check_batches
from edgestyle.training.view import View

AnyTransformer = TypeVar("AnyTransformer", bound=Transformer)
_WIDER = 1.5
"""Times the range that a crop has is, about, what an export finds on whole photos. With the finer steps of the narrower
range a network learns too little: night skies of `models/gallery` were at 38 dB in files after 3,500 steps of them, and
at 41 after 900 more."""


@dataclass(frozen=True)
class TransformerQatConfig:
    """How to fine-tune."""

    steps: int = 6000
    """Batches to learn from: half an hour on a CPU."""
    batch: int = 2
    """Photos in a batch, each with a painting of its own; the first is made flat."""
    crop: int = 256
    """Side of the crops in pixels; a multiple of 8."""
    scales: tuple[int, int] = (352, 640)
    """Short side of the photos that crops are cut from, drawn evenly between the two."""
    int8_weight: float = 4.0
    """How much the rounded picture against the float one counts, to the float one against that of the start."""
    tolerated_db: float = 45.0
    """PSNR of the rounded picture that is good enough: only those that are worse count, see `qat.QatConfig`."""
    flat_weight: float = 16.0
    """By how much more it counts in the flat photo."""
    perceive_every: int = 4
    """Steps after which content and style are looked at: that costs ten times as much as all else."""
    learning_rate: float = 1e-3
    """Adam's; it falls to zero over the second half."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_batches(self.crop, steps=self.steps, batch=self.batch, perceive_every=self.perceive_every)

    @property
    def view(self) -> View:
        """What content and style are taken of."""
        return View(self.crop)

    def rate(self, step: int) -> float:
        """Learning rate at `step`, after a warm-up of 100 steps."""
        return self.learning_rate * min(1.0, (step + 1) / 100, 2 * (self.steps - step) / self.steps)


Perceive = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""From pictures and their photos, both (B, 3, H, W) in [0, 1], and the indices of their paintings, to a number that
training makes small."""


class Rounding:
    """Lets a transformer round what its layers give to 8 bits, within `active`.

    Gradients pass through the rounding as if it were not there, and not where a range cuts off.
    """

    def __init__(self, transformer: Transformer) -> None:
        self._ends: dict[str, tuple[Tensor, Tensor]] = {}
        self._active = False
        for name, module in transformer.named_modules():
            if _is_rounded(name):
                module.register_forward_hook(lambda _, __, given, name=name: self._apply(name, given))
        if len(transformer.finish):
            transformer.finish[0].register_forward_pre_hook(lambda _, taken: (self._apply("", taken[0]), *taken[1:]))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Round, inside."""
        self._active = True
        try:
            yield
        finally:
            self._active = False

    def _apply(self, name: str, value: Tensor) -> Tensor:
        if not self._active:
            return value
        value = value.float()
        name = f"{name} {value.shape[1]}"  # an activation may serve layers of several widths
        seen = value.detach().amin((1, 2, 3)).mean().clamp_max(0), value.detach().amax((1, 2, 3)).mean().clamp_min(0)
        before = self._ends.get(name, seen)
        low, high = self._ends[name] = before[0].lerp(seen[0], 0.01), before[1].lerp(seen[1], 0.01)
        low, high = _WIDER * low, _WIDER * high
        step = ((high - low) / 255).clamp_min(1e-8)
        cut = value.clamp(low, high)
        return cut + ((cut / step).round() * step - cut).detach()


def _is_rounded(name: str) -> bool:
    """Whether a layer of a transformer gives what a file holds in integers; norms and what they are given to are not
    among them, nor is what goes straight into an activation.
    """
    if name in ("lens", "lens.stem", "act", "up", "head_depthwise", "head_norm", "head"):
        return True
    part, _, layer = name.partition(".")
    inside = layer.partition(".")[2]
    return (
        part in ("trunk", "finish")
        and layer != ""
        and inside in ("", "act", "conv1.conv", "conv2", "conv2.conv", "project", "norm")
    )


def fine_tune(
    transformer: AnyTransformer,
    teacher: Transformer,
    photos: Photos,
    codes: Tensor,
    config: TransformerQatConfig,
    perceive: Perceive | None = None,
    report: Callable[[QatProgress], None] = lambda _: None,
) -> AnyTransformer:
    """Fine-tune a transformer for int8.

    Args:
        transformer: What to begin with; it is not changed.
        teacher: Whose pictures are to be kept: the same network, or one that it has been cut out of.
        photos: To learn on.
        codes: Of the paintings to learn on, (N, code); of a conditional network its style vectors.
        config: How.
        perceive: Keeps content and style of the rounded picture; without it only the two squared errors count.
        report: Called after each step.

    Returns:
        The fine-tuned transformer, in deploy form.

    Raises:
        CheckError: The loss is NaN or infinite.
    """
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    aim: nn.Module = copy.deepcopy(teacher).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net: AnyTransformer = copy.deepcopy(transformer).requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    photo_at_zero = not isinstance(transformer, Learned)
    rounding, running = Rounding(net), [0.0, 0.0]
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        looks = perceive if step % config.perceive_every == 0 else None
        side = config.view.seen if looks else config.crop
        batch = photos.crops(config.batch, side, config.scales, generator)
        chosen = torch.randint(len(codes), (config.batch,), generator=generator).tolist()
        if looks:
            total, errors, rounded = _losses(config, batch, codes[chosen], aim, net, rounding)
            inside = config.view.inside(generator)
            total = total + looks(rounded[inside], batch[inside], chosen)
        else:
            batch, varied = flattened(batch, generator), _varied(codes, chosen, generator, photo_at_zero)
            total, errors, _ = _losses(config, batch, varied, aim, net, rounding)
        if not torch.isfinite(total):
            raise CheckError(f"the loss is {total.item()} at step {step}; try a smaller --learning-rate")
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        keep = min(0.98, 1 - 1 / (step + 1))
        running = [keep * mean + (1 - keep) * error for mean, error in zip(running, errors, strict=True)]
        report(QatProgress(step + 1, psnr(running[0]), psnr(running[1])))
    tuned = copy.deepcopy(transformer)  # without the hooks that round
    tuned.load_state_dict(net.state_dict())
    return deploy(tuned)


@torch.no_grad()
def encode(pair: AdaIN, squares: Sequence[Tensor]) -> Tensor:
    """Codes (N, code) of paintings as the encoder takes them, (3, 256, 256) in bytes each."""
    return torch.cat([pair.encoder(square[None].float() / 255) for square in squares])


def sample(photos: Photos, codes: Tensor, config: TransformerQatConfig) -> tuple[Tensor, Tensor]:
    """Sixteen photos and as many codes to look at a network on."""
    generator = torch.Generator().manual_seed(config.seed)
    return photos.crops(16, config.crop, config.scales, generator), codes[torch.arange(16) * len(codes) // 16]


def _varied(codes: Tensor, chosen: Sequence[int], generator: torch.Generator, photo_at_zero: bool) -> Tensor:
    """The codes chosen, some of them blended with others; where zeros are the photo, also some of less strength, and a
    few of the photo itself.
    """
    first, second = codes[chosen], codes[torch.randint(len(codes), (len(chosen),), generator=generator)]
    share, kind = torch.rand(2, len(chosen), 1, generator=generator)
    blended = torch.where(kind < 0.15, second.lerp(first, share), first)
    if not photo_at_zero:
        return blended
    weaker = torch.where((kind >= 0.15) & (kind < 0.3), blended * share, blended)
    return torch.where(kind > 0.96, torch.zeros_like(weaker), weaker)


def _losses(
    config: TransformerQatConfig, batch: Tensor, codes: Tensor, aim: nn.Module, net: nn.Module, rounding: Rounding
) -> tuple[Tensor, tuple[float, float], Tensor]:
    """What is to become small; two squared errors, of the rounded picture and of the float one; the rounded picture."""
    with precision.autocast():
        with torch.no_grad():
            wanted = aim(batch, codes).float()
        floats = net(batch, codes).float()
        with rounding.active():
            rounded = net(batch, codes).float()
    plain = (codes == 0).all(1)[:, None, None, None]
    start_error = floats - torch.where(
        plain, batch, wanted
    )  # strength 0 is the photo, whatever the teacher makes of it
    int8_error = rounded - floats
    is_worse = int8_error.detach().square().mean((1, 2, 3), keepdim=True) > 10 ** (-config.tolerated_db / 10)
    weight = is_worse.float()
    weight[0] *= math.sqrt(config.flat_weight)
    total = _error(start_error) + config.int8_weight * _error(int8_error * weight)
    return total, (int8_error.square().mean().item(), start_error.square().mean().item()), rounded


def _error(difference: Tensor) -> Tensor:
    """Of pixels, and of their differences from their neighbours: rounding shows as grain."""
    across, along = difference.diff(dim=3), difference.diff(dim=2)
    return 100 * (difference.square().mean() + across.square().mean() + along.square().mean())
