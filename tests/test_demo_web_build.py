"""The built site that is committed is what its sources give."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[1] / "demo_apps" / "web"


def test_the_sources_give_the_site_that_is_committed(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; on Debian: apt install npm")
    copy = shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules", "site"))
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    fetched = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch the tools: {fetched.stderr.strip().splitlines()[-1:]}")
    for script in ("check", "build"):
        done = subprocess.run([npm, "run", "--silent", script], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def contents(site: Path) -> dict[str, bytes]:
        return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}

    assert contents(copy / "site") == contents(WEB / "site"), (
        "run 'npm run build' in demo_apps/web, and commit the site"
    )
