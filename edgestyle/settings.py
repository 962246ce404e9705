"""`edgestyle.toml`: what a project asks of its filters, where it differs from what everybody is asked.

[gate.any.int8]                # gate.DELEGATE.SCHEME; "any" stands for every delegate
psnr_db = 38

[gate.litert-gpu.fp16]
ssim = 0.98
resident = false               # operations may fall back to the CPU

[budget.great_wave]            # budget.NAME; every key may be left out
p90_ms = 12
bytes = 800_000
psnr_db = 40
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestyle import gates, registry
from edgestyle.errors import ConfigError, UnknownNameError, UsageError
from edgestyle.gates import Gate
from edgestyle.manifest import first_error

FILE = "edgestyle.toml"

Decibels = Annotated[float, Field(gt=0, le=200)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GateOverride(_Table):
    """What holds instead of a gate of the table; None leaves it as it is."""

    psnr_db: Decibels | None = None
    ssim: Annotated[float, Field(ge=0, le=1)] | None = None
    resident: bool | None = None

    def apply(self, gate: Gate) -> Gate:
        """The gate that holds."""
        return dataclasses.replace(gate, **self.model_dump(exclude_none=True), reason=f"set in {FILE}")


class Budget(_Table):
    """What a network may cost and must reach; None where nothing is asked."""

    p90_ms: Annotated[float, Field(gt=0)] | None = None
    """90th percentile of the time of a run, upload and readback included."""
    bytes: Annotated[int, Field(gt=0)] | None = None
    """Of the exported file."""
    psnr_db: Decibels | None = None
    """Against the float network."""


class Settings(_Table):
    """The file."""

    gate: dict[str, dict[str, GateOverride]] = {}
    """Delegate or "any" -> scheme -> what holds instead."""
    budget: dict[str, Budget] = {}
    """Name of a network, or of an exported file -> its budget."""


def load(path: Path | None = None) -> Settings:
    """Read `edgestyle.toml`.

    Args:
        path: The file; if None, the one in the current folder, or nothing at all where there is none.

    Raises:
        UsageError: There is no such file.
        ConfigError: It is not TOML, or a value is out of its range.
        UnknownNameError: A key, delegate or scheme is unknown; names the nearest.
    """
    if path is None and not Path(FILE).exists():
        return Settings()
    path = path or Path(FILE)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = Settings.model_validate(content)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; an {FILE} is needed") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise _explain(path, error) from error
    _check_names(path, settings)
    return settings


def _explain(path: Path, error: ValidationError) -> UsageError:
    """The first thing wrong; for an unknown key, the nearest that there are."""
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return ConfigError(f"{path} is malformed: {first_error(error)}")
    *table, key = (str(part) for part in first["loc"])
    model: Any = {(): Settings, ("gate",): GateOverride, ("budget",): Budget}[tuple(table[:1])]
    where = f"[{'.'.join(table)}] of {path}" if table else str(path)
    return UnknownNameError(f"key in {where}", key, model.model_fields)


def _check_names(path: Path, settings: Settings) -> None:
    delegates = [*registry.names(registry.RUNNERS), gates.ANY]
    schemes = {*gates.FORMATS, *registry.names(registry.SCHEMES)}
    for delegate, by_scheme in settings.gate.items():
        if delegate not in delegates:
            raise UnknownNameError(f"delegate in [gate] of {path}", delegate, delegates)
        for scheme in by_scheme:
            if scheme not in schemes:
                raise UnknownNameError(f"scheme in [gate.{delegate}] of {path}", scheme, schemes)
