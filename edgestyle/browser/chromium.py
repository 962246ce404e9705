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
    "--disable-dev-shm-usage",  # containers have 64 MB there, and pages crash when it is full
    "--disable-quic",
    "--disable-sync",
    "--ignore-certificate-errors",  # the server's own certificate; it opens no other page
    "--no-proxy-server",  # nor is a proxy needed on the way to it
)
_SWIFTSHADER = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def find() -> Path | None:
    """The browser's program, or None if there is none."""
    named = next(filter(None, map(shutil.which, _NAMES)), None)
    if named:
        return Path(named)
    return _MACOS if _MACOS.is_file() else None


def _has_sandbox() -> bool:
    """Whether Chromium can shut its pages in: on Linux by user namespaces, which root and many containers lack."""
    if sys.platform != "linux":
        return True
    if os.geteuid() == 0:
        return False
    try:
        return subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0  # noqa: S607
    except OSError:
        return False


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
    unsandboxed = () if _has_sandbox() else ("--no-sandbox",)  # without either it would not start
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
