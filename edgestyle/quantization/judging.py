"""What rounding does to the pictures: the same four numbers for a scheme, a layer, and every choice of layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgestyle import drift, metrics
from edgestyle.images import Image

if TYPE_CHECKING:
    from torch import nn

    from edgestyle.perceptual import PerceptualNetwork


@dataclass(frozen=True)
class Harm:
    """How far pictures are from those of the float network, each number the worst over all photos."""

    psnr_db: float
    """dB, higher is better: see `edgestyle.drift`."""
    ssim: float
    """Higher is better, 1 is equal: see `edgestyle.drift`."""
    style_drift: float
    """0 is equal: see `edgestyle.metrics.style_drift`."""
    content_drift: float
    """0 is equal: see `edgestyle.metrics.content_drift`."""


class Judge:
    """Photos, the float network's pictures of them, and what a perceptual network sees in those.

    Args:
        net: The float network, in deploy form.
        photos: Held-out photos (1, 3, H, W), all of one size.
        network: What style and content are looked at through; by default the one that comes with the package.
    """

    def __init__(self, net: nn.Module, photos: Sequence[Image], network: PerceptualNetwork | None = None) -> None:
        import torch

        from edgestyle import perceptual

        self.photos = tuple(photos)
        self._network = network or perceptual.student()
        with torch.inference_mode():
            self.expected: tuple[Image, ...] = tuple(net(torch.from_numpy(photo)).numpy() for photo in photos)
        self._features = [metrics.features(picture, self._network) for picture in self.expected]

    def drift(self, paint: Callable[[Image], Image]) -> drift.Drift:
        """The worst of each measure of pixels: quicker than `harm`."""
        pairs = zip(self.photos, self.expected, strict=True)
        return drift.worst(drift.measure(paint(photo), expected) for photo, expected in pairs)

    def harm(self, pictures: Sequence[Image]) -> Harm:
        """How far the pictures of all photos are from the float network's.

        Raises:
            CheckError: They are of another shape, or hold NaN or infinity.
        """
        pixels = drift.worst(map(drift.measure, pictures, self.expected))
        seen = [
            (metrics.features(picture, self._network), own)
            for picture, own in zip(pictures, self._features, strict=True)
        ]
        return Harm(
            psnr_db=pixels.psnr_db,
            ssim=pixels.ssim,
            style_drift=max(metrics.style_drift(a, b) for a, b in seen),
            content_drift=max(metrics.content_drift(a, b) for a, b in seen),
        )
