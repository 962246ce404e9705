"""The same network with the channels of a value brought to one size: integers have one scale for all of them.

Cross-layer equalisation (Nagel et al. 2019, arXiv:1906.04721, section 4.1): what a layer gives is divided channel by
channel, and what takes it is multiplied. Nothing but rounding is changed. There the ranges come from the weights; here
they are those of photos, and of the first convolution of each block only as much as the ReLU6 after its scale and shift
lets through.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgestyle.feedforward import FeedForward, Film, Residual
from edgestyle.images import Image

_SHARE = 1e-3
"""Of a channel's numbers, may lie outside the range by which it is divided."""
_CEILING = 6.0
"""What the ReLU6 after a scale and shift lets through."""
_FLOOR = 0.05
"""The smallest divisor, over the largest: a channel that hardly ever fires is left small."""


def equalise(net: FeedForward, photos: Sequence[Image]) -> FeedForward:
    """An equalised copy of a network of one painting.

    Args:
        net: In deploy form.
        photos: Calibration photos, each (1, 3, H, W).
    """
    net = copy.deepcopy(net)
    blocks = [block for block in net.trunk if isinstance(block, Residual)]
    stem, ranges = _Seen(net.stem), [_Modulated(block.conv1, block.film) for block in blocks]
    with torch.inference_mode():
        for photo in photos:
            net(torch.from_numpy(photo))
    for seen in (stem, *ranges):
        seen.end()
    with torch.no_grad():
        divisors = _relative(stem.ranges)
        _divide(net.stem, divisors)
        net.down.weight.mul_(divisors[None, :, None, None])
        _multiply(net.skip, divisors)
        for block, seen in zip(blocks, ranges, strict=True):
            divisors = _relative(seen.ranges)
            _divide(block.conv1, divisors)
            _multiply(block.film.scale, divisors)
    return net


def _relative(ranges: Tensor) -> Tensor:
    """Divisors that bring all channels to the largest range that there is."""
    return (ranges / ranges.max()).clamp_min(_FLOOR)


def _divide(layer: nn.Conv2d, divisors: Tensor) -> None:
    """Make the channels that a layer gives smaller."""
    layer.weight.div_(divisors[:, None, None, None])
    if layer.bias is not None:
        layer.bias.div_(divisors)


def _multiply(layer: nn.Conv2d, factors: Tensor) -> None:
    """Make the channels that a layer gives larger."""
    _divide(layer, 1 / factors)


class _Seen:
    """The largest range of each channel that a layer gives, over all photos."""

    def __init__(self, layer: nn.Module) -> None:
        self.ranges = torch.zeros(())
        self._hooks = [layer.register_forward_hook(lambda _module, _taken, given: self._look(given))]

    def _look(self, given: Tensor) -> None:
        self.widen(_range(given))

    def widen(self, ranges: Tensor) -> None:
        """Take in the ranges of a photo."""
        self.ranges = torch.maximum(self.ranges, ranges)

    def end(self) -> None:
        """Look no more."""
        for hook in self._hooks:
            hook.remove()


class _Modulated(_Seen):
    """The same of a layer that is scaled, shifted and cut off by a ReLU6: only as much as is let through counts."""

    def __init__(self, layer: nn.Module, film: Film) -> None:
        super().__init__(layer)
        self._given = self._scale = torch.zeros(())
        self._hooks.append(film.scale.register_forward_hook(lambda _module, _taken, given: self._keep(given)))
        self._hooks.append(film.shift.register_forward_hook(lambda _module, _taken, given: self._judge(given)))

    def _look(self, given: Tensor) -> None:
        self._given = _range(given)

    def _keep(self, scale: Tensor) -> None:
        self._scale = scale.flatten().abs()

    def _judge(self, shift: Tensor) -> None:
        needed = torch.maximum(shift.flatten(), _CEILING - shift.flatten()) / self._scale.clamp_min(1e-6)
        self.widen(torch.minimum(self._given, needed))


def _range(value: Tensor) -> Tensor:
    """Of each channel of (1, C, h, w), the largest magnitude but for the rarest share."""
    flat = value.detach()[0].flatten(1).abs()
    kept = max(1, round(flat.shape[1] * (1 - _SHARE)))
    return flat.kthvalue(kept, dim=1).values
