"""A server for a folder of files, with the headers that browsers want before they give threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from edgestyle.browser import listening


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, and no lists of them."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    extensions_map = {  # noqa: RUF012  # as in the base class
        **SimpleHTTPRequestHandler.extensions_map,
        **listening.TYPES,
        ".webmanifest": "application/manifest+json",
    }

    def end_headers(self) -> None:
        for name, value in listening.HEADERS.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")  # the page's own service worker keeps files, by their hashes
        super().end_headers()

    def list_directory(self, path: Any) -> None:  # noqa: ARG002
        self.send_error(404, "nothing is here")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the terminal is the command's."""


@contextmanager
def serving(folder: Path, lan: bool = False, port: int = 0) -> Iterator[str]:
    """Serve a folder until the block ends; see `listening.at`.

    Yields:
        The URL of its `index.html`.

    Raises:
        UsageError: The port is in use.
        UnavailableError: There is no network, or no `openssl` to make a certificate.
    """
    handler = partial(_Handler, directory=str(folder))
    with (
        listening.at(listening.Listener, handler, lan=lan, port=port) as (listener, address),
        listening.answering(listener),
    ):
        yield f"{address}/"
