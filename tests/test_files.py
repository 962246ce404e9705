"""Files appear whole or not at all, and nothing that was there before is lost."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from edgestyle import files
from edgestyle.errors import UsageError


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_finished_file_takes_its_place_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    final = tmp_path / "new" / "folder" / "a.txt"
    with files.staged(final) as folder:
        assert folder.parent == final.parent
        (folder / "a.txt").write_text("new")
        assert not final.exists()
    assert contents(tmp_path) == {"new/folder/a.txt": "new"}
    assert list(final.parent.iterdir()) == [final]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, OSError])
def test_an_error_in_the_middle_leaves_nothing_and_keeps_the_old(tmp_path: Path, error: type[BaseException]) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(error), files.staged(final) as folder:  # noqa: PT012  # the error must come from the block
        (folder / "a.txt").write_text("half")
        raise error
    assert contents(tmp_path) == {"a.txt": "old"}
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    final = tmp_path / "a.txt"
    final.write_text("old")
    with files.staged(final) as folder:
        (folder / "a.txt").write_text("new")
    assert contents(tmp_path) == {"a.txt": "new"}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    final = tmp_path / "net.mlpackage"
    final.mkdir()
    (final / "old.txt").write_text("old")
    with files.staged(final) as folder:
        (folder / final.name).mkdir()
        (folder / final.name / "new.txt").write_text("new")
    assert contents(tmp_path) == {"net.mlpackage/new.txt": "new"}
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_old_folder_comes_back_if_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    final, ready = tmp_path / "net", tmp_path / "ready"
    final.mkdir()
    (final / "old.txt").write_text("old")
    ready.mkdir()
    rename = os.replace

    def fails_for_the_new_one(source: Any, target: Any) -> None:
        if Path(source) == ready:
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "replace", fails_for_the_new_one)
    with pytest.raises(error):
        files.publish(ready, final)
    assert contents(tmp_path) == {"net/old.txt": "old"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net", "ready"]


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file; an output folder is needed"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(UsageError, match=r"cannot make the folder .*file/inner: Not a directory; choose another"):
        files.make_folder(tmp_path / "file" / "inner")


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**kwargs: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    refusal = pytest.raises(UsageError, match=r"cannot write to .*: Permission denied; choose another folder")
    with refusal, files.staged(tmp_path / "a.txt"):
        pytest.fail("it must not come so far")


def test_hash_of_a_file_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hash_of_a_folder_is_that_of_its_names_and_contents(tmp_path: Path) -> None:
    package = tmp_path / "p"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "b").write_bytes(b"B")
    (package / "a").write_bytes(b"A")
    digest = hashlib.sha256()
    for name, content in (("a", b"A"), ("inner/b", b"B")):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    assert files.sha256(package) == digest.hexdigest()

    (package / "inner" / "b").rename(package / "inner" / "c")
    assert files.sha256(package) != digest.hexdigest()


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "inner" / "b").write_bytes(bytes(5))
    assert files.size_in_bytes(tmp_path / "a") == 10
    assert files.size_in_bytes(tmp_path) == 15
