"""The wheel holds what the tree holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = {
    "edgestyle": "edgestyle",
    "export": "edgestyle/export",
    "quantize": "edgestyle/quantize",
    "models": "edgestyle/models",
    "demo_apps": "edgestyle/demo_apps",
}
"""Folder of the tree -> where it stands in the wheel."""
NETWORK = ("weights.safetensors", "config.json", "card.md", "measured.json")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with one more network in its zoo. Building leaves files behind, so not in the real one."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for folder in PLACES:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    (tree / "models" / "probe").mkdir()
    for name in NETWORK:
        (tree / "models" / "probe" / name).write_text("probe")
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-cache-dir", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", str(out), str(tree)], check=True)
    (path,) = out.glob("edgestyle-*.whl")
    return zipfile.ZipFile(path)


def test_every_file_of_the_packages_is_in_the_wheel_and_no_other(tree: Path, wheel: zipfile.ZipFile) -> None:
    expected = {
        f"{place}/{path.relative_to(tree / folder).as_posix()}"
        for folder, place in PLACES.items()
        for path in (tree / folder).rglob("*")
        if path.is_file()
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert "edgestyle/py.typed" in found
    assert {f"edgestyle/models/probe/{name}" for name in NETWORK} <= found


def test_the_wheel_carries_its_licence_and_its_commands(wheel: zipfile.ZipFile) -> None:
    about = {
        name.split(".dist-info/")[1]: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name
    }
    assert about["licenses/LICENSE"] == (ROOT / "LICENSE").read_text()
    assert "edgestyle = edgestyle.cli:main" in about["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in about["METADATA"]
