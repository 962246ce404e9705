"""LPIPS, the learned perceptual distance of Zhang et al. 2018 (arXiv:1801.03924), and nothing that looks like it.

LPIPS is a backbone (torchvision's ImageNet weights of AlexNet, VGG-16 or SqueezeNet 1.1) and heads that were fitted to
people's judgement on that very backbone. The same formula on other weights gives other numbers (half as much again on
another training of SqueezeNet 1.1), so the files are known by their hashes and all others are refused. They are not
part of edgestyle:

- backbones: download.pytorch.org/models/ + `Backbone.file`
- heads: the folder lpips/weights/v0.1/ of github.com/richzhang/PerceptualSimilarity
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgestyle.errors import ConfigError, UnavailableError
from edgestyle.files import sha256
from edgestyle.metrics import unit_distance

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    """`sum over layers of mean over h, w of sum over c of w_c (f_c / |f| - g_c / |g|)^2` (equation 1).

    `f` and `g` are the features of two pictures, scaled to [-1, 1] and then shifted and scaled a channel as the heads
    were fitted.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, features: nn.Sequential, taps: Sequence[int], heads: Sequence[Tensor]) -> None:
        """Compare after the layers `taps` of `features`, weighted by `heads`, (C, 1, 1) each. `load` reads them."""
        super().__init__()
        self.features, self.taps, self.heads = features, taps, heads
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, actual: Tensor, reference: Tensor) -> Tensor:
        """Distances of pictures (B, 3, H, W) RGB in [0, 1]: (B,), 0 is equal."""
        pairs = zip(self._tapped(actual), self._tapped(reference), self.heads, strict=True)
        return torch.stack([unit_distance(a, b, head).mean((1, 2)) for a, b, head in pairs]).sum(0)

    def _tapped(self, pictures: Tensor) -> list[Tensor]:
        x = (2 * pictures - 1 - self.shift) / self.scale
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                found.append(x)
        return found


def load(backbone: Path, heads: Path) -> LPIPS:
    """LPIPS 0.1 from torchvision's weights of a backbone and the heads that belong to it.

    Raises:
        UnavailableError: A file is missing; the message says where it comes from.
        ConfigError: It is another file.
    """
    chosen = _known(backbone)
    _require(heads, f"the LPIPS heads lpips/weights/v0.1/{chosen.heads} of github.com/richzhang/PerceptualSimilarity")
    if sha256(heads) != chosen.heads_sha256:
        raise ConfigError(f"{heads} is not the LPIPS 0.1 file {chosen.heads}, which belongs to {chosen.file}")
    features = chosen.features()
    stored = torch.load(backbone, map_location="cpu", weights_only=True)
    prefix = "features."
    features.load_state_dict({k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)})
    fitted = torch.load(heads, map_location="cpu", weights_only=True)
    return LPIPS(features, chosen.taps, [fitted[f"lin{i}.model.1.weight"][0] for i in range(len(chosen.taps))])


def _known(path: Path) -> Backbone:
    """The backbone whose weights are in `path`, by hash: torchvision's file names end in its first eight digits."""
    files = ", ".join(backbone.file for backbone in BACKBONES)
    _require(path, f"one of torchvision's {files}, from download.pytorch.org/models/")
    digest = sha256(path)
    for backbone in BACKBONES:
        if digest.startswith(backbone.file.removesuffix(".pth").rsplit("-", 1)[1]):
            return backbone
    raise ConfigError(f"{path} is none of torchvision's {files}; on other weights it would not be LPIPS")


def _require(path: Path, what: str) -> None:
    if not path.is_file():
        raise UnavailableError(f"there is no {path}; LPIPS needs {what}")


# Backbones, layer for layer as torchvision numbers them ---------------------------------------------------------------


@dataclass(frozen=True)
class Backbone:
    """A network that LPIPS heads exist for."""

    file: str
    """Name of torchvision's weights; the digits are the start of the file's SHA-256."""
    features: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    """Indices of the layers that are compared."""
    heads: str
    heads_sha256: str


def _conv(inside: int, outside: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, kernel, stride, padding), nn.ReLU()]


def _alexnet() -> nn.Sequential:
    return nn.Sequential(
        *_conv(3, 64, 11, 4, 2),
        nn.MaxPool2d(3, 2),
        *_conv(64, 192, 5, 1, 2),
        nn.MaxPool2d(3, 2),
        *_conv(192, 384, 3, 1, 1),
        *_conv(384, 256, 3, 1, 1),
        *_conv(256, 256, 3, 1, 1),
        nn.MaxPool2d(3, 2),
    )


def _vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += _conv(channels, width, 3, 1, 1)
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class _Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expand side by side (Iandola et al. 2016, arXiv:1602.07360)."""

    def __init__(self, inside: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def _squeezenet() -> nn.Sequential:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *_conv(3, 64, 3, 2),
        *(pool(), _Fire(64, 16, 64), _Fire(128, 16, 64)),
        *(pool(), _Fire(128, 32, 128), _Fire(256, 32, 128)),
        *(pool(), _Fire(256, 48, 192), _Fire(384, 48, 192), _Fire(384, 64, 256), _Fire(512, 64, 256)),
    )


BACKBONES = (
    Backbone(
        "alexnet-owt-7be5be79.pth",
        _alexnet,
        (1, 4, 7, 9, 11),
        "alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    Backbone(
        "vgg16-397923af.pth",
        _vgg16,
        (3, 8, 15, 22, 29),
        "vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    Backbone(
        "squeezenet1_1-b8a52dc0.pth",
        _squeezenet,
        (1, 4, 7, 9, 10, 11, 12),
        "squeeze.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
)
"""All of them."""
