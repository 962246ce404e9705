"""Finding targets, schemes, runners, zoos and demos by name, through entry points.

The core never imports the folders that plug into it; it asks here. A package of anybody's own can publish another
target or runner under the same groups. Names are known without importing anything heavy: `names` reads metadata,
`load` imports.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from edgestyle.errors import UnknownNameError

TARGETS = "edgestyle.targets"
"""Objects of type `edgestyle.target.Target`: formats that a network can be exported to."""
SCHEMES = "edgestyle.schemes"
"""Objects of type `edgestyle.target.Scheme`: number formats of weights and activations."""
RUNNERS = "edgestyle.runners"
"""Objects of type `edgestyle.runner.Runner`: delegates that open an exported file."""
ZOOS = "edgestyle.zoos"
"""Functions that return the folder of a collection of trained networks."""
DEMOS = "edgestyle.demos"
"""Objects of type `edgestyle.demo.Demo`: apps that run exported files."""

_SINGULAR = {TARGETS: "target", SCHEMES: "scheme", RUNNERS: "delegate", ZOOS: "zoo", DEMOS: "demo"}


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)}


def names(group: str) -> list[str]:
    """All names in a group, sorted. Imports nothing."""
    return list(_found(group))


def load(group: str, name: str) -> Any:
    """The object registered under `name`.

    Raises:
        UnknownNameError: There is none of that name.
    """
    entries = _found(group)
    if name not in entries:
        raise UnknownNameError(_SINGULAR[group], name, entries)
    return entries[name].load()


def load_all(group: str) -> list[Any]:
    """Every object of a group, in the order of their names."""
    return [load(group, name) for name in names(group)]
