"""Core ML itself, on a Mac: one runner each for the CPU, the GPU and the Neural Engine.

Core ML is told which compute units it may use and chooses among them op by op; the CPU is always one of them. What it
chose is read from its compute plan (`MLComputePlan`, macOS 14.4 or newer).
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from edgestyle import coreml_package
from edgestyle.coreml_package import End
from edgestyle.errors import UnavailableError
from edgestyle.images import Image
from edgestyle.manifest import CODE
from edgestyle.runner import Availability, Placement, Runner, example_code, installed, is_encoder


class Unit(NamedTuple):
    """A compute unit."""

    title: str
    hardware: Literal["cpu", "gpu", "npu"]
    allowed: str
    """Of `coremltools.ComputeUnit`: what Core ML may use."""
    device: str
    """Of `coremltools.models.compute_device`: what it is in a compute plan."""


UNITS = {
    "cpu": Unit("CPU", "cpu", "CPU_ONLY", "MLCPUComputeDevice"),
    "gpu": Unit("GPU", "gpu", "CPU_AND_GPU", "MLGPUComputeDevice"),
    "ane": Unit("Neural Engine", "npu", "CPU_AND_NE", "MLNeuralEngineComputeDevice"),
}


class CoreMLSession:
    """A package opened by Core ML.

    Args:
        path: The `.mlpackage` folder.
        unit: Where Core ML shall run it.

    Raises:
        ConfigError: It is not a whole Core ML package, or does not map one picture to one picture.
        UnavailableError: This is not a Mac, or Core ML refuses the model.
        MissingExtraError: coremltools is not installed.
    """

    def __init__(self, path: Path, unit: Unit) -> None:
        if platform.system() != "Darwin":
            raise UnavailableError("Core ML needs macOS; the delegate coreml-evaluator runs the same file here")
        ct = coreml_package.import_coremltools()
        package = coreml_package.read(path)
        self.contract = package.contract
        self.size = package.input.size
        self._unit = unit
        try:
            self._model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[unit.allowed])
        except Exception as error:  # Core ML's compiler raises any type
            raise UnavailableError(f"Core ML cannot load {path}: {error}") from error
        self._code = example_code(self.contract)
        self._source = package.input
        self._sink = None if is_encoder(self.contract) else package.output
        if self._sink and (self.contract is None or self.contract.role == "filter"):
            self._source, self._sink = coreml_package.find_ranges(self._source, self._sink, self._raw)

    def run(self, image: Image) -> Image:
        results = [self._raw(image[i : i + 1]) for i in range(len(image))]
        if self._sink is not None:  # a style code is taken as it is
            results = [from_coreml(self._sink, result) for result in results]
        return np.concatenate(results)

    def by(self, code: NDArray[np.float32]) -> CoreMLSession:
        """The same package, to paint by another style code."""
        other = copy.copy(self)
        other._code = code
        return other

    def _raw(self, image: Image) -> Any:
        """The model's output as it is."""
        return next(iter(self.bind(image)().values()))

    def bind(self, image: Image) -> Callable[[], dict[str, Any]]:
        inputs = {self._source.name: to_coreml(self._source, image)}
        if self._code is not None:
            inputs[CODE] = self._code
        return partial(self._model.predict, inputs)

    def placement(self) -> Placement | None:
        ct = coreml_package.import_coremltools()
        try:
            plan = ct.models.compute_plan.MLComputePlan.load_from_path(
                self._model.get_compiled_model_path(), compute_units=ct.ComputeUnit[self._unit.allowed]
            )
            operations = plan.model_structure.program.functions["main"].block.operations
        except Exception:  # a macOS before 14.4 has no compute plans, and says so with any type
            return None
        return _placement(plan, operations, getattr(ct.models.compute_device, self._unit.device))


def _placement(plan: Any, operations: list[Any], wanted: type) -> Placement:
    """What a compute plan comes to; constants run nowhere and are not counted."""
    placed = []
    for op in operations:
        kind = op.operator_name.rpartition(".")[2]  # "ios16.conv"
        if not kind.startswith("const"):
            usage = plan.get_compute_device_usage_for_mlprogram_operation(op)
            placed.append((kind, usage is not None and isinstance(usage.preferred_compute_device, wanted)))
    return Placement(
        total=len(placed),
        delegated=sum(there for _, there in placed),
        partitions=sum(there for there, _ in groupby(there for _, there in placed)),
        fallback_ops=tuple(sorted({kind for kind, there in placed if not there})),
    )


def to_coreml(end: End, image: Image) -> Any:
    """A house picture (1, 3, H, W) as `MLModel.predict` takes it: a PIL image, or an array if it wants one."""
    tensor = end.encode(image)
    if end.kind == "tensor":
        return tensor
    # a PIL image is RGB; Core ML brings it to the model's order
    rgb = tensor if end.colours == "RGB" else tensor[:, ::-1]
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


def _runner(name: str) -> Runner:
    unit = UNITS[name]
    return Runner(
        name=f"coreml-{name}",
        title=f"Core ML on the {unit.title}",
        hardware=unit.hardware,
        suffixes=(".mlpackage",),
        probe=_probe,
        open=partial(CoreMLSession, unit=unit),
    )


CPU, GPU, ANE = map(_runner, UNITS)
