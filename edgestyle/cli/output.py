"""What commands print: results to stdout, everything about the way there to stderr.

Colours, spinners and line wrapping only on a terminal; piped text is plain, one row a line.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_reserved: list[str] | None = None
"""While stdout is reserved for JSON: what `print_json` was given."""


def say(text: str = "") -> None:
    """Print a line of the result to stdout."""
    _console(stderr=False).print(text, soft_wrap=True)


def note(text: str) -> None:
    """Print a remark to stderr."""
    _console(stderr=True).print(text, soft_wrap=True)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Say on stderr what is being done: with a spinner on a terminal, else in a line."""
    console = _console(stderr=True)
    if console.is_terminal:
        with console.status(text):
            yield
    else:
        note(text)
        yield


@contextmanager
def steps(text: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on stderr with speed and time left; piped, a line every 5 %.

    Yields:
        What to call after each step: with how many are done, and what to say beside the bar.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = _console(stderr=True)
    if not console.is_terminal:
        yield _lines(text, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[remark]}"), console=console, transient=True) as bar:
        task = bar.add_task(text, total=total, remark="")
        yield lambda done, remark: bar.update(task, completed=done, remark=remark)


def _lines(text: str, total: int) -> Callable[[int, str], None]:
    """A line each time another 5 % are done; with the time left, where that is a matter of minutes."""
    began, first, told = time.monotonic(), -1, 0

    def update(done: int, remark: str) -> None:
        nonlocal first, told
        first = done if first < 0 else first  # a run that goes on does not begin at 0
        part = done * 20 // total
        if part > told or total < 20:
            told = part
            left = (time.monotonic() - began) * (total - done) / max(1, done - first) / 60
            note(f"{text} {done}/{total}  {remark}{f'  {left:.0f} min left' if left >= 1 else ''}")

    return update


@contextmanager
def silent() -> Iterator[Callable[[int, str], None]]:
    """In place of `steps` and `progress` where another process tells."""
    yield lambda _done, _remark: None


@contextmanager
def download() -> Iterator[Callable[[int, int], None]]:
    """Says on stderr how far a download is, from when it begins.

    Yields:
        What to call with bytes so far and in all, 0 if unknown.
    """
    from contextlib import ExitStack

    with ExitStack() as stack:
        bars: list[Callable[[int, str], None]] = []

        def update(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(steps("downloading", max(1, total // 1_000_000))))
            bars[0](done // 1_000_000, "MB")

        yield update


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table to stdout; the columns in `right` are aligned to the right, as numbers are."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        grid.add_row(*row)
    _console(stderr=False).print(grid)


def file_size(count: int) -> str:
    """Bytes for people: "998 B", "12.3 kB", "4.5 MB" (powers of 1000, as in file managers)."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def print_json(result: Any) -> None:
    """Print a command's result as JSON to stdout."""
    import json

    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if _reserved is None:
        sys.stdout.write(text)
    else:
        _reserved.append(text)


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Within, only `print_json` reaches stdout. What converters print goes to stderr, from C++ too."""
    global _reserved
    _reserved = []
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        texts, _reserved = _reserved, None
    sys.stdout.write("".join(texts))


def _console(stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 1000  # so that no row of a table is wrapped
    return console
