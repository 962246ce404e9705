"""A style network as other people build theirs, and Core ML packages of it by coremltools' own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgestyle import coreml_package
from edgestyle.quiet import quiet

ct = coreml_package.import_coremltools()


class Johnson(nn.Module):
    """In the manner of Johnson et al. 2016 (arXiv:1603.08155): from and to [0, 255], nothing of ours in it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Sequential(
            nn.ReflectionPad2d(4), nn.Conv2d(3, 8, 9), nn.InstanceNorm2d(8, affine=True), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(8, 12, 3, stride=2), nn.InstanceNorm2d(12, affine=True), nn.ReLU(),
        )  # fmt: skip
        self.residual = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(12, 12, 3), nn.InstanceNorm2d(12))
        self.up = nn.ConvTranspose2d(12, 8, 3, stride=2, padding=1, output_padding=1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.mix = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.last = nn.Sequential(nn.ReflectionPad2d(4), nn.Conv2d(8, 3, 9))
        self.last[1].weight.data.mul_(4)  # random weights alone would paint in grey

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        y = torch.relu(self.up(y + self.residual(y)))
        y = self.mix(self.upsample(y))
        return torch.tanh(self.last(y)) * 127.5 + 127.5


def convert(net: nn.Module, inputs: list[Any], outputs: list[Any] | None = None, **options: Any) -> Any:
    """`net` as a Core ML model, traced at 64x96, for iOS 16 where `options` say nothing else."""
    options = {"minimum_deployment_target": ct.target.iOS16, **options}
    with quiet():
        traced = torch.jit.trace(net.eval(), torch.zeros(1, 3, 64, 96), check_trace=False)
        return ct.convert(traced, inputs=inputs, outputs=outputs, skip_model_load=True, **options)


def saved(model: Any, path: Path) -> Path:
    """The path of the package that `model` is saved to."""
    with quiet():
        model.save(str(path))
    return path
