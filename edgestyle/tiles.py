"""Painting in tiles what does not fit into memory as a whole, with the same result.

A convolution sees a finite neighbourhood, so a tile with a wide enough border around it comes out as in the whole
picture. Means over the whole picture (of the input, or an instance norm's) do not: they are gathered first, in a pass
over all tiles for each, that ends where the mean is needed. A network with n such means is run n + 1 times, most of
them only in part.

Exported files cannot be painted so: their means are computed inside the file, of the tile instead of the picture.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Tile(NamedTuple):
    """A part of the picture, in pixels."""

    core: tuple[slice, slice]
    """Rows and columns that it paints."""
    seen: tuple[slice, slice]
    """Rows and columns that the network is given for it."""


def paint(net: nn.Module, photo: Tensor, side: int) -> Tensor:
    """What `net(photo)` is, but for rounding, with memory for little more than a tile.

    Args:
        net: Convolutions, what acts on each pixel alone, means over height and width, and instance norms.
        photo: (1, 3, H, W) in [0, 1].
        side: Of a tile's core in pixels; rounded up to what the network's strides ask for.
    """
    halo, step = reach(net)
    cut = list(tiles((photo.shape[2], photo.shape[3]), math.ceil(side / step) * step, halo))
    known: list[Tensor] = []
    painting = torch.empty_like(photo)
    while True:
        missing = Statistic()
        for tile in cut:
            rows, columns = tile.seen
            with torch.no_grad(), _PictureWide(known, missing, tile):
                try:
                    painted = net(photo[:, :, rows, columns])
                except _Gathered:
                    continue
            painting[:, :, *tile.core] = painted[:, :, *inside(tile)]
        if not missing.count:
            return painting
        known.append(missing.moments())


def reach(net: nn.Module) -> tuple[int, int]:
    """How far a pixel of the painting sees, in pixels, and what tiles must begin at multiples of: the largest stride.

    The first is an upper bound: the sum over all convolutions, also of those that lie side by side.
    """
    side = 256
    seen, strides = 0, [1]

    def look(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal seen
        if not isinstance(conv, nn.Conv2d) or inputs[0].shape[2] == 1:  # what is one value for the whole picture
            return
        stride = side // inputs[0].shape[2]
        before = int(conv.padding[0])
        seen += stride * max(before, conv.kernel_size[0] - 1 - before)
        strides.append(side // output.shape[2])

    hooks = [module.register_forward_hook(look) for module in net.modules() if isinstance(module, nn.Conv2d)]
    try:
        with torch.no_grad():
            net(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    step = max(strides)
    return math.ceil(seen / step) * step, step


def tiles(size: tuple[int, int], side: int, halo: int) -> Iterator[Tile]:
    """Tiles whose cores cover a picture of height and width `size`, each seen with up to `halo` pixels around it."""
    height, width = size
    for top in range(0, height, side):
        for left in range(0, width, side):
            core = slice(top, min(top + side, height)), slice(left, min(left + side, width))
            seen = tuple(slice(max(0, c.start - halo), min(c.stop + halo, n)) for c, n in zip(core, size, strict=True))
            yield Tile(core, (seen[0], seen[1]))


def inside(tile: Tile, shrunk: float = 1) -> tuple[slice, slice]:
    """Where a tile's core lies in what was computed of it, `shrunk` times smaller than the picture."""
    rows, columns = (
        slice(int((c.start - s.start) / shrunk), math.ceil((c.stop - s.start) / shrunk))
        for c, s in zip(tile.core, tile.seen, strict=True)
    )
    return rows, columns


# Means over the whole picture ---------------------------------------------------------------------------------------


class _Gathered(Exception):  # noqa: N818  # no error: a tile has given what it was run for
    pass


@dataclass
class Statistic:
    """Sums over the tiles that have been seen, in float64."""

    count: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, x: Tensor) -> None:
        """Add the values (1, C, h, w) of a tile's core."""
        self.count += x.shape[2] * x.shape[3]
        self.sums = self.sums + x.double().sum((2, 3), keepdim=True)
        self.squares = self.squares + x.double().square().sum((2, 3), keepdim=True)

    def moments(self) -> Tensor:
        """Mean and variance of each channel, (2, 1, C, 1, 1)."""
        mean = self.sums / self.count
        return torch.stack([mean, self.squares / self.count - mean.square()])


class _PictureWide(TorchFunctionMode):
    """Within, means over height and width are those of the whole picture, as far as they are known.

    The first that is not gathers this tile's part, and ends the run.
    """

    def __init__(self, known: list[Tensor], missing: Statistic, tile: Tile) -> None:
        super().__init__()
        self.known, self.missing, self.tile, self.next = known, missing, tile, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.instance_norm:
            call = inspect.signature(func).bind(*args, **kwargs)
            call.apply_defaults()
            return self._instance_norm(call.arguments)
        if func in (torch.Tensor.mean, torch.mean) and args[0].ndim == 4:
            dims = args[1] if len(args) > 1 else kwargs.get("dim")
            axes = {d % 4 for d in ((dims,) if isinstance(dims, int) else dims or ())}
            if axes == {2, 3} or (axes and axes < {2, 3} and 1 not in args[0].shape[2:]):
                mean = self._mean(args[0], axes)
                return mean if kwargs.get("keepdim", len(args) > 2 and args[2]) else mean.squeeze(tuple(axes))
        return func(*args, **kwargs)

    def _mean(self, x: Tensor, axes: set[int]) -> Tensor:
        """The picture's mean, for a mean over both axes, or over the first of two that are taken one after the other;
        the second, over what is all the same then, is left as it is.
        """
        mean = self._moments(x)[0].to(x.dtype)
        return mean.expand(-1, -1, *(1 if axis in axes else x.shape[axis] for axis in (2, 3)))

    def _moments(self, x: Tensor) -> Tensor:
        if self.next == len(self.known):
            shrunk = (self.tile.seen[0].stop - self.tile.seen[0].start) / x.shape[2]
            self.missing.add(x[:, :, *inside(self.tile, 2 ** round(math.log2(shrunk)))])
            raise _Gathered
        self.next += 1
        return self.known[self.next - 1]

    def _instance_norm(self, call: dict[str, Any]) -> Tensor:
        mean, var = self._moments(call["input"])
        normed = (call["input"] - mean) * torch.rsqrt(var + call["eps"])
        result: Tensor = normed.to(call["input"].dtype)
        if call["weight"] is not None:
            result = result * call["weight"][:, None, None] + call["bias"][:, None, None]
        return result
