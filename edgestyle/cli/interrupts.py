"""Ctrl-C and SIGTERM end a command, even where a library swallows them.

Some libraries catch KeyboardInterrupt, and then fail in a way of their own or go on as if nothing had come.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgestyle.cli import output

_received: list[int] = []
"""Signals that have come since `interruptible` began."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM raise KeyboardInterrupt(signal), and are remembered."""

    def interrupt(number: int, _frame: object) -> None:
        _received.append(number)
        raise KeyboardInterrupt(number)

    _received.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    caught = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    with suppress(ValueError):  # not in the main thread
        for number in caught:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        with suppress(ValueError):
            for number in caught:
                signal.signal(number, before[number])


def received() -> KeyboardInterrupt | None:
    """The interruption that has come, if any, whatever a library has made of it."""
    return KeyboardInterrupt(_received[0]) if _received else None


def check() -> None:
    """End the command if it was interrupted; to be called before each piece of work, and where it survives an error.

    Raises:
        KeyboardInterrupt: With the signal that came.
    """
    interruption = received()
    if interruption:
        raise interruption


@contextmanager
def progress(text: str) -> Iterator[None]:
    """`output.progress` of work that is not begun once the command was interrupted, nor followed by more."""
    check()
    with output.progress(text):
        yield
    check()
