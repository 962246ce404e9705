"""Chromium or Chrome without a window."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgestyle.errors import UnavailableError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")

INSTALL = "apt install chromium"
"""What adds it on Debian."""
SOFTWARE_GPU = sys.platform != "darwin"
"""Whether WebGPU runs on SwiftShader: Chromium without a window finds no GPU on Linux, but Metal on macOS."""

_FLAGS = (
    "--headless",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--ignore-certificate-errors",  # the server's own certificate; it opens no other page
)
_SWIFTSHADER = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def find() -> Path | None:
    """The browser's program, or None if there is none."""
    named = next(filter(None, map(shutil.which, _NAMES)), None)
    if named:
        return Path(named)
    return _MACOS if _MACOS.is_file() else None


@contextmanager
def opened(url: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """Within, `url` is open in a browser of its own, with an empty profile.

    Yields:
        Its main process, which leads a group of its own.

    Raises:
        UnavailableError: There is no Chromium.
    """
    program = find()
    if program is None:
        raise UnavailableError(f"neither Chromium nor Chrome is installed; on Debian: {INSTALL}")
    unsandboxed = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()  # root has no sandbox
    software = _SWIFTSHADER if SOFTWARE_GPU else ()
    with tempfile.TemporaryDirectory(prefix="edgestyle-", ignore_cleanup_errors=True) as profile:
        command = [str(program), *_FLAGS, *unsandboxed, *software, *flags, f"--user-data-dir={profile}", url]
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # with all the processes that it is made of
            process.wait()
