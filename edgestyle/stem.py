"""The first layer of every network that paints."""

from __future__ import annotations

from torch import Tensor, nn


class Stem(nn.Conv2d):
    """What is left of the photo when `middle` is taken away, by an 8x8 convolution with a stride of 4.

    With the grey of its photos as `middle`, the zeros that a convolution pads with are grey, not black. A class of its
    own, so that a target can have its own form of it.

    Shapes: photo (B, 3, H, W), middle one number or (B, 3, 1, 1) -> (B, channels, H/4, W/4).
    """

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__(3, channels, 8, stride=4, padding=2, bias=bias)

    def forward(self, x: Tensor, middle: Tensor | float) -> Tensor:  # type: ignore[override]
        return super().forward(x - middle)
