"""Networks whose features are compared: VGG-19 (Simonyan & Zisserman 2014, arXiv:1409.1556) and its student."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgestyle.errors import ConfigError, UnavailableError

CHANNELS = {
    **dict.fromkeys(("conv1_1", "conv1_2"), 64),
    **dict.fromkeys(("conv2_1", "conv2_2"), 128),
    **dict.fromkeys(("conv3_1", "conv3_2", "conv3_3", "conv3_4"), 256),
    **dict.fromkeys(("conv4_1", "conv4_2", "conv4_3", "conv4_4", "conv5_1", "conv5_2", "conv5_3", "conv5_4"), 512),
}
"""VGG-19's convolutions and their channels; a 2x2 max pool stands before conv2_1, conv3_1, conv4_1 and conv5_1."""
NEEDED = tuple(CHANNELS)[:8]
"""conv1_1 to conv3_4: what the losses and metrics use, and all that the Caffe file and the student have."""
WEIGHTS_NAME = "vgg19_conv1_1-conv3_4_fp16.npz"
STUDENT_WEIGHTS = "perceptual.safetensors"
STUDENT_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu3_3", "relu3_4")
"""Layers of VGG-19 that its student has learned: those of the losses and metrics."""
TORCHVISION_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
TORCHVISION_SHA256 = "dcbb9e9d"
"""The first digits, which torchvision puts into the file's name."""
_TORCHVISION_LAYERS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
"""Numbers of the convolutions in torchvision's `vgg19().features`."""


class PerceptualNetwork(Protocol):
    """A frozen network that was trained to see, whose features say more of two pictures than their pixels do."""

    def __call__(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of pictures at the layers named, which are those of VGG-19: "relu1_1", "relu2_1", ...

        Shapes: (B, 3, H, W) RGB in [0, 1] -> (B, C, H / s, W / s), s = 1 for relu1, 2 for relu2, 4 for relu3.
        """
        ...


def load(name: str = "student", report: Callable[[int, int], None] = lambda *_: None) -> VGG19 | Student:
    """The perceptual network of that name.

    Args:
        name: "student", which comes with the package; "vgg19", in torchvision's weights, downloaded once (575 MB, of
            which 80 MB are kept); or a file of VGG-19's weights, see `VGG19`.
        report: Called with bytes so far and in all while something is downloaded.

    Raises:
        UnavailableError: There is no such file, or no network to download from.
        ConfigError: The file holds something else.
    """
    if name == "student":
        return student()
    return VGG19(torchvision_weights(report) if name == "vgg19" else find_vgg_weights(Path(name)))


def find_vgg_weights(path: Path | None = None) -> Path:
    """Where a file of VGG-19's weights is: `path`, or `weights/` under the folder that EDGESTYLE_DATA names.

    Raises:
        UnavailableError: There is no such file.
    """
    if path is None:
        path = Path(os.environ.get("EDGESTYLE_DATA", "../shared/data")) / "weights" / WEIGHTS_NAME
    if not path.is_file():
        raise UnavailableError(
            f"the VGG-19 weights are not at {path}; name another file, or 'vgg19' to download them, or 'student', "
            "which comes with edgestyle, or set EDGESTYLE_DATA to the folder that holds weights/"
        )
    return path


def torchvision_weights(report: Callable[[int, int], None] = lambda *_: None) -> Path:
    """VGG-19's convolutions in torchvision's weights, from the cache or downloaded into it.

    The file that torchvision offers is mostly classifier; the convolutions are kept, in full precision.

    Raises:
        UnavailableError: It is not in the cache and cannot be downloaded.
        CheckError: What was downloaded is another file.
    """
    from safetensors.torch import save_file

    from edgestyle.download import cache_folder, fetch
    from edgestyle.files import staged

    path = cache_folder() / "vgg19-torchvision.safetensors"
    if not path.is_file():
        whole = cache_folder() / TORCHVISION_URL.rsplit("/", 1)[1]
        if not whole.is_file():
            fetch(TORCHVISION_URL, whole, TORCHVISION_SHA256, report)
        state = torch.load(whole, map_location="cpu", weights_only=True)
        with staged(path) as folder:
            save_file(_from_torchvision(state), folder / path.name)
        whole.unlink()
    return path


def _from_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`features.0.weight` -> `conv1_1.weight`, and so on; the classifier is dropped."""
    numbers = dict(zip(CHANNELS, _TORCHVISION_LAYERS, strict=True))
    return {
        f"{name}.{part}": state[f"features.{number}.{part}"].float().contiguous()
        for name, number in numbers.items()
        for part in ("weight", "bias")
    }


class _Vgg(nn.Module):
    """The shape of VGG-19, with any number of channels, up to as many layers as there are numbers."""

    def __init__(self, channels: Iterable[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        before = 3
        for name, width in zip(CHANNELS, channels, strict=False):
            self.convs[name] = nn.Conv2d(before, width, 3, padding=1)
            before = width

    def _freeze(self) -> None:
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _walk(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features after the ReLUs that `layers` names; nothing past the last of them is computed."""
        wanted = set(layers)
        features: dict[str, Tensor] = {}
        for name, conv in self.convs.items():
            if name in ("conv2_1", "conv3_1", "conv4_1", "conv5_1"):
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            relu = name.replace("conv", "relu")
            if relu in wanted:
                features[relu] = x
                if len(features) == len(wanted):
                    return features
        last = list(self.convs)[-1].replace("conv", "relu")
        raise ConfigError(f"no VGG-19 layer {', '.join(sorted(wanted - set(features)))}; these weights go up to {last}")


class VGG19(_Vgg):
    """VGG-19's convolutions, frozen, as far as the file of weights goes: to relu3_4 at least.

    Shapes: (B, 3, H, W) RGB in [0, 1] -> {"relu1_1": (B, 64, H, W), "relu2_1": (B, 128, H/2, W/2), ...}.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path) -> None:
        """Read `convN_M.weight` (out, in, 3, 3) and `convN_M.bias` (out).

        Args:
            weights: An `.npz` of the original Caffe weights, which expect BGR from 0 to 255 less a mean, or a
                `.safetensors` of torchvision's, which expect RGB by ImageNet's mean and deviation.

        Raises:
            ConfigError: The file holds something else.
        """
        try:
            state = _read_weights(weights)
            missing = [f"{name}.weight" for name in NEEDED if f"{name}.weight" not in state]
            if missing:
                raise ConfigError(f"it lacks {missing[0]}")
            super().__init__(CHANNELS[name] for name in CHANNELS if f"{name}.weight" in state)
            self.convs.load_state_dict(state)
        except Exception as error:  # each format has errors of its own
            raise ConfigError(f"{weights} does not hold VGG-19 weights conv1_1 to conv3_4: {error}") from error
        self.caffe = weights.suffix == ".npz"
        mean, std = ((103.939, 116.779, 123.68), (1, 1, 1)) if self.caffe else _IMAGENET
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))
        self._freeze()

    def forward(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """See `PerceptualNetwork`."""
        return self._walk(((x.flip(1) * 255 if self.caffe else x) - self.mean) / self.std, layers)


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".npz":
        with np.load(path) as stored:
            return {key: torch.from_numpy(stored[key].astype(np.float32)) for key in stored.files}
    from safetensors.torch import load_file

    return load_file(path)


class Student(_Vgg):
    """VGG-19's student: half as many channels, and a 1x1 convolution at each of `STUDENT_LAYERS` to VGG-19's own.

    Distilled by `edgestyle.training.distillation`, which also says how well it stands in. Shapes as in `VGG19`.
    """

    def __init__(self) -> None:
        """A student with random weights; `student` gives the trained one."""
        super().__init__(CHANNELS[name] // 2 for name in NEEDED)
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
