"""Networks whose features losses and metrics compare, VGG-19 first (Simonyan & Zisserman 2014, arXiv:1409.1556)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgestyle.errors import ConfigError, UnavailableError

# (name of the convolution, its output channels); a 2x2 max pool stands before conv2_1 and conv3_1.
_LAYERS = (
    ("conv1_1", 64),
    ("conv1_2", 64),
    ("conv2_1", 128),
    ("conv2_2", 128),
    ("conv3_1", 256),
    ("conv3_2", 256),
    ("conv3_3", 256),
    ("conv3_4", 256),
)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
WEIGHTS_NAME = "vgg19_conv1_1-conv3_4_fp16.npz"


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


class VGG19(nn.Module):
    """The layers of VGG-19 up to relu3_4, in the original Caffe weights, frozen.

    Shapes: (B, 3, H, W) RGB in [0, 1] -> {"relu1_1": (B, 64, H, W), "relu2_1": (B, 128, H/2, W/2), ...}.
    """

    mean: Tensor

    def __init__(self, weights: Path) -> None:
        """Read `weights`, an .npz of `convN_M.weight` (out, in, 3, 3) and `convN_M.bias` (out)."""
        super().__init__()
        self.convs = nn.ModuleDict()
        channels = 3
        for name, width in _LAYERS:
            self.convs[name] = nn.Conv2d(channels, width, 3, padding=1)
            channels = width
        self.register_buffer("mean", torch.tensor(_CAFFE_MEAN_BGR).reshape(1, 3, 1, 1))
        try:
            with np.load(weights) as stored:
                state = {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files}
            self.convs.load_state_dict(state)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ConfigError(f"{weights} does not hold VGG-19 weights conv1_1 to conv3_4: {error}") from error
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features after the ReLUs that `layers` names; nothing past the last of them is computed."""
        wanted = set(layers)
        features: dict[str, Tensor] = {}
        x = x.flip(1) * 255 - self.mean  # BGR, as Caffe had it
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
