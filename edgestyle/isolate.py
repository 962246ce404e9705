"""Calling a function in a process of its own: it may crash or hang without taking the caller with it.

For foreign runtimes: a delegate that ends in a segmentation fault, or never returns, is one failed check and no more.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from edgestyle.errors import CheckError, EdgestyleError

T = TypeVar("T")

_REQUEST, _RESULT, _LOG = "request.pickle", "result.pickle", "log.txt"


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a call came to."""

    value: T
    peak_bytes: int
    """Peak resident memory of the process, interpreter and libraries included."""
    seconds: float
    """Time that the function took, the start of the process left out."""


def call(function: Callable[..., T], *args: object, limit_s: float) -> Outcome[T]:
    """Call `function(*args)` in a fresh Python process, whose stdout and stderr are kept from the terminal.

    However the call ends, Ctrl-C included, the process and all that it has started are ended with it.

    Args:
        function: A function at the top of a module. It, its arguments and its result must be picklable.
        args: Its arguments.
        limit_s: Longest time for everything, the start of the process included, in seconds.

    Raises:
        CheckError: The process crashed, did not finish in time, or raised an error that is none of ours.
        EdgestyleError: What the function raised, with its own type.
    """
    with tempfile.TemporaryDirectory(prefix="edgestyle-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / _REQUEST).write_bytes(pickle.dumps((function, args)))
        code = _run(folder, limit_s)
        # Where there is a result, nothing else counts: many a library crashes or hangs when its process ends.
        if not (folder / _RESULT).is_file():
            if code is None:
                raise CheckError(f"the process did not finish within {limit_s:g} s, and was ended")
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise CheckError(f"the process crashed ({how}){_last_words(folder / _LOG)}")
        result = pickle.loads((folder / _RESULT).read_bytes())  # noqa: S301  # a folder that is ours alone
    if isinstance(result, EdgestyleError):
        raise result
    outcome: Outcome[T] = result
    return outcome


def _run(folder: Path, limit_s: float) -> int | None:
    """Run `serve` on a folder in a process that leads a group of its own; its exit code, None if it was too slow."""
    command = [sys.executable, "-P", "-c", "from edgestyle.isolate import serve; serve()", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # to find what this process finds
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, its group, and those of its descendants that have left the group, as browsers do."""
    for pid in _descendants(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # the latter on macOS, where only zombies are left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _descendants(root: int) -> list[int]:
    """Processes that `root` and its children have started, by /proc; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found, queue = [], [root]
    while queue:
        queue += (below := children.get(queue.pop(), []))
        found += below
    return found


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f"; it last said: {said[-1][:200]}" if said else ""


# In the process -----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer the request in the folder that the command line names: with an `Outcome`, or with the error to raise."""
    folder = Path(sys.argv[1])
    result: Outcome[Any] | EdgestyleError
    try:
        function, args = pickle.loads((folder / _REQUEST).read_bytes())  # noqa: S301
        began = time.perf_counter()
        value = function(*args)
        result = Outcome(value, _peak_bytes(), time.perf_counter() - began)
        answer = pickle.dumps(result)
    except Exception as error:
        result = error if isinstance(error, EdgestyleError) else CheckError(f"{type(error).__name__}: {error}")
        result.add_note("".join(traceback.format_exception(error)))
        answer = pickle.dumps(result)
    partial = folder / f"{_RESULT}.partial"
    partial.write_bytes(answer)
    partial.replace(folder / _RESULT)


def _peak_bytes() -> int:
    """Peak resident memory of this process."""
    with suppress(OSError):  # ru_maxrss on Linux would begin with what the parent had
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
