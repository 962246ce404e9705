"""A narrower network out of a trained one: of the channels at 1/4 or at 1/8 of the size, those that matter most stay.

Structured pruning (Li et al. 2017, arXiv:1608.08710), by what the channels do on pictures rather than by their weights
alone. What stays paints nearly as before, and learns the rest back in minutes (`edgestyle.training.loop`,
`edgestyle.training.transformer_qat`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgestyle.adain import AdaIN, StyledInvertedResidual, StyledResidual, Transformer
from edgestyle.conditional import Conditional
from edgestyle.errors import ConfigError
from edgestyle.learned import deploy


@torch.no_grad()
def narrow(pair: AdaIN, width: int, photos: Tensor, codes: Tensor) -> AdaIN:
    """A pair whose transformer has `width` channels at 1/4 of the picture's size; the encoder stays as it is.

    Args:
        pair: Not changed.
        width: At most as many as it has.
        photos: To see what the channels do on, (B, 3, H, W) in [0, 1].
        codes: By which they are painted, (B, code).

    Raises:
        ConfigError: The network is narrower already, or no network can be so narrow.
    """
    old, config = pair.transformer, replace(pair.config, width=width)
    if width > old.config.width:
        raise ConfigError(f"width is {width}; the network has {old.config.width} channels, and can only lose some")
    spread = _spread(old, photos, codes)
    kept = _most(_importance(old, spread), width)
    narrowed = AdaIN(config)
    narrowed.encoder.load_state_dict(pair.encoder.state_dict())
    inside = {}
    for name, block in old.finish.named_children():
        assert isinstance(block, StyledInvertedResidual)  # noqa: S101  # for mypy
        inside[name] = _most(_inside(block, spread[f"finish.{name}.expand"], kept), width * old.config.expansion)
    state = {name: _part(name, value, kept, inside) for name, value in old.state_dict().items()}
    narrowed.transformer.load_state_dict(state)
    return narrowed.eval().requires_grad_(False)


@torch.no_grad()
def narrow_trunk(net: Conditional, width: int, photos: Tensor) -> Conditional:
    """A network with `width` channels at 1/8 of the picture's size, where most of the work is done: those without which
    its pictures would change the most.

    Args:
        net: In deploy form; it is not changed.
        width: At most as many as it has.
        photos: To see that on, (B, 3, H, W) in [0, 1]; a handful is enough. Of several paintings each takes the next.

    Raises:
        ConfigError: The network is narrower already, or no network can be so narrow.
    """
    if width > net.config.trunk_width:
        raise ConfigError(f"trunk_width is {width}; the network has {net.config.trunk_width}, and can only lose some")
    narrowed = Conditional(replace(net.config, trunk_width=width))
    styles = torch.eye(net.config.styles)[torch.arange(len(photos)) % net.config.styles]
    inputs = (photos, styles) if net.config.styles > 1 else (photos,)
    residuals = [block for block in net.trunk if isinstance(block, StyledResidual)]
    outside = _most(_change_without(net, inputs, [net.down, *(block.conv2 for block in residuals)]), width)
    inside = [_most(_change_without(net, inputs, [block.conv1]), width) for block in residuals]

    def part(name: str, value: Tensor) -> Tensor:
        """What stays of a parameter."""
        layer, *rest = name.split(".")
        if layer not in ("down", "trunk", "up"):
            return value
        if layer == "up":
            return value[:, outside] if rest == ["weight"] else value
        if layer == "down":
            return value[outside]
        block, conv, *of = rest
        given, taken = inside[int(block)], outside
        if conv == "conv2":
            given, taken = taken, given
        return value[given][:, taken] if of == ["conv", "weight"] else value[given]

    narrowed.load_state_dict({name: part(name, value) for name, value in net.state_dict().items()})
    return deploy(narrowed)


def _change_without(net: Conditional, inputs: Sequence[Tensor], layers: Sequence[nn.Module]) -> Tensor:
    """By how much pictures change if a channel of what some layers give, of the same number each, is zero: (C,)."""
    whole, changes = net(*inputs), []
    for channel in range(net.config.trunk_width):

        def silence(_: nn.Module, __: object, given: Tensor, channel: int = channel) -> Tensor:
            silenced = given.clone()
            silenced[:, channel] = 0
            return silenced

        handles = [layer.register_forward_hook(silence) for layer in layers]
        changes.append((net(*inputs) - whole).square().mean())
        for handle in handles:
            handle.remove()
    return torch.stack(changes)


def _spread(transformer: Transformer, photos: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """Standard deviation of each channel that some layers give, by the name of the layer."""
    seen: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(_: nn.Module, __: object, given: Tensor) -> None:
            given = given.clamp(0, 6) if name.endswith("expand") else given  # as the ReLU6 behind it lets through
            seen[name] = given.std((0, 2, 3))

        return layer.register_forward_hook(look)

    names = ["lens", *(f"finish.{i}" for i in range(len(transformer.finish)))]
    names += [f"{name}.expand" for name in names[1:]]
    handles = [watch(name, transformer.get_submodule(name)) for name in names]
    try:
        transformer(photos, codes)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _importance(transformer: Transformer, spread: dict[str, Tensor]) -> Tensor:
    """How much the layers that read a channel at 1/4 get from it, the head and `down`, (C,); 1 on average for each."""
    last = spread[f"finish.{len(transformer.finish) - 1}"] if len(transformer.finish) else spread["lens"]
    head = last * transformer.head_depthwise.weight.abs().sum((1, 2, 3)) * _norms(transformer.head.weight, 1)
    down = spread["lens"] * _norms(transformer.down.weight, 1)
    return head / head.mean() + down / down.mean() / 2


def _inside(block: StyledInvertedResidual, spread: Tensor, kept: Tensor) -> Tensor:
    """How much an inverted residual gives of each channel inside it, to those outside that are kept."""
    return spread * _norms(block.depthwise.weight, 0) * _norms(block.project.weight[kept], 1)


def _norms(weight: Tensor, axis: int) -> Tensor:
    """Euclidean norm of a convolution's weights for each index along `axis`."""
    norms: Tensor = weight.transpose(0, axis).flatten(1).norm(dim=1)
    return norms


def _most(importance: Tensor, count: int) -> Tensor:
    """The indices of the `count` largest, in order."""
    return importance.topk(count).indices.sort().values


def _part(name: str, value: Tensor, kept: Tensor, inside: dict[str, Tensor]) -> Tensor:
    """What stays of a parameter: which of its rows (channels given) and columns (channels taken)."""
    layer = name.rpartition(".")[0]
    if layer.startswith("trunk"):
        return value
    if layer == "up":  # a pixel shuffle follows: four rows a channel
        return value[(4 * kept[:, None] + torch.arange(4)).flatten()]
    if layer in ("down", "head"):
        return value[:, kept] if name.endswith("weight") else value
    block, _, part = layer.removeprefix("finish.").partition(".")
    if part == "expand":
        value = value[inside[block]]
        return value[:, kept] if name.endswith("weight") else value
    if part == "depthwise":
        return value[inside[block]]
    if part == "project" and name.endswith("weight"):
        return value[kept][:, inside[block]]
    return value[kept]
