"""Core ML itself, on a Mac: CPU, GPU and Neural Engine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image

from edgestyle import coreml_package
from edgestyle.coreml_package import End
from edgestyle.errors import UnavailableError
from edgestyle.images import Image
from edgestyle.runner import Availability, Runner, installed

ComputeUnits = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
"""Where Core ML may run a model; it chooses among them op by op."""


class CoreMLSession:
    """A package opened by Core ML.

    Args:
        path: The `.mlpackage` folder.
        compute_units: Where Core ML may run it.

    Raises:
        ConfigError: It is not a whole Core ML package, or does not map one picture to one picture.
        UnavailableError: This is not a Mac, or Core ML refuses the model.
        MissingExtraError: coremltools is not installed.
    """

    def __init__(self, path: Path, compute_units: ComputeUnits = "ALL") -> None:
        if platform.system() != "Darwin":
            raise UnavailableError("Core ML needs macOS; the delegate coreml-evaluator runs the same file here")
        ct = coreml_package.import_coremltools()
        package = coreml_package.read(path)
        self.contract = package.contract
        self.size = package.input.size
        self._ends = package.input, package.output
        try:
            self._model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[compute_units])
        except Exception as error:  # Core ML's compiler raises any type
            raise UnavailableError(f"Core ML cannot load {path}: {error}") from error

    def run(self, image: Image) -> Image:
        source, sink = self._ends
        return np.concatenate([
            from_coreml(sink, self._model.predict({source.name: to_coreml(source, image[i : i + 1])})[sink.name])
            for i in range(len(image))
        ])  # fmt: skip


def to_coreml(end: End, image: Image) -> Any:
    """A house picture (1, 3, H, W) as `MLModel.predict` takes it: a PIL image, or an array if it wants one."""
    tensor = end.encode(image)
    if end.kind == "tensor":
        return tensor
    rgb = (
        tensor if end.colours == "RGB" else tensor[:, ::-1]
    )  # a PIL image is RGB; Core ML brings it to the model's order
    return PIL.Image.fromarray(rgb[0].transpose(1, 2, 0).astype(np.uint8))


def from_coreml(end: End, value: Any) -> Image:
    """What `MLModel.predict` returns as a house picture; Core ML has rounded an image to 8 bits."""
    if end.kind == "tensor":
        return end.decode(np.asarray(value))
    rgb = np.asarray(value.convert("RGB"), dtype=np.float32)  # it comes with an alpha channel
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None] / 255)


def _probe() -> Availability:
    if platform.system() != "Darwin":
        return Availability("cannot run", "needs macOS")
    return installed("coreml", "coremltools")


RUNNER = Runner(
    name="coreml",
    title="Core ML",
    hardware="cpu",
    suffixes=(".mlpackage",),
    probe=_probe,
    open=CoreMLSession,
)
