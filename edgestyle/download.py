"""Large files from the web: kept in one cache, checked by hash, and fetched on from where a download broke off."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from edgestyle.errors import CheckError, UnavailableError
from edgestyle.files import make_folder, sha256

CACHE = "EDGESTYLE_CACHE"
"""Environment variable that names another cache folder."""
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def cache_folder() -> Path:
    """Where downloads are kept: what EDGESTYLE_CACHE names, or `edgestyle` in the user's cache folder."""
    given = os.environ.get(CACHE)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgestyle"


def fetch(url: str, path: Path, digest: str, report: Callable[[int, int], None] = lambda *_: None) -> Path:
    """Download `url` to `path`. What came before the line broke is kept beside it, and asked for no second time.

    Args:
        url: Of an http or https server; one that knows ranges can be gone on with.
        path: Where the file appears, once it is whole and has the right hash.
        digest: Of the file, SHA-256 in hex, or its first digits.
        report: Called with bytes so far and in all (0 where the server does not say).

    Raises:
        UnavailableError: The server cannot be reached, or the line broke off.
        CheckError: What came is another file.
    """
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        _receive(url, part, report)
    except (urllib.error.URLError, OSError) as error:
        if not isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError):
            raise  # the disk's doing, not the network's
        reason = getattr(error, "reason", None) or error
        kept = f"{part.stat().st_size / 1e6:.0f} MB are kept, run it again to go on; " if part.exists() else ""
        raise UnavailableError(
            f"{url} cannot be fetched ({reason}); {kept}or put the file at {path} yourself"
        ) from error
    came = sha256(part)
    if not came.startswith(digest):
        part.unlink()
        raise CheckError(f"{url} gave a file with SHA-256 {came[:16]}..., not {digest}...; it was removed, try again")
    part.replace(path)
    return path


def _receive(url: str, part: Path, report: Callable[[int, int], None]) -> None:
    """Append to `part` what is missing of it; from the start where the server does not know ranges."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310  # a URL of ours
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is there
        raise
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            done = 0
        length = int(response.headers.get("Content-Length") or 0)
        total = done + length if length else 0
        with part.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
    if total and done < total:
        raise ConnectionError(f"the line broke off after {done} of {total} bytes")
