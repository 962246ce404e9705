"""Core ML packages (`.mlpackage`): how they lie on disk, and what pictures look like at a model's two ends.

A package is a folder: `Manifest.json`, the model (a protocol buffer) and its weights. Shared by the target that writes
packages and the two runners that open them. The format: https://apple.github.io/coremltools/mlmodel/index.html
"""

from __future__ import annotations

import json
import math
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import ConfigError, MissingExtraError, UsageError
from edgestyle.images import Image
from edgestyle.manifest import CODE, METADATA_KEY, Contract, Layout, TensorSpec, parse_contract
from edgestyle.quiet import quiet

_AUTHOR = "com.apple.CoreML"
_MODEL, _WEIGHTS = f"{_AUTHOR}/model.mlmodel", f"{_AUTHOR}/weights"
_CHANNELS = {"RGB": slice(None), "BGR": slice(None, None, -1)}


Span = tuple[float, float]
"""Smallest and largest, both included."""


def import_coremltools() -> Any:
    """The coremltools module, imported without its remarks on torch's version and on what only a Mac has.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        with quiet():
            import coremltools
    except ImportError as error:
        raise MissingExtraError("coremltools", "coreml") from error
    return coremltools


@dataclass(frozen=True)
class End:
    """The input or output of a model, as far as pictures go."""

    name: str
    kind: Literal["tensor", "image"]
    colours: Literal["RGB", "BGR"]
    """Order of the channels inside the model. Of an image, Core ML itself takes care."""
    layout: Literal["NCHW", "NHWC"]
    range: tuple[float, float]
    """Values that stand for 0 and 1; (0, 255) of an image."""
    size: tuple[int, int] | None
    """Height and width; None if free or not stated."""
    sizes: tuple[tuple[Span, Span], ...] = ()
    """Heights and widths that go together, of a model of free size; empty if it does not say."""
    example: tuple[int, int] = (256, 256)
    """A size that it takes."""
    stated: bool = True
    """Whether the range is known, and not only supposed: an array does not say what stands for white."""

    def encode(self, image: Image) -> NDArray[np.float32]:
        """A house picture (1, 3, H, W) as the model's input tensor. An image is rounded to 8 bits: it holds no more.

        Raises:
            UsageError: The model takes another size.
        """
        self._check_size(*image.shape[2:])
        low, high = self.range
        values = image[:, _CHANNELS[self.colours]] * np.float32(high - low) + np.float32(low)
        if self.kind == "image":
            values = np.rint(np.clip(values, 0, 255))
        return np.ascontiguousarray(values if self.layout == "NCHW" else values.transpose(0, 2, 3, 1))

    def _check_size(self, height: int, width: int) -> None:
        allowed = self.sizes or ([tuple((side, side) for side in self.size)] if self.size else [])
        if allowed and not any(h[0] <= height <= h[1] and w[0] <= width <= w[1] for h, w in allowed):
            sizes = " or ".join(f"{_span_text(w)}x{_span_text(h)}" for h, w in allowed)
            raise UsageError(f"the model takes pictures of {sizes} pixels, not {width}x{height}; resize it first")

    def decode(self, tensor: NDArray[np.float32], eight_bit: bool = False) -> Image:
        """The model's output tensor as a house picture, clamped to [0, 1].

        Args:
            tensor: In this end's own layout and range.
            eight_bit: Round, as Core ML has to where the output is an image. Apple does not say whether it rounds or
                truncates; the one leaves 58.9 dB, the other 52.9.

        Raises:
            UsageError: It is not a picture.
        """
        channels = 1 if self.layout == "NCHW" else 3
        if tensor.ndim != 4 or tensor.shape[channels] != 3:
            raise UsageError(f"the model's output '{self.name}' is no picture: its shape is {tensor.shape}")
        values = tensor if self.layout == "NCHW" else tensor.transpose(0, 3, 1, 2)
        if eight_bit and self.kind == "image":
            values = np.rint(values)
        low, high = self.range
        scaled = (values[:, _CHANNELS[self.colours]].astype(np.float32) - np.float32(low)) / np.float32(high - low)
        return np.ascontiguousarray(np.clip(scaled, 0, 1))


@dataclass(frozen=True)
class Package:
    """A package that has been read; its weights are still on disk."""

    path: Path
    spec: Any
    """The model: `coremltools.proto.Model_pb2.Model`."""
    weights: Path
    """The folder of its weights."""
    contract: Contract | None

    @property
    def input(self) -> End:
        """Where the photo goes in. Raises ConfigError if that is not one picture (and a transformer's style code)."""
        spec = self.contract.input if self.contract else None
        coded = self.contract is not None and self.contract.role == "transformer"
        features = [each for each in self.spec.description.input if not (coded and each.name == CODE)]
        return _end(self.path, "input", features, spec)

    @property
    def output(self) -> End:
        """Where the painting comes out. Raises ConfigError if that is not one picture."""
        spec = self.contract.output if self.contract else None
        return _end(self.path, "output", self.spec.description.output, spec)


def read(path: Path) -> Package:
    """Read and check a package.

    Raises:
        ConfigError: It is not a package, or it is damaged.
        MissingExtraError: coremltools is not installed.
    """
    if path.suffix == ".mlmodel":
        raise ConfigError(f"{path} is a Core ML model of the old kind; convert with convert_to='mlprogram', .mlpackage")
    if not path.is_dir():
        why = "it is a file, a package is a folder" if path.exists() else "there is nothing of that name"
        raise ConfigError(f"{path} is not a Core ML package: {why}")
    ct = import_coremltools()
    try:
        manifest = json.loads((path / "Manifest.json").read_bytes())
        model = path / "Data" / manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a Core ML package: its Manifest.json is missing or malformed") from error
    spec = ct.proto.Model_pb2.Model()
    try:
        spec.ParseFromString(model.read_bytes())
    except Exception as error:  # protobuf's own type changes with its version
        raise ConfigError(
            f"{path} is damaged: {model.name} is missing or cut short; copy or export it again"
        ) from error
    if spec.WhichOneof("Type") != "mlProgram":
        kind = spec.WhichOneof("Type") or "nothing"
        raise ConfigError(f"{path} holds {kind}, not an ML Program; convert the network with convert_to='mlprogram'")
    text = spec.description.metadata.userDefined.get(METADATA_KEY)
    contract = parse_contract(text, path) if text else None
    return Package(path=path, spec=spec, weights=model.parent / "weights", contract=contract)


def write(path: Path, spec: Any, weights: Path) -> None:
    """Write a package: the same model always gives the same bytes, so that its hash means something.

    coremltools' own writer gives every package new UUIDs, writes the protocol buffer in any order and for its owner's
    eyes only, and adds a file for debugging.

    Args:
        path: The package's folder, not there yet.
        spec: `coremltools.proto.Model_pb2.Model`.
        weights: A folder of weight files.
    """
    (path / "Data" / _WEIGHTS).mkdir(parents=True)
    for blob in weights.iterdir():
        shutil.copyfile(blob, path / "Data" / _WEIGHTS / blob.name)
    (path / "Data" / _MODEL).write_bytes(spec.SerializeToString(deterministic=True))
    items = {_MODEL: "CoreML Model Specification", _WEIGHTS: "CoreML Model Weights"}
    ids = {item: str(uuid.uuid5(uuid.NAMESPACE_URL, item)) for item in items}
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            ids[item]: {"author": _AUTHOR, "description": about, "name": Path(item).name, "path": item}
            for item, about in items.items()
        },
        "rootModelIdentifier": ids[_MODEL],
    }
    text = json.dumps(manifest, indent=4, sort_keys=True)  # as Apple's library writes it when it opens a package
    (path / "Manifest.json").write_text(text + "\n", encoding="utf-8")


def _end(path: Path, role: str, features: Any, spec: TensorSpec | None) -> End:
    """The one input or output among a model's features; `spec` is the contract's, where there is one."""
    if len(features) != 1:
        raise ConfigError(f"{path} has {len(features)} {role}s; only one picture in and one out can be run")
    (feature,) = features
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        image = feature.type.imageType
        colours = image.ColorSpace.Name(image.colorSpace)
        if colours not in _CHANNELS:
            raise ConfigError(f"the {role} of {path} is an image in {colours}; only RGB and BGR can be run")
        sizes = _image_sizes(image)
        example = (image.height, image.width)
        return End(feature.name, "image", colours, "NCHW", (0, 255), None if sizes else example, sizes, example)
    if kind != "multiArrayType":
        raise ConfigError(f"the {role} of {path} is of {kind}; only images and arrays can be run")
    array = feature.type.multiArrayType
    shape = tuple(array.shape) or ((1, 3, 0, 0) if role == "output" else ())  # an output need not state its shape
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ConfigError(f"the {role} of {path} is an array of shape {shape}; (1, 3, H, W) or (1, H, W, 3) can be run")
    layout: Layout = "NCHW" if shape[1] == 3 else "NHWC"
    if spec and spec.layout != "NC":
        layout = spec.layout
    sides = slice(2, 4) if layout == "NCHW" else slice(1, 3)
    sizes = _array_sizes(array, sides)
    size = None if sizes or not array.shape else shape[sides]
    range_ = spec.range if spec else (0, 1)
    return End(feature.name, "tensor", "RGB", layout, range_, size, sizes, shape[sides], stated=spec is not None)


def _image_sizes(image: Any) -> tuple[tuple[Span, Span], ...]:
    """Heights and widths of an image of free size."""
    if image.WhichOneof("SizeFlexibility") == "enumeratedSizes":
        return tuple(((s.height, s.height), (s.width, s.width)) for s in image.enumeratedSizes.sizes)
    if image.WhichOneof("SizeFlexibility") == "imageSizeRange":
        return ((_span(image.imageSizeRange.heightRange), _span(image.imageSizeRange.widthRange)),)
    return ()


def _array_sizes(array: Any, sides: slice) -> tuple[tuple[Span, Span], ...]:
    """Heights and widths of an array of free size; `sides` says where they stand in its shape."""
    if array.WhichOneof("ShapeFlexibility") == "enumeratedShapes":
        shapes = (shape.shape[sides] for shape in array.enumeratedShapes.shapes)
        return tuple(((height, height), (width, width)) for height, width in shapes)
    if array.WhichOneof("ShapeFlexibility") == "shapeRange":
        height, width = map(_span, array.shapeRange.sizeRanges[sides])
        return ((height, width),)
    return ()


def _span(bounds: Any) -> Span:
    return bounds.lowerBound, math.inf if bounds.upperBound < 0 else bounds.upperBound


def _span_text(span: Span) -> str:
    """As in "64" or "(64 to 512)"."""
    low, high = span
    return str(low) if low == high else f"({low} to {'any' if high == math.inf else high})"


def find_ranges(source: End, sink: End, run: Callable[[Image], NDArray[np.float32]]) -> tuple[End, End]:
    """The ends of somebody else's model, with the range of its arrays found out where nobody states it.

    Networks that take values up to 255 give values up to 255. So a picture in [0, 1] is tried: what comes back is near
    [0, 1], or it is not.

    Args:
        source: The model's input.
        sink: Its output.
        run: A picture through the model, its output as it is.
    """
    if sink.stated:
        return source, sink
    noise = np.random.default_rng(0).random((1, 3, *source.example), dtype=np.float32)
    if np.abs(run(noise)).max() <= _BEYOND_ONE:
        return source, sink
    found = source if source.stated else replace(source, range=(0.0, 255.0))
    return found, replace(sink, range=(0.0, 255.0))


_BEYOND_ONE = 4.0
"""An output in [0, 1], or in [-1, 1], does not leave them as far as this, even where nothing clamps it."""
