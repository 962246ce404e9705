"""What an export target and a quantization scheme look like to the rest.

A target is one file in `export/` that ends in `TARGET = Target(...)`, a scheme one file in `quantize/` that ends in
`SCHEME = Scheme(...)`; each is named once, as an entry point in pyproject.toml. Heavy imports stand inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from edgestyle.manifest import Contract, Layout, TensorSpec
from edgestyle.runner import Availability

if TYPE_CHECKING:
    from torch import nn

    from edgestyle.quantization.calibration import Calibration

Size = tuple[int, int] | Literal["dynamic"]
"""Height and width in pixels, or "dynamic"."""


@dataclass(frozen=True)
class Target:
    """A format that a network can be exported to."""

    name: str
    """As on the command line: "onnx"."""
    title: str
    suffix: str
    """Of the file that it writes: ".onnx"."""
    spec: Callable[[str, Size], TensorSpec]
    """What an app sees of an input or output of that name and size: `partial(image_spec, layout="NCHW")` or its own."""
    runner: str
    """Name of the runner that verifies the written file on any machine."""
    native_runner: str | None
    """A second runner that verifies it where the machine has it (Core ML on macOS)."""
    native: tuple[str, ...]
    """Schemes that `write` itself serves; `contract.scheme` says which. Others come from `quantize/`."""
    default_scheme: str
    dynamic: bool
    """Whether it serves files of free size."""
    probe: Callable[[], Availability]
    """Whether its converter is installed. Cheap: imports nothing."""
    tools: tuple[str, ...]
    """Distributions whose versions the manifest records."""
    write: Callable[[nn.Module, Contract, Path], None]
    """Write a network in deploy form to a path, with the contract in the file's own metadata.

    Raises MissingExtraError where the converter is not installed. Nothing need be cleaned up after an error: the path
    is in a staging folder.
    """


Rewrite = Callable[[Path], None]
"""Puts a scheme on a target's default file (fp32; of Core ML fp16), in place (the file is in a staging folder)."""
CalibratedRewrite: TypeAlias = "Callable[[Path, Calibration], None]"
"""The same for a scheme that has to know the ranges of the network's values."""


@dataclass(frozen=True)
class Scheme:
    """A number format of weights and activations, for the targets whose own writer does not serve it.

    How far it may drift stands in `edgestyle.gates`.
    """

    name: str
    """As on the command line: "fp16"."""
    title: str
    gain: str
    """What it is expected to gain."""
    pays: str
    """The delegates on which it does."""
    rewrites: Mapping[str, Rewrite] = field(default_factory=dict)
    """Target -> how."""
    calibrated: Mapping[str, CalibratedRewrite] = field(default_factory=dict)
    """Target -> how, where calibration photos are needed."""

    bytes: Mapping[str, Rewrite] = field(default_factory=dict)
    """Target -> how a finished file is made to take and give uint8 instead of float32."""

    @property
    def targets(self) -> set[str]:
        """The targets that it serves."""
        return {*self.rewrites, *self.calibrated}


def image_spec(name: str, size: Size, layout: Layout) -> TensorSpec:
    """The spec of a picture tensor named `name`: batch 1, RGB, float32 in [0, 1]."""
    h, w = ("height", "width") if size == "dynamic" else size
    shape = (1, 3, h, w) if layout == "NCHW" else (1, h, w, 3)
    return TensorSpec(name=name, shape=shape, layout=layout, dtype="float32", range=(0, 1), channels="RGB")
