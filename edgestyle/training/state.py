"""What a training run keeps on disk: written whole or not at all, and gone on with by that run alone."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgestyle.errors import ConfigError
from edgestyle.files import staged

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STATE = "state.pt"


def save(folder: Path, config: DataclassInstance, state: dict[str, Any]) -> None:
    """Write `state`, of tensors and plain values, as `folder / STATE`. If that fails, the last one is still there."""
    with staged(folder / STATE) as staging:
        torch.save({**state, "config": json.dumps(asdict(config))}, staging / STATE)


def load(folder: Path, config: DataclassInstance, free: Collection[str] = ()) -> dict[str, Any]:
    """What `save` wrote in `folder`.

    Args:
        folder: Of the run.
        config: Settings of the run that wants to go on; those of the file must be the same.
        free: Settings that may differ, e.g. how long to train.

    Raises:
        ConfigError: The file is damaged, or of a run with another configuration; names the first setting that differs.
    """
    path = folder / STATE
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        stored = json.loads(state.pop("config"))
    except Exception as error:  # torch raises many types for a damaged file
        why = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise ConfigError(
            f"{path} cannot be resumed from: it is damaged or not a training state ({why}); "
            f"the checkpoint beside it can still be used with --from, with another --out"
        ) from error
    now = json.loads(json.dumps(asdict(config)))
    for name, came, kept in _differences(now, stored):
        if name.split(".")[0] not in free:
            raise ConfigError(
                f"{folder} holds a run with {name} {kept}, not {came}; "
                "give the same settings to go on, or another --out to start afresh"
            )
    return state


def settings(folder: Path) -> dict[str, Any]:
    """The settings of the run in `folder`, as they were; none where there is no run, or none that can be read."""
    try:
        stored: dict[str, Any] = torch.load(folder / STATE, weights_only=True, map_location="cpu", mmap=True)
        found: dict[str, Any] = json.loads(stored["config"])
    except Exception:  # `load` says what is wrong with it
        return {}
    return found


def _differences(now: dict[str, Any], stored: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(name, value now, value stored) of each setting that differs; those inside another are named "outer.inner"."""
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys((*now, *stored)):
        a, b = now.get(key), stored.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((prefix + key, a, b))
    return found
