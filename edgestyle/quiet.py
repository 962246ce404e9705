"""Keeping other people's chatter off the terminal."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import BinaryIO


@contextmanager
def quiet(log: BinaryIO | None = None) -> Iterator[None]:
    """Within, nothing reaches stdout or stderr, not even from C++, and Python warnings are ignored.

    Exceptions pass through. For converters and runtimes that report on themselves. It holds for the whole process,
    other threads included, so keep it around one foreign call.

    Args:
        log: An open file that gets what would have been seen.
    """
    _flush()
    saved = {fd: os.dup(fd) for fd in (1, 2) if _is_open(fd)}
    sink = os.dup(log.fileno()) if log else os.open(os.devnull, os.O_WRONLY)
    try:
        for fd in saved:
            os.dup2(sink, fd)
        # Not a file of our own in their place: a logger made meanwhile keeps what it finds, and that must stay open.
        with redirect_stdout(sys.__stdout__), redirect_stderr(sys.__stderr__), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _flush()
        for fd, copy in saved.items():
            os.dup2(copy, fd)
            os.close(copy)
        os.close(sink)


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
