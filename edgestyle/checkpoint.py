"""A trained network on disk: a folder with `weights.safetensors` and `config.json`.

Weights are those of the deploy form. Nothing is ever unpickled: a file that is not safetensors is refused.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestyle.errors import ConfigError, UnknownNameError, UsageError
from edgestyle.files import make_folder, sha256, staged, write_text
from edgestyle.manifest import Style, first_error
from edgestyle.registry import ZOOS, load_all

if TYPE_CHECKING:
    from torch import nn

    from edgestyle.adain import AdaIN
    from edgestyle.learned import Learned

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
Net = TypeVar("Net", bound="nn.Module")


class CheckpointConfig(BaseModel):
    """`config.json`: everything about a trained network but its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[^/\\\x00-\x1f]+$")
    """Part of the names of exported files."""
    family: Literal["feedforward", "conditional", "adain"]
    network: dict[str, Any]
    """The fields of the family's own configuration, e.g. `FeedForwardConfig`."""
    styles: tuple[Style, ...]
    """The paintings that it has learned; none where it paints by any."""
    training: dict[str, Any]
    """The record of its training: photos, steps, losses, time, machine."""
    licence: str
    """The licence of the weights, and what the training photos allow."""


class Checkpoint(BaseModel):
    """A checkpoint folder whose configuration has been read; the weights are read by `network`."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    config: CheckpointConfig

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    def sha256(self) -> str:
        """Hash of the weights file."""
        return sha256(self.weights)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights, from the file's header alone: cheap, no torch.

        Raises:
            ConfigError: It is not a safetensors file.
        """
        return {name: tuple(entry["shape"]) for name, entry in _read_header(self.weights).items()}

    def network(self) -> Learned:
        """The network that has learned its paintings, in deploy form, with its weights.

        Raises:
            UsageError: It is of a family that paints by a style code.
            ConfigError: The weights do not fit the configuration, or the file is not safetensors.
        """
        from edgestyle.conditional import ConditionalConfig
        from edgestyle.feedforward import FeedForwardConfig

        if self.config.family == "adain":
            raise UsageError(f"{self.name} paints by any painting, so it needs one; give --style PAINTING")
        family = ConditionalConfig if self.config.family == "conditional" else FeedForwardConfig
        return self._filled(lambda numbers: family(**numbers).build())

    def pair(self) -> AdaIN:
        """The two networks of the adain family in deploy form, with their weights.

        Raises:
            UsageError: It is of another family.
            ConfigError: The weights do not fit the configuration, or the file is not safetensors.
        """
        from edgestyle.adain import AdaIN, AdaINConfig

        if self.config.family != "adain":
            raise UsageError(f"{self.name} has learned its paintings and takes no --style; only adain does")
        return self._filled(lambda numbers: AdaIN(AdaINConfig(**numbers)))

    def _filled(self, build: Callable[[dict[str, Any]], Net]) -> Net:
        """The network that `build` makes of the configuration's numbers, with the weights of the file."""
        from safetensors.torch import load_file

        try:
            net = build(self.config.network)
        except (TypeError, ConfigError) as error:
            raise ConfigError(f"{self.folder / CONFIG}: network: {error}") from error
        expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
        _compare(expected, self.parameter_shapes(), self.weights)
        try:
            weights = load_file(self.weights)
        except Exception as error:  # safetensors raises its own types for a truncated body
            raise ConfigError(f"{self.weights} is truncated or damaged: {error}; copy it again") from error
        for name, value in weights.items():
            if not (value.is_floating_point() and value.isfinite().all()):
                raise ConfigError(f"{self.weights} cannot be used: {name} must be of finite floating-point numbers")
        net.load_state_dict(weights)
        return net.eval().requires_grad_(False)


def find(model: str) -> Checkpoint:
    """The checkpoint that `model` names: a folder, the weights file in one, or a name from a zoo.

    Raises:
        UnknownNameError: It is none of these; the message names the nearest.
        ConfigError: It is a file of another kind, or its configuration is malformed.
    """
    path = Path(model)
    if path.is_dir():
        return read(path)
    if path.is_file():
        if path.name != WEIGHTS:
            _read_header(path)  # a pickle or any other file is refused with its own message
            raise UsageError(f"{path} has no {CONFIG} beside it; name the folder that holds {WEIGHTS} and {CONFIG}")
        return read(path.parent)
    known = {folder.name: folder for folder in zoo_folders()}
    if model not in known:
        raise UnknownNameError("model", model, known)
    return read(known[model])


def zoo() -> list[Checkpoint]:
    """Every network of every zoo, by name."""
    return [read(folder) for folder in zoo_folders()]


def zoo_folders() -> list[Path]:
    """The folders of all zoo networks, sorted by name."""
    roots: list[Path] = [zoo_folder() for zoo_folder in load_all(ZOOS)]
    return sorted((config.parent for root in roots for config in root.glob(f"*/{CONFIG}")), key=lambda f: f.name)


def read(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, its configuration checked, its weights not yet read.

    Raises:
        ConfigError: Either file is missing, or the configuration is malformed.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} is not a checkpoint: it has no {name}")
    try:
        config = CheckpointConfig.model_validate_json((folder / CONFIG).read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{folder / CONFIG} is malformed: {first_error(error)}") from error
    return Checkpoint(folder=folder, config=config)


def write(folder: Path, config: CheckpointConfig, net: nn.Module) -> Checkpoint:
    """Write a network in deploy form as a checkpoint into `folder`; each file appears whole or not at all."""
    from safetensors.torch import save_file

    make_folder(folder)
    with staged(folder / WEIGHTS) as staging:
        save_file({key: value.contiguous() for key, value in net.state_dict().items()}, staging / WEIGHTS)
    with staged(folder / CONFIG) as staging:
        text = json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (staging / CONFIG).write_text(text + "\n", encoding="utf-8")
    return read(folder)


MEASURED = "measured.json"
"""Beside a zoo network's weights: what was measured of it."""


def record(found: Checkpoint, numbers: dict[str, Any]) -> None:
    """Put numbers into a network's `MEASURED`, beside those that other commands have put there."""
    path = found.folder / MEASURED
    before = json.loads(path.read_bytes()) if path.is_file() else {}
    kept = {key: value for key, value in before.items() if key not in numbers}
    write_text(path, json.dumps({**numbers, **kept}, indent=2) + "\n")


def _read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file: name -> {dtype, shape, data_offsets}."""
    refusal = f"{path} is not a safetensors file"
    with path.open("rb") as file:
        start = file.read(8)
        if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ConfigError(f"{refusal} but a pickle, which can run code and is never opened; save it as safetensors")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(path.stat().st_size - 8, 100_000_000):
            raise ConfigError(f"{refusal}, or it is truncated; name a checkpoint folder, or a network of the zoo")
        try:
            header = json.loads(file.read(length))
            return {key: {**entry, "shape": entry["shape"]} for key, entry in header.items() if key != "__metadata__"}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(refusal) from error


def _compare(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], source: Path) -> None:
    """Refuse weights whose names or shapes are not those of the network."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        parts = [f"lacks {missing[0]} ({len(missing)} in all)"] if missing else []
        parts += [f"has unknown {extra[0]} ({len(extra)} in all)"] if extra else []
        raise ConfigError(f"{source} does not fit its {CONFIG}: it {' and '.join(parts)}")
    for name, shape in expected.items():
        if found[name] != shape:
            raise ConfigError(f"{source} does not fit its {CONFIG}: {name} is {found[name]}, must be {shape}")
