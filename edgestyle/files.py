"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgestyle.errors import UsageError


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final`; when the block ends well, what it wrote there as `final.name` takes its place.

    The block writes `folder / final.name` (a file or a folder) into the folder that it is given. On any error, Ctrl-C
    included, the temporary folder is removed and whatever was at `final` before is still there.

    Raises:
        UsageError: The folder of `final` cannot be made or written to.
    """
    with staging(final.parent) as folder:
        yield folder
        publish(folder / final.name, final)


def write_text(final: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        UsageError: The folder of `final` cannot be made or written to.
    """
    with staged(final) as folder:
        (folder / final.name).write_text(text, encoding="utf-8")


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A temporary folder inside `parent` (made if need be), on the same disk, removed when the block ends."""
    make_folder(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=".edgestyle-", dir=parent))
    except OSError as error:
        raise UsageError(f"cannot write to {parent}: {error.strerror}; choose another folder") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(ready: Path, final: Path) -> None:
    """Move a finished file or folder to its final name in one step, replacing what was there.

    `ready` must be on the same disk, as inside `staging(final.parent)`.
    """
    if final.is_dir() and not final.is_symlink():
        old = Path(tempfile.mkdtemp(prefix=".edgestyle-old-", dir=final.parent)) / final.name
        final.replace(old)  # a folder cannot be replaced by rename; keep the old one until the new one stands
        try:
            ready.replace(final)
        except BaseException:
            old.replace(final)
            raise
        finally:
            shutil.rmtree(old.parent, ignore_errors=True)
    else:
        ready.replace(final)


def make_folder(path: Path) -> Path:
    """Make `path` a folder, parents included.

    Raises:
        UsageError: It is a file, or may not be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{path} is a file; an output folder is needed") from error
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {error.strerror}; choose another") from error
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files with their relative names in sorted order (a Core ML package)."""
    digest = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(part.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(sha256(part)))
    return digest.hexdigest()


def size_in_bytes(path: Path) -> int:
    """Bytes on disk of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
