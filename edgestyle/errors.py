"""Every error that edgestyle raises on purpose.

EdgestyleError            base; the message is one line: what came, what is allowed, what to do
├── UsageError            the command line or an argument is wrong            (exit code 2)
│   ├── ConfigError       a configuration or a file of ours says something impossible
│   ├── ImageError        a picture cannot be read or written
│   └── UnknownNameError  no model, target, scheme or delegate of that name; names the nearest
├── MissingExtraError     an optional package is not installed; names the command that adds it   (exit code 1)
├── UnavailableError      this machine cannot do it (wrong system, no device), with the reason   (exit code 1)
└── CheckError            a check ran and failed                              (exit code 1)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class EdgestyleError(Exception):
    """Base of all errors that edgestyle raises on purpose. Its text is one line, fit to be shown to a user."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with its text, not with the arguments that its class takes: it may come from another process."""
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[EdgestyleError], args: tuple[Any, ...]) -> EdgestyleError:
    return kind.__new__(kind, *args)


class UsageError(EdgestyleError):
    """The request itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration, checkpoint or manifest is malformed."""


class ImageError(UsageError):
    """A picture cannot be read or written."""


class UnknownNameError(UsageError):
    """No such model, target, scheme or delegate.

    Args:
        kind: What was looked up, e.g. "model".
        name: What came.
        known: What is allowed.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        import difflib  # here, because every command imports this module and few need it

        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known) or 'none'}"
        super().__init__(f"unknown {kind} '{name}'; {hint}")


class MissingExtraError(EdgestyleError):
    """An optional dependency is missing.

    Args:
        package: The package that failed to import.
        extra: The extra of edgestyle that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.install = f"pip install 'edgestyle[{extra}]'"
        super().__init__(f"{package} is not installed; add it with: {self.install}")


class UnavailableError(EdgestyleError):
    """This machine cannot do it."""


class CheckError(EdgestyleError):
    """A check ran and failed."""
