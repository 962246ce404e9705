"""A function in a process of its own."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgestyle import isolate
from edgestyle.errors import CheckError, EdgestyleError, MissingExtraError, UnknownNameError, UsageError


def double(value: int) -> tuple[int, int]:
    sys.stdout.write("chatter")
    return 2 * value, os.getpid()


def fail(error: Exception) -> None:
    raise error


def crash() -> None:
    sys.stderr.write("so long\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    os._exit(3)


def hang(note: Path) -> None:
    """Start a process in a session of its own, as a browser does, note it, and never return."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True) as child:
        note.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
        note.with_suffix(".new").replace(note)
        time.sleep(300)


def allocate(count: int) -> int:
    return len(b"x" * count)


def lambda_result() -> object:
    return lambda: None


def crash_when_done() -> str:
    atexit.register(crash)
    return "done"


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie that init has yet to reap does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    for _ in range(1200):
        if not any(map(is_running, pids)):
            return
        time.sleep(0.05)
    pytest.fail(f"still running: {[pid for pid in pids if is_running(pid)]}")


def test_the_value_comes_from_another_process(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = isolate.call(double, 21, limit_s=60)
    value, pid = outcome.value
    assert value == 42
    assert pid != os.getpid()
    assert outcome.seconds >= 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error",
    [UsageError("no"), UnknownNameError("model", "wav", ["wave"]), MissingExtraError("onnx", "onnx")],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_ours_keep_their_type_and_text(error: EdgestyleError) -> None:
    with pytest.raises(type(error)) as raised:
        isolate.call(fail, error, limit_s=60)
    assert str(raised.value) == str(error)
    assert raised.value.exit_code == error.exit_code
    assert getattr(raised.value, "install", None) == getattr(error, "install", None)
    assert "in fail" in raised.value.__notes__[0]  # where it happened, for those who ask


def test_other_errors_become_a_failed_check() -> None:
    with pytest.raises(CheckError) as raised:
        isolate.call(fail, ZeroDivisionError("oh"), limit_s=60)
    assert str(raised.value) == "ZeroDivisionError: oh"


def test_a_result_that_cannot_be_sent_is_a_failed_check() -> None:
    with pytest.raises(CheckError, match="pickle"):
        isolate.call(lambda_result, limit_s=60)


def test_a_crash_is_told_with_its_signal() -> None:
    with pytest.raises(CheckError, match=r"the process crashed \(signal 11\); it last said: so long"):
        isolate.call(crash, limit_s=60)
    with pytest.raises(CheckError, match=r"the process crashed \(exit code 3\)$"):
        isolate.call(leave, limit_s=60)


def test_a_crash_after_the_work_changes_nothing() -> None:
    assert isolate.call(crash_when_done, limit_s=60).value == "done"


def test_a_hang_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    for limit_s in (2, 8, 32, 128):  # the process must have come as far as to hang
        with pytest.raises(CheckError, match=f"did not finish within {limit_s} s"):
            isolate.call(hang, tmp_path / "pids", limit_s=limit_s)
        if (tmp_path / "pids").exists():
            break
    wait_until_gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])


def test_ctrl_c_ends_the_process_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pids"

    def interrupt() -> None:
        while not note.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        isolate.call(hang, note, limit_s=60)
    wait_until_gone([int(pid) for pid in note.read_text().split()])


def test_the_peak_of_memory_is_that_of_the_process() -> None:
    ballast = b"x" * 300_000_000  # what the caller holds does not count
    small = isolate.call(allocate, 1, limit_s=60).peak_bytes
    large = isolate.call(allocate, 100_000_000, limit_s=60).peak_bytes
    assert 1_000_000 < small < len(ballast)
    assert large - small == pytest.approx(100_000_000, rel=0.05)
