"""Will a network's numbers fit into fp16 on a GPU or NPU, at every size, and what to do where they do not.

fp16 ends at 65504 and has 11 bits. A value may fit and a sum may not: the sums of an instance norm grow with the
picture, and its squares pass 65504 in a picture of 512x512 already. "Delegated" is then not "right": a published case
on Arm's Mali delegated 350 of 350 nodes and was left with a correlation of 0.34.

`survey` measures what every operation of a torch network reaches on a photo, `findings` says what will not fit at
another size, and `rescale` cures the usual case exactly: an instance norm gives the same for `a x` as for `x` if its
epsilon is scaled by `a^2`, so the convolution before it may be scaled as one likes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from edgestyle import images
from edgestyle.images import Image

LARGEST, SMALLEST_NORMAL, SMALLEST = 65504.0, 2.0**-14, 2.0**-24
"""Of fp16: beyond the first is infinity, under the second bits are lost, under the third nothing is left."""
ROUNDING = 2.0**-12 / math.sqrt(3)
"""Of fp16: standard deviation of one rounding, as a share of the number rounded (at most)."""
UP_TO = (4096, 4096)
"""Largest picture, height and width."""
MIN_HEADROOM_DB = 30.0
"""Least distance of a layer's contrast from what its additions lose."""
MAX_SUBNORMAL = 0.5
"""Largest share of a result that may lie where fp16 has fewer bits. Some always does: ReLU ends at 0."""
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Reach:
    """How far one operation's numbers went on one photo."""

    layer: str
    """Path of the module in the network: "trunk.3.norm"."""
    op: str
    """Of torch: "conv2d"."""
    pixels: int
    """Of the photo."""
    peak: float
    """Largest value of its result, without sign."""
    contrast: float
    """Standard deviation of its result."""
    subnormal: float
    """Share of its result, other than 0, under 2^-14."""
    partial: float = 0.0
    """What a sum inside a convolution stays under in any order of adding: `sum |w| |x| + |b|`."""
    noise: float = 0.0
    """What is lost if it adds in fp16, expected: a rounding at every term of a sum of about the size of
    `sqrt(sum (w x)^2 + b^2 + y^2)`."""
    picture_sum: float = 0.0
    """Largest sum over the picture, without sign."""
    picture_squares: float = 0.0
    """Largest sum of squares over the picture."""
    line_sum: float = 0.0
    """Largest sum along one side of the picture, as of a mean that is taken one axis at a time."""

    def at(self, size: tuple[int, int]) -> float:
        """Largest number anywhere in it at another size.

        Sums over a picture grow with its pixels, sums along a side with the side; the rest depends on what is in it,
        not on how large it is.
        """
        growth, along = math.prod(size) / self.pixels, max(size) / math.sqrt(self.pixels)
        sums = self.picture_sum * growth, self.picture_squares * growth, self.line_sum * along
        return max(self.peak, self.partial, *sums)

    @property
    def headroom_db(self) -> float:
        """Distance of its contrast from what its additions lose; infinite where it adds nothing up."""
        return 20 * math.log10(self.contrast / self.noise) if self.noise and self.contrast else math.inf


@dataclass(frozen=True)
class Finding:
    """What does not fit into fp16."""

    layer: str
    op: str
    text: str


def findings(net: nn.Module, photos: Iterable[Image], size: tuple[int, int] = UP_TO) -> list[Finding]:
    """What does not fit into fp16 at a size where sums are kept in fp16 too, in the order of the network.

    Args:
        net: A network in evaluation mode, (1, 3, H, W) in [0, 1] to the same.
        photos: Real ones, (1, 3, H, W) RGB in [0, 1]; 256x256 will do, for what grows with the size is extrapolated.
        size: Height and width to judge.
    """
    found: dict[tuple[str, str], Finding] = {}
    for photo in photos:
        for reach in survey(net, photo):
            if text := _problem(reach, size):
                found.setdefault((reach.layer, reach.op), Finding(reach.layer, reach.op, text))
    return list(found.values())


def _problem(reach: Reach, size: tuple[int, int]) -> str:
    height, width = size
    if reach.peak > LARGEST:
        return f"its values reach {reach.peak:.3g}; fp16 ends at 65504"
    if reach.at(size) > LARGEST:
        return f"its sums reach {reach.at(size):.3g} at {width}x{height}; fp16 ends at 65504"
    if reach.headroom_db < MIN_HEADROOM_DB:
        return f"adding in fp16 loses {reach.noise:.3g} of a contrast of {reach.contrast:.3g}"
    if reach.subnormal > MAX_SUBNORMAL:
        return f"{reach.subnormal:.0%} of its values are under 2^-14, where fp16 has fewer bits"
    return ""


def survey(net: nn.Module, photo: Image) -> list[Reach]:
    """How far every operation goes on one photo (1, 3, H, W), in the order in which they run."""
    watch = _Survey(math.prod(photo.shape[2:]))
    _run(net, photo, watch)
    return watch.reaches


@torch.no_grad()
def rescale(net: Net, size: tuple[int, int] = UP_TO, photos: Iterable[Image] | None = None) -> Net:
    """A network that computes the same, with every instance norm's sums inside fp16 at a size.

    The convolution that feeds a norm, and only a norm, is scaled by a power of two, so that no bit of its weights is
    lost, and the norm's epsilon by its square. An epsilon that fp16 could not hold becomes the smallest that it can
    (against contrasts it is nothing, but a flat channel must not be divided by zero).

    Args:
        net: In evaluation mode. It is not changed.
        size: Height and width of the pictures.
        photos: To measure on, (1, 3, H, W) RGB in [0, 1], at least 256x256; the samples of the house if None.

    Returns:
        `net` itself where everything fits.
    """
    if not any(isinstance(module, nn.InstanceNorm2d) for module in net.modules()):
        return net
    photos = images.sample_photos().values() if photos is None else photos
    factors: dict[tuple[str, str], float] = {}
    for photo in photos:
        crop = images.centre_crop(photo, _MEASURED)
        watch = _Pairs()
        _run(net, crop, watch)
        for pair, x in watch.pairs().items():
            factors[pair] = min(factors.get(pair, 1.0), _factor(x, math.prod(size) / math.prod(_MEASURED)))
    if all(factor == 1 for factor in factors.values()):
        return net
    scaled = copy.deepcopy(net)
    for (conv, norm), factor in factors.items():
        _scale(scaled.get_submodule(conv), scaled.get_submodule(norm), factor)
    return scaled


_MEASURED = (256, 256)


def _factor(x: Tensor, growth: float) -> float:
    """The power of two, at most 1, that brings the sums of a norm over `x` (1, C, H, W) to a quarter of 65504.

    A quarter, because other photos go further than those that were measured. But no more than that the squares of its
    contrast stay normal numbers, and larger than the smallest epsilon: where that is not enough, nothing is.

    Args:
        x: What goes into the norm.
        growth: How much larger the picture will be, in pixels.
    """
    total, squares = (max(value * growth, 1.0) for value in _picture_sums("instance_norm", x, x))
    fitting = min(LARGEST / 4 / total, math.sqrt(LARGEST / 4 / squares))
    contrast = math.sqrt(float(x.var((2, 3), correction=0).mean()))
    least = _CONTRAST / contrast if contrast else 1.0
    return min(1.0, max(2.0 ** math.floor(math.log2(fitting)), 2.0 ** math.ceil(math.log2(least))))


_CONTRAST = 2.0**-4
"""Least standard deviation to scale down to. Its square, 2^-8, is 65536 times the smallest epsilon."""


def _scale(conv: nn.Module, norm: nn.Module, factor: float) -> None:
    """Scale a convolution and the epsilon of the norm after it, in place."""
    for parameter in conv.parameters():
        parameter.mul_(factor)
    if factor < 1 and isinstance(norm, nn.InstanceNorm2d):
        norm.eps = max(norm.eps * factor**2, SMALLEST)


# Watching a network run -----------------------------------------------------------------------------------------------


class _Watch(TorchFunctionMode):
    """Sees every torch function that runs, and in which module."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [""]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point():
            self.note(func.__name__, args, kwargs or {}, result)
        return result

    def note(self, op: str, args: Any, kwargs: Any, result: Tensor) -> None:
        raise NotImplementedError


class _Survey(_Watch):
    """Measures each result."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.reaches: list[Reach] = []
        self._pixels = pixels

    def note(self, op: str, args: Any, kwargs: Any, result: Tensor) -> None:
        size = result.abs()
        partial, noise = _ADDING[op](result, *args, **kwargs) if op in _ADDING else (0.0, 0.0)
        source = args[0] if args and isinstance(args[0], Tensor) else None
        total, squares = (0.0, 0.0) if source is None else _picture_sums(op, source, result)
        self.reaches.append(
            Reach(
                layer=self.layers[-1],
                op=op,
                pixels=self._pixels,
                peak=float(size.max()),
                contrast=float(result.std(correction=0)),
                subnormal=float(((size < SMALLEST_NORMAL) & (size > 0)).float().mean()),
                partial=partial,
                noise=noise,
                picture_sum=total,
                picture_squares=squares,
                line_sum=0.0 if source is None else _line_sum(op, source, result),
            )
        )


class _Pairs(_Watch):
    """Finds convolutions whose result goes into an instance norm and nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self._convolved: dict[int, tuple[str, Tensor]] = {}
        """Results of convolutions by `id`; kept, so that no `id` comes twice."""
        self._takers: dict[int, list[tuple[str, str]]] = {}

    def note(self, op: str, args: Any, kwargs: Any, result: Tensor) -> None:
        for value in tree_leaves((args, kwargs)):
            if id(value) in self._takers:
                self._takers[id(value)].append((op, self.layers[-1]))
        if op == "conv2d":
            self._convolved[id(result)] = self.layers[-1], result
            self._takers[id(result)] = []

    def pairs(self) -> dict[tuple[str, str], Tensor]:
        """Paths of convolution and norm -> what goes from one to the other."""
        return {
            (conv, self._takers[key][0][1]): result
            for key, (conv, result) in self._convolved.items()
            if [op for op, _ in self._takers[key]] == ["instance_norm"]
        }


def _run(net: nn.Module, photo: Image, watch: _Watch) -> None:
    """Run a network on one photo while `watch` looks on; its `layers` end in the path of the module that runs."""
    handles = []
    for name, module in net.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: watch.layers.append(name)))
        handles.append(module.register_forward_hook(lambda *_: (watch.layers.pop(), None)[1]))
    try:
        with torch.inference_mode(), watch:
            net(torch.from_numpy(photo))
    finally:
        for handle in handles:
            handle.remove()


def _picture_sums(op: str, source: Tensor, result: Tensor) -> tuple[float, float]:
    """Largest sum and largest sum of squares over a picture (1, C, H, W); zeros where an operation makes none."""
    if source.ndim != 4 or 1 in source.shape[2:]:
        return 0.0, 0.0
    if op == "instance_norm":
        return float(source.sum((2, 3)).abs().max()), float(source.square().sum((2, 3)).max())
    count, peak = source.numel() / result.numel(), float(result.abs().max())
    if count < math.prod(source.shape[2:]):
        return 0.0, 0.0
    return {
        "sum": (peak, 0.0),
        "mean": (peak * count, 0.0),
        "adaptive_avg_pool2d": (peak * count, 0.0),
        "var": (0.0, peak * count),
        "std": (0.0, peak**2 * count),
    }.get(op, (0.0, 0.0))


def _line_sum(op: str, source: Tensor, result: Tensor) -> float:
    """Largest sum along one side of a picture (1, C, H, W); zero where an operation makes none."""
    if source.ndim != 4 or op not in ("sum", "mean") or not result.numel():
        return 0.0
    count = source.numel() // result.numel()
    if count not in source.shape[2:] or count == 1:
        return 0.0
    return float(result.abs().max()) * (count if op == "mean" else 1)


def _adding(function: Callable[..., Tensor]) -> Callable[..., tuple[float, float]]:
    """Bound and noise of the sums of a convolution or a linear layer (see `Reach`)."""

    def reach(
        y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **options: Any
    ) -> tuple[float, float]:
        bound = function(x.abs(), weight.abs(), None if bias is None else bias.abs(), *rest, **options)
        squares = function(x.square(), weight.square(), None if bias is None else bias.square(), *rest, **options)
        terms = weight[0].numel()
        return float(bound.max()), ROUNDING * math.sqrt(terms * float((squares + y.square()).mean()))

    return reach


_ADDING = {"conv2d": _adding(F.conv2d), "linear": _adding(F.linear)}
