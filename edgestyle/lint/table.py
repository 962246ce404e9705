"""A delegate's rules: one readable file each in `rules/`, data and no code.

What a table looks like (the words in `needs` are those of `edgestyle.lint.conditions`):

    title = "LiteRT on the CPU (XNNPACK)"
    format = "tflite"
    runners = ["litert-cpu"]        # delegates that it speaks for, as on the command line
    otherwise = "falls back"        # what becomes of an op that it does not take
    largest_piece_only = true       # it is given one piece only; left out: every piece that it takes
    supported = ["ADD", ...]        # ops that it takes; left out where another tool knows them
    why = "..."                     # of an op that is in no rule and not in `supported`
    rewrite = "..."
    source = "https://..."

    [[rule]]
    ops = ["MIRROR_PAD"]
    needs = { ... }                 # not met: the rule holds; left out: it always does
    severity = "slow"               # left out: `otherwise`
    why = "..."
    rewrite = "..."
    source = "https://..."          # left out: the table's
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edgestyle.lint.conditions import CONDITIONS
from edgestyle.lint.graph import Op

Severity = Literal["will not compile", "falls back", "slow", "risky in fp16"]
Format = Literal["tflite", "onnx", "coreml"]

REFUSALS: tuple[Severity, ...] = ("will not compile", "falls back")
"""What keeps an op off the delegate: without another beside it the file does not start, else that one takes over."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Model):
    """What a delegate thinks of some ops."""

    ops: tuple[str, ...]
    """Types as the format calls them; "*" is every op."""
    needs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity | None = None
    why: str
    rewrite: str
    source: str = ""

    @field_validator("needs")
    @classmethod
    def _known(cls, needs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(needs.keys() - CONDITIONS.keys())
        if unknown:
            raise ValueError(f"unknown condition {unknown[0]}; there are: {', '.join(sorted(CONDITIONS))}")
        return needs

    def complaint(self, op: Op) -> str | None:
        """What came that the rule is against ("" where it is against the op as such); None if it has nothing to say."""
        if op.type not in self.ops and "*" not in self.ops:
            return None
        if not self.needs:
            return ""
        return next((came for name, wanted in self.needs.items() if (came := CONDITIONS[name](op, wanted))), None)


class Table(_Model):
    """A delegate's rules."""

    title: str
    format: Format
    runners: tuple[str, ...]
    otherwise: Severity
    largest_piece_only: bool = False
    """Whether the delegate is given the largest piece, and what others it could take stays with the CPU."""
    supported: tuple[str, ...] | None = None
    why: str
    rewrite: str
    source: str
    rule: tuple[Rule, ...] = ()

    @property
    def name(self) -> str:
        """Of the delegate."""
        return self.runners[0]


@cache
def tables() -> tuple[Table, ...]:
    """All tables, in the order of their file names."""
    found = sorted((f for f in files(__package__).joinpath("rules").iterdir() if f.name.endswith(".toml")), key=str)
    return tuple(Table.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))) for file in found)
