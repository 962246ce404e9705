"""Networks whose features are compared: VGG-19 (Simonyan & Zisserman 2014, arXiv:1409.1556) and its student."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgestyle.errors import ConfigError, UnavailableError

CHANNELS = {
    "conv1_1": 64,
    "conv1_2": 64,
    "conv2_1": 128,
    "conv2_2": 128,
    "conv3_1": 256,
    "conv3_2": 256,
    "conv3_3": 256,
    "conv3_4": 256,
}
"""VGG-19's convolutions up to relu3_4 and their channels; a 2x2 max pool stands before conv2_1 and conv3_1."""
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
WEIGHTS_NAME = "vgg19_conv1_1-conv3_4_fp16.npz"
STUDENT_WEIGHTS = "perceptual.safetensors"
STUDENT_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu3_3", "relu3_4")
"""Layers of VGG-19 that its student has learned: those of the losses and metrics."""


class PerceptualNetwork(Protocol):
    """A frozen network that was trained to see, whose features say more of two pictures than their pixels do."""

    def __call__(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of pictures at the layers named, which are those of VGG-19: "relu1_1", "relu2_1", ...

        Shapes: (B, 3, H, W) RGB in [0, 1] -> (B, C, H / s, W / s), s = 1 for relu1, 2 for relu2, 4 for relu3.
        """
        ...


def find_vgg_weights(path: Path | None = None) -> Path:
    """Where the VGG-19 weights are: `path`, or `weights/` under the folder that EDGESTYLE_DATA names.

    Raises:
        UnavailableError: There is no such file.
    """
    if path is None:
        path = Path(os.environ.get("EDGESTYLE_DATA", "../shared/data")) / "weights" / WEIGHTS_NAME
    if not path.is_file():
        raise UnavailableError(
            f"the VGG-19 weights are not at {path}; training needs them: give --vgg FILE "
            "or set EDGESTYLE_DATA to the folder that holds weights/"
        )
    return path


class _Vgg(nn.Module):
    """The shape of VGG-19 up to relu3_4, with any number of channels."""

    def __init__(self, channels: Iterable[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        before = 3
        for name, width in zip(CHANNELS, channels, strict=True):
            self.convs[name] = nn.Conv2d(before, width, 3, padding=1)
            before = width

    def _freeze(self) -> None:
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _walk(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features after the ReLUs that `layers` names; nothing past the last of them is computed."""
        wanted = set(layers)
        features: dict[str, Tensor] = {}
        for name, conv in self.convs.items():
            if name in ("conv2_1", "conv3_1"):
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            relu = name.replace("conv", "relu")
            if relu in wanted:
                features[relu] = x
                if len(features) == len(wanted):
                    return features
        raise ConfigError(f"no VGG-19 layer {', '.join(sorted(wanted - set(features)))} up to relu3_4")


class VGG19(_Vgg):
    """The layers of VGG-19 up to relu3_4, in the original Caffe weights, frozen.

    Shapes: (B, 3, H, W) RGB in [0, 1] -> {"relu1_1": (B, 64, H, W), "relu2_1": (B, 128, H/2, W/2), ...}.
    """

    mean: Tensor

    def __init__(self, weights: Path) -> None:
        """Read `weights`, an .npz of `convN_M.weight` (out, in, 3, 3) and `convN_M.bias` (out)."""
        super().__init__(CHANNELS.values())
        self.register_buffer("mean", torch.tensor(_CAFFE_MEAN_BGR).reshape(1, 3, 1, 1))
        try:
            with np.load(weights) as stored:
                state = {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files}
            self.convs.load_state_dict(state)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ConfigError(f"{weights} does not hold VGG-19 weights conv1_1 to conv3_4: {error}") from error
        self._freeze()

    def forward(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """See `PerceptualNetwork`."""
        return self._walk(x.flip(1) * 255 - self.mean, layers)  # BGR, as Caffe had it


class Student(_Vgg):
    """VGG-19's student: half as many channels, and a 1x1 convolution at each of `STUDENT_LAYERS` to VGG-19's own.

    Distilled by `edgestyle.training.distillation`, which also says how well it stands in. Shapes as in `VGG19`.
    """

    def __init__(self) -> None:
        """A student with random weights; `student` gives the trained one."""
        super().__init__(count // 2 for count in CHANNELS.values())
        convs = {relu: relu.replace("relu", "conv") for relu in STUDENT_LAYERS}
        self.heads = nn.ModuleDict(
            {relu: nn.Conv2d(CHANNELS[conv] // 2, CHANNELS[conv], 1) for relu, conv in convs.items()}
        )

    def forward(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """See `PerceptualNetwork`."""
        wanted = set(layers)
        unknown = ", ".join(sorted(wanted.difference(STUDENT_LAYERS)))
        if unknown:
            raise ConfigError(f"VGG-19's student has not learned {unknown}; only {', '.join(STUDENT_LAYERS)}")
        features = self._walk((x - 0.45) * 4, wanted)
        return {relu: F.relu(self.heads[relu](value)) for relu, value in features.items()}


def student() -> Student:
    """The trained student, which comes with the package: needs no download."""
    from safetensors.torch import load

    network = Student()
    state = load(resources.files("edgestyle").joinpath(STUDENT_WEIGHTS).read_bytes())
    network.load_state_dict({key: value.float() for key, value in state.items()})
    network._freeze()
    return network
