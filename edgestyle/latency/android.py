"""Files timed on an Android phone, over adb, by LiteRT's `benchmark_model`."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestyle.errors import (
    CheckError,
    EdgestyleError,
    MissingExtraError,
    UnavailableError,
    UnknownNameError,
    UsageError,
)
from edgestyle.latency import benchmark_model, plan, work
from edgestyle.latency.benchmark_model import Measured
from edgestyle.latency.measure import Effort
from edgestyle.latency.plan import Job
from edgestyle.latency.results import Artifact, Result, limits
from edgestyle.latency.subject import File
from edgestyle.manifest import read_manifest

_PLACE = "/data/local/tmp"  # the one folder from which the shell's user may run programs
_TOOL = "benchmark_model"
_DISPATCH = "libLiteRtDispatch*.so"
"""LiteRT's way to an NPU; one for each maker."""
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""https://developer.android.com/reference/android/os/PowerManager#THERMAL_STATUS_NONE and following"""
_NO_PHONE = "without a cable, 'edgestyle bench FILES --browser --lan' measures in the phone's browser"


class DisconnectedError(CheckError):
    """The phone has gone."""


@dataclass(frozen=True)
class Phone:
    """A phone that takes commands."""

    serial: str
    name: str
    """For people: "Google Pixel 8, Android 15, Tensor G3"."""
    _device: Any

    def run(self, command: str, limit_s: float = 30) -> tuple[int, str]:
        """Exit code and output of a shell command on the phone.

        Raises:
            DisconnectedError: There was no answer.
        """
        with _adb_errors(self.name):
            done = self._device.shell2(command, timeout=limit_s, encoding="utf-8")
            return done.returncode, done.output

    def push(self, path: Path, to: str) -> None:
        """Copy a file to the phone. Raises DisconnectedError."""
        with _adb_errors(self.name):
            self._device.sync.push(path, to, check=True)

    def thermal_status(self) -> int | None:
        """0 if nothing is slowed down by heat, up to 6; None where Android does not tell (before 10)."""
        return parse_thermal_status(self.run("dumpsys thermalservice")[1])


def parse_thermal_status(dump: str) -> int | None:
    """The status in what `dumpsys thermalservice` prints."""
    found = re.search(r"^\s*Thermal Status: ([0-6])\s*$", dump, re.MULTILINE)
    return int(found[1]) if found else None


# Finding the phone --------------------------------------------------------------------------------------------------


def connect(serial: str = "") -> Phone:
    """The phone of that serial number, or the only one there is.

    Raises:
        MissingExtraError: adbutils is not installed.
        UnavailableError: There is no adb, no phone, or it does not trust this machine.
        UnknownNameError: There is no phone of that serial number.
        UsageError: There are several and none was named.
    """
    try:
        from adbutils import AdbClient, AdbError
    except ImportError as error:
        raise MissingExtraError("adbutils", "android") from error
    client = AdbClient()
    try:
        found = {info.serial: info.state for info in client.list()}
    except (AdbError, OSError) as error:
        raise UnavailableError(
            f"adb cannot be started ({error}); install Android's platform-tools, or {_NO_PHONE}"
        ) from error
    if not found:
        raise UnavailableError(
            f"no Android phone is connected; plug one in with USB debugging on ('adb devices' lists it), or {_NO_PHONE}"
        )
    if serial and serial not in found:
        raise UnknownNameError("phone", serial, found)
    if not serial and len(found) > 1:
        raise UsageError(f"{len(found)} phones are connected; name one of them: --android {' or '.join(sorted(found))}")
    (chosen,) = [serial] if serial else found
    if found[chosen] != "device":
        raise UnavailableError(f"{chosen} is {found[chosen]}: unlock it, and allow USB debugging from this computer")
    device = client.device(chosen)
    return Phone(chosen, _describe(Phone(chosen, chosen, device)), device)


def _describe(phone: Phone) -> str:
    """Maker, model, version and chip."""
    names = (
        "ro.product.manufacturer",
        "ro.product.model",
        "ro.build.version.release",
        "ro.soc.model",
        "ro.board.platform",
    )
    lines = phone.run("; ".join(f"getprop {name}" for name in names))[1].splitlines()
    maker, model, version, chip, board = (line.strip() for line in [*lines, *[""] * len(names)][: len(names)])
    full = model if model.lower().startswith(maker.lower()) else f"{maker} {model}"
    parts = [full.strip() or phone.serial, f"Android {version}" if version else "", chip or board]
    return ", ".join(filter(None, parts))


@contextmanager
def _adb_errors(name: str) -> Iterator[None]:
    from adbutils import AdbError

    try:
        yield
    except (AdbError, OSError, EOFError, AssertionError) as error:
        raise DisconnectedError(f"{name} was disconnected, or does not answer ({error or 'no answer'})") from error


# Measuring ----------------------------------------------------------------------------------------------------------


def measure(
    jobs: Sequence[Job],
    tool: Path,
    serial: str,
    delegates: Sequence[str],
    effort: Effort,
    *,
    progress: Callable[[str], AbstractContextManager[None]],
    found: Callable[[Result], None],
) -> None:
    """Time each file on each of the phone's delegates.

    A phone that is disconnected on the way ends it: what it was doing has failed, and the rest could not run.

    Args:
        jobs: Those among them that are `.tflite` files are measured.
        tool: `benchmark_model` for the phone's processor; shared libraries beside it (`*.so`) go with it.
        serial: The phone's serial number; "" for the only one.
        delegates: Of `benchmark_model.DELEGATES`; all if none.
        effort: How long to measure.
        progress: Says what is being done while it is.
        found: Called with each result at once, so that it is not lost if the rest is interrupted.

    Raises:
        UsageError: No file can be run, there is no such tool or delegate, or several phones and none named.
        UnavailableError: There is no phone.
    """
    files = _files(jobs)
    for name in delegates:
        if name not in benchmark_model.DELEGATES:
            raise UnknownNameError("delegate of Android", name, benchmark_model.DELEGATES)
    if not tool.is_file():
        raise UsageError(
            f"there is no {tool}; --benchmark-model takes LiteRT's benchmark_model for the phone's processor"
        )
    phone = connect(serial)
    gone = ""
    with _folder(phone, tool) as folder:
        for file in files:
            for delegate in delegates or benchmark_model.DELEGATES:
                about = plan.about(file, read_manifest(file), delegate, device=phone.name)
                if gone:
                    found(Result(**dict(about), status="could not run", reason=gone))
                    continue
                with progress(f"timing {file} on {delegate} of {phone.name}"):
                    result, gone = _try(phone, folder, file, tool, about, effort)
                found(result)


def _files(jobs: Sequence[Job]) -> list[Path]:
    paths = dict.fromkeys(job.subject.path for job in jobs if isinstance(job.subject, File))
    files = [path for path in paths if path.suffix == ".tflite"]
    if not files:
        raise UsageError("none of these runs in benchmark_model; .tflite files do")
    return files


@contextmanager
def _folder(phone: Phone, tool: Path) -> Iterator[str]:
    """A folder on the phone with the tool in it, removed at the end."""
    folder = f"{_PLACE}/edgestyle-{secrets.token_hex(4)}"
    try:
        phone.run(f"mkdir -p {folder}")
        for path in [tool, *sorted(tool.parent.glob("*.so"))]:
            phone.push(path, f"{folder}/{_TOOL if path == tool else path.name}")
        phone.run(f"chmod 755 {folder}/{_TOOL}")
        yield folder
    finally:
        with suppress(DisconnectedError):
            phone.run(f"rm -rf {folder}")


def _try(phone: Phone, folder: str, file: Path, tool: Path, about: Artifact, effort: Effort) -> tuple[Result, str]:
    """The result, and why there can be no other."""
    try:
        return _measure_one(phone, folder, file, tool, about, effort), ""
    except UnavailableError as error:
        return Result(**dict(about), status="could not run", reason=str(error)), ""
    except EdgestyleError as error:
        gone = str(error) if isinstance(error, DisconnectedError) else ""
        return Result(**dict(about), status="failed", reason=str(error)), gone


def _measure_one(phone: Phone, folder: str, file: Path, tool: Path, about: Artifact, effort: Effort) -> Result:
    if about.delegate == "android-npu" and not list(tool.parent.glob(_DISPATCH)):
        raise UnavailableError(f"there is no {_DISPATCH} beside {tool.name}, and no NPU can be used without")
    graph = f"{folder}/model.tflite"
    phone.push(file, graph)
    flags = benchmark_model.arguments(about.delegate, graph, folder, effort)
    command = shlex.join([f"{folder}/{_TOOL}", *flags])
    code, output = phone.run(f"LD_LIBRARY_PATH={folder} ADSP_LIBRARY_PATH={folder} {command} 2>&1", effort.limit_s)
    if code:
        raise CheckError(f"benchmark_model ended with exit code {code}: {benchmark_model.last_words(output)}")
    return _result(about, benchmark_model.parse(output, about.delegate), phone.thermal_status())


def _result(about: Artifact, measured: Measured, heat: int | None) -> Result:
    path, p50 = Path(about.artifact), measured.median_ms
    manifest = read_manifest(path)
    size = manifest.contract.size if manifest and manifest.contract.size != "dynamic" else None
    counted = None
    if size and p50:
        with suppress(MissingExtraError):
            counted = work.of_file(path, size)
    remarks = [] if p50 else [f"mean {measured.mean_ms:.4g} ms; this benchmark_model tells no median"]
    remarks += ["part of it ran on the CPU"] * measured.partial
    remarks += [f"slowed down by heat: {_THERMAL[heat]}"] if heat else []
    return Result(
        **dict(about),
        size=size,
        status="passed",
        reason="; ".join(remarks),
        runs=measured.runs,
        init_ms=measured.init_ms,
        first_ms=measured.first_ms,
        p50_ms=p50,
        min_ms=measured.min_ms,
        hot=bool(heat),
        peak_mb=measured.memory_mb,
        delegated=measured.delegated,
        **(limits(counted, p50) if counted and p50 else {}),
    )
