"""Finding exported files, and refusing those that are not what their manifest says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgestyle import artifacts, exporting, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import ConfigError, UsageError


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A folder with networks of all kinds, and what lies beside them."""
    for name in ("a.onnx", "a.onnx.json", "a-golden-input.png", "deep/b.tflite", ".hidden/c.onnx", ".d.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "e.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "e.mlpackage" / "Data" / "model.onnx").touch()
    return tmp_path


def test_networks_are_found_in_folders_by_globs_and_by_name(build: Path) -> None:
    names = [path.relative_to(build).as_posix() for path in artifacts.find([build])]
    assert names == ["a.onnx", "deep/b.tflite", "e.mlpackage"]
    assert artifacts.find([f"{build}/**/*.tflite", build / "e.mlpackage"]) == [
        build / "deep" / "b.tflite",
        build / "e.mlpackage",
    ]
    assert artifacts.find([build / "a.onnx", build / "deep" / ".." / "a.onnx"]) == [build / "a.onnx"]
    assert artifacts.find([f"{build}/a*"]) == [build / "a.onnx"]  # what else matches is no network


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("missing.onnx", r"there is no .*missing.onnx; 'edgestyle export' writes"),
        ("*.tflite", r"no file matches .*\*.tflite"),
        ("a.onnx.json", r"a.onnx.json is not an exported network; these can be run: .*\.onnx"),
        ("*.png", r"png holds no exported network"),
        ("empty", r"empty holds no exported network; looked for .*\.tflite"),
    ],
)
def test_arguments_that_lead_to_nothing_are_refused(build: Path, argument: str, message: str) -> None:
    (build / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        artifacts.find([str(build / argument)])


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript")
    target = registry.load(registry.TARGETS, "onnx")
    return exporting.export(tiny_checkpoint, target, (64, 64), tmp_path_factory.mktemp("build")).path


def copy(exported: Path, folder: Path) -> Path:
    shutil.copytree(exported.parent, folder / "build")
    return folder / "build" / exported.name


def test_a_whole_file_has_its_manifest_and_a_foreign_one_has_none(exported: Path, tmp_path: Path) -> None:
    manifest = artifacts.examine(exported)
    assert manifest is not None
    assert manifest.file == exported.name
    alone = shutil.copy(exported, tmp_path / "alone.onnx")
    assert artifacts.examine(alone) is None


def test_a_file_that_was_cut_short_or_changed_is_refused(exported: Path, tmp_path: Path) -> None:
    path = copy(exported, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ConfigError, match=f"it has {len(content) - 100} bytes, not {len(content)}: it was cut short"):
        artifacts.examine(path)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match="its bytes were changed"):
        artifacts.examine(path)


def test_the_manifest_of_another_file_is_refused(exported: Path, tmp_path: Path) -> None:
    path = copy(exported, tmp_path)
    beside = path.with_name(path.name + ".json")
    other = {**json.loads(beside.read_text()), "file": "other.onnx", "sha256": "0" * 64}
    beside.write_text(json.dumps(other))
    with pytest.raises(ConfigError, match=r"that is of other\.onnx"):
        artifacts.examine(path)
    beside.write_text("{}")
    with pytest.raises(ConfigError, match="is not a manifest"):
        artifacts.examine(path)
