"""First weights: for a network without norms, and for what a trained network has not had so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from edgestyle.adain import AdaptiveNorm, FixedLens, GreyLens, NormedInvertedResidual, StyledInvertedResidual
from edgestyle.conditional import Conditional
from edgestyle.learned import Learned, deploy


@torch.no_grad()
def unit_variance(net: nn.Module, photos: Tensor, *style: Tensor) -> None:
    """Scale and shift each convolution, in place, until every channel has mean 0 and variance 1 over `photos`.

    What a norm does at every step, done once: layer-sequential unit variance (Mishkin & Matas 2016, arXiv:1511.06422)
    with the data-dependent biases of Salimans & Kingma 2016 (arXiv:1602.07868, section 3). Without it a deep network
    without norms begins with signals that fade from layer to layer, and learns several times slower.

    Args:
        net: Its convolutions must be registered in the order in which they run.
        photos: (B, 3, H, W) RGB in [0, 1]; a dozen are enough.
        style: Style vectors (B, S), for a network of several paintings.
    """
    for conv in [module for module in net.modules() if isinstance(module, nn.Conv2d)]:
        handle = conv.register_forward_hook(_rescale)
        net(photos, *style)
        handle.remove()


def learn_identity(net: Learned, batches: Iterable[tuple[Tensor, ...]], learning_rate: float) -> None:
    """Train `net`, in place, to give back the photo by mean absolute error, one step of Adam a batch.

    Perceptual training then begins where Gatys et al. 2016 begin, at the photo, and keeps what is in it. From random
    weights it finds a texture first, the same everywhere, and is slow to let the photo in again.

    Args:
        net: The network.
        batches: Photos (B, 3, H, W) in [0, 1]; for a network of several paintings with style vectors (B, S).
        learning_rate: Adam's.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=learning_rate, betas=(0.9, 0.99))
    for photos, *style in batches:
        loss = (net(photos, *style) - photos).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _rescale(conv: nn.Conv2d, _: tuple[Tensor], out: Tensor) -> Tensor:
    """Bring this convolution's output to mean 0 and variance 1, and hand on what it gives from now on.

    A convolution on a code says one number a picture, not a picture, and keeps the weights that it begins with.
    """
    if out.shape[2:] == (1, 1):
        return out
    mean, std = out.mean((0, 2, 3)), out.std((0, 2, 3)).clamp_min(1e-6)
    conv.weight.div_(std.reshape(-1, 1, 1, 1))
    if conv.bias is not None:
        conv.bias.sub_(mean).div_(std)
    return (out - mean.reshape(1, -1, 1, 1)) / std.reshape(1, -1, 1, 1)


@torch.no_grad()
def with_fine_norms(net: Conditional, photos: Tensor) -> Conditional:
    """A trained network with `fine_norms`, to go on training with: on average over photos it paints as before.

    A norm before the head holds each channel, and so the Gram matrices of the picture, to the same energy in every
    photo; without one, the energy of a photo's own detail comes through.

    Args:
        net: In deploy form, without them; it is not changed.
        photos: (B, 3, H, W) RGB in [0, 1]; a handful is enough.
    """
    normed = Conditional(replace(net.config, fine_norms=True))
    normed.load_state_dict(net.state_dict(), strict=False)
    styles = torch.eye(net.config.styles)
    for norm, (before_scales, before_shifts) in zip(_fine_norms(normed), _modulations(net, styles), strict=True):
        means, deviations = zip(*(_statistics(norm, normed, photos, style[None]) for style in styles), strict=True)
        shifts = torch.stack(means) * before_scales + before_shifts
        norm.hold(torch.stack(deviations) * before_scales, shifts)
    return deploy(normed)


@torch.no_grad()
def with_grey_lens(net: Conditional, photos: Tensor) -> Conditional:
    """A trained network of one painting with a `GreyLens`, to go on training with: a photo of the mean colour and
    contrast is painted as before.

    Args:
        net: In deploy form, with a `FixedLens`; it is not changed.
        photos: (B, 3, H, W) RGB in [0, 1]; a handful is enough.
    """
    lens = net.lens
    assert isinstance(lens, FixedLens)  # noqa: S101  # for mypy
    plain = Conditional(replace(net.config, picture_norm=False))
    plain.load_state_dict(
        {name: value for name, value in net.state_dict().items() if name[:5] != "lens."}, strict=False
    )
    assert isinstance(plain.lens, GreyLens)  # noqa: S101  # for mypy
    mean, scale = lens.norm(photos)
    gain = lens.normed * scale - lens.minus_plain  # (B, C, 1, 1)
    of_flat = torch.einsum(
        "ockl,bcij->boij", lens.stem.weight, plain.lens.grey - mean
    )  # the stem of one colour all over
    plain.lens.stem.weight.copy_(lens.stem.weight * gain.mean(0)[:, None])
    assert plain.lens.stem.bias is not None  # noqa: S101  # for mypy
    plain.lens.stem.bias.copy_((lens.colour(mean) + of_flat * gain).mean((0, 2, 3)))
    return deploy(plain)


def _fine_norms(net: Conditional) -> list[AdaptiveNorm]:
    """Those at 1/4 of the size, in the order in which they run."""
    blocks = [block.norm for block in net.finish if isinstance(block, NormedInvertedResidual)]
    return [*blocks, *([net.head_norm] if net.head_norm is not None else [])]


def _modulations(net: Conditional, styles: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """What a network without those norms does in their place to what convolutions without a bias give: scales and
    shifts (S, C).
    """
    for block in net.finish:
        assert isinstance(block, StyledInvertedResidual)  # noqa: S101  # for mypy
        scale, shift = torch.ones(len(styles), net.config.width), torch.zeros(len(styles), net.config.width)
        if block.modulation is not None:
            scale, shift = (value.flatten(1) for value in block.modulation(styles[:, :, None, None]))
        assert block.project.bias is not None  # noqa: S101  # for mypy
        yield scale, scale * block.project.bias + shift
    assert net.head_depthwise.bias is not None  # noqa: S101  # for mypy
    yield torch.ones(len(styles), net.config.width), net.head_depthwise.bias.expand(len(styles), -1)


def _statistics(norm: AdaptiveNorm, net: Conditional, photos: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of what a norm takes, and what it divides by, (C,) each, on average over photos in one style."""
    seen: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _, taken: seen.append(taken[0]))
    net(photos, *([style.expand(len(photos), -1)] if net.config.styles > 1 else []))
    handle.remove()
    variance = seen[0].var((2, 3), correction=0)
    return seen[0].mean((0, 2, 3)), (variance + norm.norm.eps).sqrt().mean(0)
