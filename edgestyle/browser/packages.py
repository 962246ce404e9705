"""The browsers' runtimes, onnxruntime-web and LiteRT.js, from npm in the versions that package-lock.json pins."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from edgestyle.errors import CheckError, UnavailableError
from edgestyle.files import staged

COMMAND = "edgestyle doctor --install browser"
"""What a user types to have them installed."""

_HERE = Path(__file__).parent
_PINS = ("package.json", "package-lock.json")
_MODULES = "node_modules"


def folder() -> Path:
    """Where the packages are installed, whether they are there yet or not: a folder `node_modules`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    lock = hashlib.sha256((_HERE / "package-lock.json").read_bytes()).hexdigest()
    return cache / "edgestyle" / f"browser-{lock[:16]}" / _MODULES


def installed() -> Path:
    """The same folder, if the packages are there.

    Raises:
        UnavailableError: They are not.
    """
    if not folder().is_dir():
        raise UnavailableError(f"the browsers' runtimes are not installed; add them with: {COMMAND}")
    return folder()


def install() -> Path:
    """Install the packages with npm (about 190 MB on disk), unless they are there.

    Returns:
        Their folder.

    Raises:
        UnavailableError: There is no npm.
        CheckError: npm fails.
    """
    modules = folder()
    if modules.is_dir():
        return modules
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableError("npm is not installed; install Node.js (on Debian: apt install npm), then do it again")
    with staged(modules) as stage:
        for name in _PINS:
            shutil.copy(_HERE / name, stage)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=stage, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise CheckError(f"npm could not install the browsers' runtimes: {_reason(done.stderr)}")
    return modules


def _reason(stderr: str) -> str:
    """The first line of npm's complaint that says something."""
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines() if line.startswith("npm error")]
    return next((line for line in lines if line and not line.startswith("code ")), "it gave no reason")
