"""Layers that networks of several families have."""

from __future__ import annotations

from torch import Tensor, nn

GREY = 128 / 255
"""What is subtracted from photos, so that the zero padding of the first convolution is grey, not black. One of their
8-bit levels, so that integers hold what is left exactly."""


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


class InvertedResidual(nn.Module):
    """1x1 expand, 3x3 depthwise, 1x1 project, plus the input (Sandler et al. 2018, arXiv:1801.04381). ReLU6 keeps
    activation ranges known for int8. (B, C, h, w) -> the same.
    """

    def __init__(self, channels: int, expansion: int, bias: bool = True) -> None:
        """`bias`: whether the last convolution has one."""
        super().__init__()
        inside = channels * expansion
        self.expand = nn.Conv2d(channels, inside, 1)
        self.depthwise = nn.Conv2d(inside, inside, 3, padding=1, groups=inside)
        self.project = nn.Conv2d(inside, channels, 1, bias=bias)
        self.act = nn.ReLU6()

    def added(self, x: Tensor) -> Tensor:
        """What is added to the input."""
        wide = self.act(self.expand(x))  # (B, expansion C, h, w)
        y: Tensor = self.project(self.act(self.depthwise(wide)))  # (B, C, h, w)
        return y

    def forward(self, x: Tensor) -> Tensor:
        return x + self.added(x)
