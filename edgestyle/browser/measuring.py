"""Timing files in browsers: on this machine, or on any phone in the same network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.browser import chromium, packages
from edgestyle.browser.protocol import DELEGATES, ENGINES, Actual, Code, Delegate, DeviceInfo, Job, Result
from edgestyle.browser.server import Device, Server, serving
from edgestyle.errors import CheckError, MissingExtraError, UsageError
from edgestyle.manifest import Status

_STATUS: dict[str, Status] = {
    "done": "passed",
    "failed": "failed",
    "partial": "failed",
    "unavailable": "could not run",
}
_GRACE_S = 15
"""A device that comes back within this time has not left: phones change networks, and screens lock."""


@dataclass(frozen=True)
class Measurement:
    """One file on one delegate of one device."""

    file: Path
    delegate: str
    """As on the command line: "onnxruntime-web-webgpu"."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""
    device: DeviceInfo
    status: Status
    reason: str
    """Why it failed or could not run; what was measured until then is kept."""
    actual: Actual | None
    """What it really ran on; None where the file could not be opened."""
    init_ms: float | None
    """From the file's bytes in memory to a network that is ready to run."""
    first_ms: float | None
    """First run: compiles shaders, packs weights."""
    warmup_ms: tuple[float, ...]
    samples_ms: tuple[float, ...]
    """In the order of the runs, each with upload and readback."""

    @property
    def emulated(self) -> bool:
        """Whether a GPU was asked for, and a software one ran it."""
        return bool(self.actual and self.actual.adapter and self.actual.adapter.software)


def measure(
    files: Sequence[Path],
    *,
    size: tuple[int, int] = (512, 512),
    delegates: Sequence[Delegate] = DELEGATES,
    samples: int = 30,
    warmup: int = 5,
    limit_s: float = 30,
    lan: bool = False,
    port: int = 0,
    devices: int | None = 1,
    open_chromium: bool = False,
    timeout_s: float = 600,
    on_url: Callable[[str], None] | None = None,
    on_result: Callable[[Measurement], None] | None = None,
) -> list[Measurement]:
    """Time files in browsers.

    A page is served; each device that opens it lets its user choose and start, and posts every result at once.

    Args:
        files: `.onnx` (onnxruntime-web) and `.tflite` (LiteRT.js) files.
        size: Height and width for files of free size.
        delegates: What to run each file on. What a browser lacks "could not run", with the reason.
        samples: Timed runs of each file on each delegate.
        warmup: Runs before them, after the first.
        limit_s: No run of a file on a delegate begins later than this after its first; at least one is timed.
        lan: Serve to the local network, by https with a certificate of our own (phones warn once), because browsers
            give WebGPU and threads to secure pages only. Else to this machine alone.
        port: To listen on; any free one if 0.
        devices: End after so many devices have finished, or left in the middle; None: after `timeout_s`, or by Ctrl-C.
        open_chromium: Open the page in Chromium without a window, which begins at once.
        timeout_s: Longest time for everything.
        on_url: Called once, with the URL to open; `qr` draws it.
        on_result: Called with each measurement as it comes, always in the calling thread.

    Returns:
        All measurements in the order in which they came, devices mixed, without what a user did not choose. On
        Ctrl-C, KeyboardInterrupt passes; `on_result` has been told of all until then.

    Raises:
        UsageError: A file is not one that browsers run, or the port is in use.
        UnavailableError: The packages, Chromium or a network are not there.
        CheckError: Time was up and no device had come.
    """
    modules = packages.installed()
    jobs = [
        Job(path, ENGINES[path.suffix], delegate, tensor, "time", code, warmup=warmup, samples=samples, limit_s=limit_s)
        for path, (tensor, code) in ((path, _example(path, size)) for path in files)
        for delegate in delegates
    ]
    with ExitStack() as stack:
        server = stack.enter_context(serving(modules, lan=lan, port=port))
        server.offer(*jobs)
        server.close()
        if on_url:
            on_url(server.url)
        if open_chromium:
            stack.enter_context(chromium.opened(f"{server.url}?start"))
        return _collect(server, devices, timeout_s, on_result)


def _example(file: Path, size: tuple[int, int]) -> tuple[NDArray[Any], Code]:
    """Random pixels as the file takes them, and the code by which it paints.

    Raises:
        UsageError: It is not a file that browsers run, or does not take this size.
    """
    from edgestyle.runners import litert_cpu, onnxruntime_cpu

    if file.suffix not in ENGINES:
        raise UsageError(f"{file} cannot run in a browser; {' and '.join(ENGINES)} files can")
    session = onnxruntime_cpu.open_file(file) if file.suffix == ".onnx" else litert_cpu.open_file(file)
    height, width = session.size or size
    return session.encode(np.random.default_rng(0).random((1, 3, height, width), np.float32)), session.code


def _collect(
    server: Server, devices: int | None, timeout_s: float, on_result: Callable[[Measurement], None] | None
) -> list[Measurement]:
    """Wait for results, until enough devices have ended or time is up."""
    found: list[Measurement] = []
    seen: set[tuple[str, int]] = set()
    end = time.monotonic() + timeout_s

    def take(job: Job, device: Device, result: Result) -> None:
        found.append(_measurement(job, device.info, result))
        if on_result:
            on_result(found[-1])

    def news() -> list[tuple[str, int]]:
        every = {(token, number) for token, device in server.devices.items() for number in device.results}
        return sorted(every - seen)

    def over() -> bool:
        return devices is not None and sum(map(_has_ended, server.devices.values())) >= devices

    while server.wait(lambda: bool(news()) or over(), end - time.monotonic()):
        with server.changed:
            fresh = news()
        for token, number in fresh:
            take(server.jobs[number], server.devices[token], server.devices[token].results[number])
        seen.update(fresh)
        if not fresh:
            break
    with server.changed:
        missing = _unfinished(server)
    if not server.devices:
        raise CheckError(f"no device opened {server.url} within {timeout_s:g} s; is it in the same network?")
    for job, device in missing:
        take(job, device, Result(status="unavailable", error="the device left, or time was up, before it came to this"))
    return found


def _has_ended(device: Device) -> bool:
    """Whether it has done all, or has begun and then left."""
    left = device.left_at is not None and time.monotonic() - device.left_at > _GRACE_S
    return device.done or (left and bool(device.results))


def _unfinished(server: Server) -> list[tuple[Job, Device]]:
    """What devices that had begun did not come to."""
    return [
        (job, device)
        for device in server.devices.values()
        if device.results and not device.done
        for number, job in enumerate(server.jobs)
        if number not in device.results
    ]


def _measurement(job: Job, device: DeviceInfo, result: Result) -> Measurement:
    shape = job.input.shape
    return Measurement(
        job.file,
        f"{job.engine.removesuffix('-web')}-web-{job.delegate}",
        (shape[2], shape[3]) if shape[1] == 3 else (shape[1], shape[2]),
        device,
        _STATUS[result.status],
        result.error,
        result.actual,
        result.init_ms,
        result.first_ms,
        result.warmup_ms,
        result.samples_ms,
    )


def qr(url: str) -> str:
    """A QR code of `url` for the terminal, light on dark, in half blocks.

    Raises:
        MissingExtraError: segno is not installed.
    """
    try:
        import segno
    except ImportError as error:
        raise MissingExtraError("segno", "browser") from error
    import io

    text = io.StringIO()
    segno.make(url, micro=False).terminal(text, border=2, compact=True)
    return text.getvalue()
