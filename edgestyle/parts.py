"""What of a checkpoint becomes a file.

A network that has learned its paintings is one file. The two networks of the adain family are two, which belong
together: the manifests of both describe the same style code. With one painting folded in they are one file again, like
any other filter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edgestyle import images
from edgestyle.errors import UsageError
from edgestyle.images import Image
from edgestyle.manifest import CODE, Contract, Role, Style, StyleCode, TensorSpec
from edgestyle.styling import SIDE, Code, Styling, blend, encode

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgestyle.adain import AdaIN
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.target import Size, Target

EXAMPLE = "coffee"
"""The sample photo (`images.sample_photos`) that stands in for a painting where files are checked."""


@dataclass(frozen=True)
class Part:
    """One file of a checkpoint."""

    name: str
    """The first part of the file's name."""
    net: nn.Module
    """A filter and an encoder take a picture, a transformer a picture and a code."""
    stride: int
    """Sides of pictures are multiples of this."""
    styles: tuple[Style, ...]
    role: Role = "filter"
    code: StyleCode | None = None
    pair: AdaIN | None = None
    """Both networks, where this is one of them."""

    def size(self, asked: Size) -> Size:
        """The size that it is exported at: of an encoder always the same."""
        return (SIDE, SIDE) if self.role == "encoder" else asked

    def output(self, target: Target, size: Size) -> TensorSpec:
        """What the file gives."""
        if self.role != "encoder" or self.code is None:
            return target.spec("stylized", size)
        shape = (1, self.code.length)
        return TensorSpec(name=CODE, shape=shape, layout="NC", dtype="float32", range=self.code.range, channels="code")

    @cached_property
    def alone(self) -> nn.Module:
        """The network as one of a single picture: a transformer paints by the example code."""
        from edgestyle.conditional import from_codes
        from edgestyle.learned import Learned

        if self.role != "transformer" or self.code is None:
            return self.net
        if isinstance(self.net, Learned):
            return self.net.specialized(self.code.example)
        return self.net if self.pair is None else from_codes(self.pair.transformer, _tensor(self.code))

    def made(self, photo: Image) -> Image:
        """What the float network makes of a photo, (1, 3, H, W), as it is looked at."""
        import torch

        with torch.inference_mode():
            picture: Image = self.alone(torch.from_numpy(photo)).numpy()
        return self.shown(picture)

    def shown(self, output: Image | Code) -> Image:
        """What a file gives as a picture: a code as what is painted by it, for that is what counts of it."""
        import torch

        if self.role != "encoder" or self.pair is None or output.shape[1:] != (self.pair.config.code,):
            return output
        photo = images.centre_crop(images.sample_photos()["astronaut"], (SIDE, SIDE))
        with torch.inference_mode():
            picture: Image = self.pair.transformer(torch.from_numpy(photo), torch.from_numpy(output)).numpy()
        return picture


def of(checkpoint: Checkpoint, target: Target, style: Style | None = None, code: Code | None = None) -> list[Part]:
    """The files that a checkpoint becomes.

    Args:
        checkpoint: A trained network.
        target: The format.
        style: What to call a painting, or a blend, that is to be folded in.
        code: Its code, (1, length); of a network that has learned several paintings a weight for each, (1, styles).

    Raises:
        UsageError: The network takes no code.
    """
    if checkpoint.config.family != "adain":
        if style is None or code is None:
            return [_learned(checkpoint)]
        return [_chosen(_named(checkpoint, style), checkpoint, style, code[0].tolist())]
    pair, encoder = checkpoint.pair(), f"{checkpoint.name}-encoder"
    if style is None or code is None:
        about = _about(example(pair), f"{encoder}-{SIDE}{target.suffix}")
        return [_encoder(encoder, pair, about), _transformer(checkpoint.name, pair, about)]
    return [_folded(_named(checkpoint, style), pair, (style,), _about(code, ""))]


def each(checkpoint: Checkpoint, target: Target) -> list[Part]:
    """One file for each painting that a network has learned: what apps take that run filters of one."""
    styles = checkpoint.config.styles
    if len(styles) == 1:
        return of(checkpoint, target)
    return [_alone(checkpoint, index) for index in range(len(styles))]


def single(checkpoint: Checkpoint, target: Target, style: Style | None = None, code: Code | None = None) -> Part:
    """The one file that a checkpoint becomes, which takes a photo alone. Arguments as of `of`.

    Raises:
        UsageError: Its files take a style besides; it says how to settle that.
    """
    part, *others = of(checkpoint, target, style, code)
    if others:
        raise UsageError(f"{checkpoint.name} paints by any painting; say which one, by --style PAINTING")
    if part.role != "filter":
        names = ", ".join(style.name for style in part.styles)
        raise UsageError(
            f"{checkpoint.name} has learned {len(part.styles)} paintings; say which by --style-weights: {names}"
        )
    return part


def by_example(checkpoint: Checkpoint, target: Target) -> Part:
    """`single` of any checkpoint: of one that has learned several paintings the first, of a pair the example."""
    if checkpoint.config.family != "adain":
        return _alone(checkpoint, 0) if len(checkpoint.config.styles) > 1 else of(checkpoint, target)[0]
    return single(checkpoint, target, Style(name=EXAMPLE, title=EXAMPLE), example(checkpoint.pair()))


def painting(checkpoint: Checkpoint, wanted: Styling) -> tuple[Style, Code]:
    """What to call a painting, or several mixed, that is to be folded in, and its code: arguments of `of`.

    Raises:
        ConfigError: The network has learned its paintings.
        ImageError: A file is no picture.
    """
    from edgestyle.stylize import PairPainter

    painter = PairPainter(checkpoint.name, checkpoint.pair())
    codes = [painter.code(images.read(path)) for path in wanted.styles]
    name = "+".join(path.stem for path in wanted.styles)
    return Style(name=name, title=name), blend(codes, wanted.weights, wanted.strength)


def described(checkpoint: Checkpoint, contract: Contract | None) -> Part:
    """The part of a checkpoint that became the file of a contract; of None, of one that has learned its paintings.

    Raises:
        UsageError: The checkpoint paints by a code, and the contract has none.
    """
    if contract is None or contract.code is None:
        return _learned(checkpoint)
    if checkpoint.config.family != "adain":
        if contract.role == "transformer":
            return _learned(checkpoint)
        return _chosen(contract.model, checkpoint, contract.styles[0], contract.code.example)
    pair = checkpoint.pair()
    if contract.role == "encoder":
        return _encoder(contract.model, pair, contract.code)
    if contract.role == "transformer":
        return _transformer(contract.model, pair, contract.code)
    return _folded(contract.model, pair, contract.styles, contract.code)


def example(pair: AdaIN) -> Code:
    """The code of the example painting, (1, length)."""
    import torch

    def encoder(square: Image) -> Code:
        with torch.inference_mode():
            code: Code = pair.encoder(torch.from_numpy(square)).numpy()
        return code

    return encode(encoder, images.sample_photos()[EXAMPLE])


def _learned(checkpoint: Checkpoint) -> Part:
    """A network that has learned its paintings; of several it takes their weights, and the first is the example."""
    net, styles = checkpoint.network(), checkpoint.config.styles
    if net.config.styles == 1:
        return Part(checkpoint.name, net, net.stride, styles)
    example = [float(i == 0) for i in range(net.config.styles)]
    return Part(checkpoint.name, net, net.stride, styles, "transformer", _weights(example))


def _alone(checkpoint: Checkpoint, index: int) -> Part:
    """One painting out of a network that has learned several."""
    styles = checkpoint.config.styles
    weights = [float(i == index) for i in range(len(styles))]
    return _chosen(_named(checkpoint, styles[index]), checkpoint, styles[index], weights)


def _chosen(name: str, checkpoint: Checkpoint, style: Style, weights: Sequence[float]) -> Part:
    """One painting, or one blend, out of a network that has learned several."""
    net = checkpoint.network().specialized(weights)
    return Part(name, net, net.stride, (style,), code=_weights(weights))


def _weights(example: Sequence[float]) -> StyleCode:
    return StyleCode(length=len(example), order="as styles", range=(0, 1), neutral=None, example=tuple(example))


def _named(checkpoint: Checkpoint, style: Style) -> str:
    """The first part of the name of a file with one style folded in."""
    return f"{checkpoint.name}-{re.sub(r'[^A-Za-z0-9]+', '_', style.name).strip('_') or 'style'}"


def _encoder(name: str, pair: AdaIN, about: StyleCode) -> Part:
    return Part(name, pair.encoder, SIDE, (), "encoder", about, pair)


def _transformer(name: str, pair: AdaIN, about: StyleCode) -> Part:
    return Part(name, pair.transformer, pair.transformer.stride, (), "transformer", about, pair)


def _folded(name: str, pair: AdaIN, styles: tuple[Style, ...], about: StyleCode) -> Part:
    from edgestyle.conditional import from_codes

    return Part(name, from_codes(pair.transformer, _tensor(about)), pair.transformer.stride, styles, code=about)


def _about(code: Code, encoder: str) -> StyleCode:
    return StyleCode(
        length=code.shape[1], encoder=encoder, example=tuple(round(number, 6) for number in code[0].tolist())
    )


def _tensor(about: StyleCode) -> Tensor:
    import torch

    return torch.from_numpy(np.array([about.example], np.float32))
