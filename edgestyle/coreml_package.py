"""Core ML packages (`.mlpackage`): how they lie on disk, and what pictures look like at a model's two ends.

A package is a folder: `Manifest.json`, the model (a protocol buffer) and its weights. Shared by the target that writes
packages and the two runners that open them. The format: https://apple.github.io/coremltools/mlmodel/index.html
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import ConfigError, MissingExtraError, UsageError
from edgestyle.images import Image
from edgestyle.manifest import METADATA_KEY, Contract, TensorSpec, parse_contract
from edgestyle.quiet import quiet

_AUTHOR = "com.apple.CoreML"
_MODEL, _WEIGHTS = f"{_AUTHOR}/model.mlmodel", f"{_AUTHOR}/weights"
_CHANNELS = {"RGB": slice(None), "BGR": slice(None, None, -1)}


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

    def encode(self, image: Image) -> NDArray[np.float32]:
        """A house picture (1, 3, H, W) as the model's input tensor. An image is rounded to 8 bits: it holds no more.

        Raises:
            UsageError: The model takes another size.
        """
        if self.size and image.shape[2:] != self.size:
            (h, w), (height, width) = self.size, image.shape[2:]
            raise UsageError(f"the model takes pictures of {w}x{h} pixels, not {width}x{height}; resize it first")
        low, high = self.range
        values = image[:, _CHANNELS[self.colours]] * np.float32(high - low) + np.float32(low)
        if self.kind == "image":
            values = np.rint(np.clip(values, 0, 255))
        return np.ascontiguousarray(values if self.layout == "NCHW" else values.transpose(0, 2, 3, 1))

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
        """Where the photo goes in. Raises ConfigError if that is not one picture."""
        spec = self.contract.input if self.contract else None
        return _end(self.path, "input", self.spec.description.input, spec)

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
        size = None if image.WhichOneof("SizeFlexibility") else (image.height, image.width)
        return End(feature.name, "image", colours, "NCHW", (0, 255), size)
    if kind != "multiArrayType":
        raise ConfigError(f"the {role} of {path} is of {kind}; only images and arrays can be run")
    array = feature.type.multiArrayType
    shape = tuple(array.shape) or ((1, 3, 0, 0) if role == "output" else ())  # an output need not state its shape
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise ConfigError(f"the {role} of {path} is an array of shape {shape}; (1, 3, H, W) or (1, H, W, 3) can be run")
    layout = spec.layout if spec else "NCHW" if shape[1] == 3 else "NHWC"
    sides = shape[2:] if layout == "NCHW" else shape[1:3]
    size = None if array.WhichOneof("ShapeFlexibility") or not array.shape else sides
    return End(feature.name, "tensor", "RGB", layout, spec.range if spec else (0, 1), size)
