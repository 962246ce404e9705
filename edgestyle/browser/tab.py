"""A page in Chromium without a window, that runs one file after another as it is told."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.browser import chromium, packages
from edgestyle.browser.protocol import ENGINES, Code, Delegate, Job, Result
from edgestyle.browser.server import Server, serving
from edgestyle.errors import CheckError, UnavailableError
from edgestyle.runner import Availability, installed

_START_S = 180
_LIMIT_S = 900
"""Longest job: a software GPU takes minutes to compile its shaders where the machine is busy."""


class Tab:
    """A page of its own, in a browser of its own, which ends with this object or with the process.

    Raises:
        UnavailableError: There is no Chromium, or the packages are not installed.
        CheckError: The page does not start.
    """

    def __init__(self) -> None:
        modules = packages.installed()
        with ExitStack() as stack:
            self._server: Server = stack.enter_context(serving(modules))
            self.browser = stack.enter_context(chromium.opened(f"{self._server.url}?start"))
            self._server.wait(lambda: self._is_open() or self.browser.poll() is not None, _START_S)
            if not self._is_open():
                code = self.browser.poll()
                late, dead = f"did not open the page within {_START_S} s", f"ended at once, with code {code}"
                raise CheckError(f"{chromium.find()} {late if code is None else dead}")
            self.close = weakref.finalize(self, stack.pop_all().close)

    def _is_open(self) -> bool:
        return any(device.connections for device in self._server.devices.values())

    def run(self, file: Path, delegate: Delegate, tensor: NDArray[Any], code: Code = None) -> NDArray[Any]:
        """The output of a file for an input, both as the file has them.

        Raises:
            CheckError: It fails, or takes too long, or the page crashed.
            UnavailableError: The browser has no such delegate.
        """
        result, output = self._perform(Job(file, ENGINES[file.suffix], delegate, tensor, "run", code, output=True))
        try:
            return np.frombuffer(output, np.dtype(result.output_type)).reshape(result.output_dims)
        except (TypeError, ValueError) as error:
            came = f"{len(output)} bytes for {result.output_type} {result.output_dims}"
            raise CheckError(f"the browser's output makes no tensor: {came}") from error

    def seconds(self, file: Path, delegate: Delegate, tensor: NDArray[Any], code: Code = None) -> float:
        """How long a file runs on an input, by the page's clock: upload and readback in it, the way to here not.

        Raises:
            EdgestyleError: As `run`.
        """
        result, _ = self._perform(Job(file, ENGINES[file.suffix], delegate, tensor, "run", code))
        return result.samples_ms[0] / 1000

    def log(self, file: Path, delegate: Delegate) -> tuple[str, ...]:
        """What the runtime says while it opens a file, in all detail.

        Raises:
            EdgestyleError: As `run`.
        """
        result, _ = self._perform(Job(file, ENGINES[file.suffix], delegate, np.empty(0, np.float32), "place"))
        return result.actual.log if result.actual else ()

    def _perform(self, job: Job) -> tuple[Result, bytes]:
        device = next(iter(self._server.devices.values()))
        number = self._server.offer(job)
        ended = self._server.wait(lambda: number in device.results or not self._is_open(), _LIMIT_S)
        what = f"{job.engine} on {job.delegate}"
        if not ended:
            raise CheckError(f"{what} did not finish within {_LIMIT_S} s")
        if number not in device.results:
            raise CheckError(f"{what} crashed the browser's page")
        result = device.results.pop(number)
        if result.status == "unavailable":
            raise UnavailableError(f"{what} cannot run here: {result.error}")
        if result.status != "done":
            raise CheckError(f"{what} failed: {result.error}")
        return result, device.outputs.pop(number, b"")


def probe(extra: str, package: str) -> Availability:
    """Whether browser runners work here that read files with `package`, which `extra` brings."""
    if not packages.folder().is_dir():
        return Availability("missing", "the browsers' runtimes are not installed", packages.COMMAND)
    if chromium.find() is None:
        return Availability("missing", "neither Chromium nor Chrome is installed", chromium.INSTALL)
    return installed(extra, package)
