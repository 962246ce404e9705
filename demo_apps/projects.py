"""What all apps share: copying an app's source, and putting an exported file with all that belongs to it into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgestyle.errors import ConfigError, UsageError
from edgestyle.manifest import Manifest, manifest_path, read_manifest

_BUILT = ("build", ".gradle", ".idea", "local.properties", "xcuserdata", ".DS_Store")
"""What Android Studio and Xcode leave in a project that was opened."""


def copy_app(source: Path, folder: Path) -> None:
    """Copy an app's source into an empty folder, without what was built there."""
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_BUILT))


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


def add_filter(file: Path, models: Path, golden: Path) -> None:
    """`add_model` for apps that call networks with one input, a photo.

    Raises:
        UsageError: The network takes its style as a second input.
        ConfigError: Something that belongs to the file is missing.
    """
    if not add_model(file, models, golden).contract.styles:
        raise UsageError(f"{file} takes any painting as its style; this app runs networks that have learned theirs")


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_dir():  # a Core ML package
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; export it again") from error
