"""What all apps share: copying an app's source, and putting an exported file with all that belongs to it into it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgestyle.errors import ConfigError, UsageError
from edgestyle.manifest import Manifest, manifest_path, read_manifest

_BUILT = ("build", ".gradle", ".idea", "local.properties", "xcuserdata", ".DS_Store")
"""What Android Studio and Xcode leave in a project that was opened."""


def write_app(folder: Path, files: Sequence[Path], source: Path, models: str, golden: str) -> None:
    """Write a phone's project into an empty folder, with exported files of networks with one input, a photo.

    Args:
        folder: The project to be.
        files: Exported files.
        source: The app's own source; what was built there stays behind.
        models: Folder in the project for files and manifests.
        golden: Folder in the project for what tests them.

    Raises:
        UsageError: A network takes its style as a second input.
        ConfigError: Something that belongs to a file is missing.
    """
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_BUILT))
    for file in files:
        if add_model(file, folder / models, folder / golden).contract.role != "filter":
            raise UsageError(
                f"{file} takes its style as a second input, which this app does not give; fold one in "
                "('edgestyle export --style' or 'edgestyle specialize')"
            )


def add_model(file: Path, models: Path, golden: Path) -> Manifest:
    """Copy an exported file and its manifest into the folder `models`, its golden bundle into `golden`.

    Raises:
        ConfigError: Something that belongs to the file is missing.
    """
    manifest = read_manifest(file)
    if manifest is None:
        raise ConfigError(f"{file} has no manifest beside it; export it again")
    _copy(file, models)
    _copy(manifest_path(file), models)
    for part in manifest.golden.files:
        _copy(file.with_name(part.name), golden)
    return manifest


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_dir():  # a Core ML package
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; export it again") from error
