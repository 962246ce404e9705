"""First weights for a network without norms."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgestyle.learned import Learned


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
