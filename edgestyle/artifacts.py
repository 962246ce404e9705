"""Exported files on disk: finding them, and making sure that each is the one that its manifest describes."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgestyle.errors import ConfigError, UsageError
from edgestyle.files import sha256, size_in_bytes
from edgestyle.manifest import Manifest, manifest_path, read_manifest
from edgestyle.runner import suffixes


def find(arguments: Iterable[str | Path]) -> list[Path]:
    """The exported networks that arguments stand for, each once, in the order of the arguments.

    A file is taken as it is named; of a folder all at any depth, sorted, hidden ones left out (an `.mlpackage` is one
    network, though a folder); a glob such as `build/*.onnx` is what it matches.

    Raises:
        UsageError: An argument leads to nothing, or to something that no runner opens.
    """
    known = suffixes()
    found: dict[Path, Path] = {}
    for argument in arguments:
        path, pattern = Path(argument), str(argument)
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207
        if not matches:
            what = f"no file matches {pattern}" if glob.has_magic(pattern) else f"there is no {pattern}"
            raise UsageError(f"{what}; 'edgestyle export' writes {', '.join(known)} files")
        if path in matches and path.is_file() and path.suffix not in known:
            raise UsageError(f"{path} is not an exported network; these can be run: {', '.join(known)}")
        networks = [network for match in matches for network in _below(match, known)]
        if not networks:
            raise UsageError(f"{pattern} holds no exported network; looked for {', '.join(known)}")
        for network in networks:
            found.setdefault(network.resolve(), network)
    return list(found.values())


def _below(path: Path, known: list[str]) -> Iterator[Path]:
    """The path itself if it is a network, else those in the folder."""
    if path.suffix in known:
        yield path
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith("."):
                yield from _below(entry, known)


def examine(path: Path) -> Manifest | None:
    """The manifest beside an exported file; None where there is none, as with somebody else's.

    Raises:
        ConfigError: The manifest is malformed, or the file is not the one that it describes.
    """
    manifest = read_manifest(path)
    if manifest is None or manifest.sha256 == sha256(path):
        return manifest
    name, size = manifest_path(path).name, size_in_bytes(path)
    if manifest.file != path.name:
        why = f"that is of {manifest.file}"
    elif size != manifest.bytes:
        why = f"it has {size} bytes, not {manifest.bytes}: it was cut short, or changed"
    else:
        why = "its bytes were changed"
    raise ConfigError(
        f"{path} is not the file that {name} beside it describes ({why}); export it again, or remove {name}"
    )
