"""Predictions held against what the runtimes do: the proof that the tables are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgestyle import isolate, registry
from edgestyle.errors import CheckError, EdgestyleError
from edgestyle.lint import table_for
from edgestyle.lint.table import REFUSALS
from edgestyle.lint.verdict import Verdict
from edgestyle.runner import Placement, Runner

LIMIT_S = 120.0
"""Longest that a runtime may take to open a file."""


@dataclass(frozen=True)
class Comparison:
    """One delegate's prediction, and what its runtime did."""

    verdict: Verdict
    runner: str
    seen: Placement | None
    """None where the runtime did not open the file or does not tell."""
    reason: str = ""
    """Why there is nothing to see."""
    refused: bool = False
    """Whether the runtime would not take the file at all."""

    @property
    def agrees(self) -> bool | None:
        """Whether the same ops stay off the delegate, in the prediction and in truth; None where nothing was seen.

        Only their types are compared: runtimes fuse ops and add transposes of their own before they count.
        """
        if self.refused:
            return self.verdict.outlook in REFUSALS
        if self.seen is None:
            return None
        return self.seen.fallback_ops == self.verdict.placement.fallback_ops


def compare(path: Path, verdicts: list[Verdict]) -> Iterator[Comparison]:
    """Open a file on each delegate that works here and that there is a prediction for."""
    for verdict in verdicts:
        for name in table_for(verdict.delegate).runners:
            if name not in registry.names(registry.RUNNERS):
                continue
            runner: Runner = registry.load(registry.RUNNERS, name)
            availability = runner.probe()
            if availability.status != "works":
                yield Comparison(verdict, name, None, availability.reason)
                continue
            yield compare_on(path, verdict, name)


def compare_on(path: Path, verdict: Verdict, runner: str) -> Comparison:
    """Open a file on one delegate, in a process of its own, and hold the prediction against what it does."""
    try:
        seen = isolate.call(placement, runner, path, limit_s=LIMIT_S).value
    except EdgestyleError as error:
        return Comparison(verdict, runner, None, str(error))
    if isinstance(seen, str):
        return Comparison(verdict, runner, None, seen, refused=True)
    return Comparison(verdict, runner, seen, "" if seen else "its runtime does not tell")


def placement(runner: str, path: Path) -> Placement | str | None:
    """Where the ops of a file run on a delegate, or why the delegate refuses the file. For `isolate.call`."""
    found: Runner = registry.load(registry.RUNNERS, runner)
    try:
        return found.open(path).placement()
    except CheckError as error:
        return str(error)
