"""What the servers of pages share: where they listen, and what browsers need to be told for threads and WebGPU."""

from __future__ import annotations

import errno
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from edgestyle.errors import UnavailableError, UsageError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
"""Files that pages are made of, by suffix."""
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # with the next: threads and an exact clock
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer."""


class Listener(ThreadingHTTPServer):
    """A server that answers each connection in a thread of its own, which ends with the process."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a phone that went away, or that speaks http to https."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


_L = TypeVar("_L", bound=Listener)


@contextmanager
def at(
    kind: type[_L], handler: Callable[..., BaseHTTPRequestHandler], *, lan: bool = False, port: int = 0
) -> Iterator[tuple[_L, str]]:
    """A server that listens, and its address, such as `http://127.0.0.1:8741`; `answering` lets it answer.

    Args:
        kind: Class of the server.
        handler: What answers.
        lan: Listen to the local network too, by https with a certificate made for the occasion: browsers give
            WebGPU, threads and cameras to secure pages only. Without it, to this machine alone.
        port: Any free one if 0.

    Raises:
        UsageError: The port is in use.
        UnavailableError: There is no network, or no `openssl` to make a certificate.
    """
    host = _lan_address() if lan else "127.0.0.1"
    try:
        listener = kind(("0.0.0.0" if lan else host, port), handler)  # noqa: S104  # when told to
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        why = "is in use" if number == errno.EADDRINUSE else f"cannot be used: {getattr(error, 'strerror', error)}"
        raise UsageError(f"port {port} {why}; choose another one, or 0 for any that is free") from error
    with listener:
        if lan:
            # The handshake belongs into the thread of each connection, lest a silent phone holds up the others.
            listener.socket = _certified(host).wrap_socket(
                listener.socket, server_side=True, do_handshake_on_connect=False
            )
        yield listener, f"http{'s' if lan else ''}://{host}:{listener.server_address[1]}"


@contextmanager
def answering(listener: Listener) -> Iterator[None]:
    """Within, the server answers, in a thread."""
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown()
        thread.join()


def _lan_address() -> str:
    """This machine's address in the local network. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; the route to it is what matters
        except OSError as error:
            raise UnavailableError("this machine is in no network that a phone could reach; join one") from error
        address: str = probe.getsockname()[0]
        return address


def _certified(host: str) -> ssl.SSLContext:
    """A context with a fresh certificate for `host`, signed by nobody else."""
    with tempfile.TemporaryDirectory(prefix="edgestyle-") as name:
        key, certificate = Path(name) / "key.pem", Path(name) / "certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(key), "-out", str(certificate), "-days", "7", "-subj", "/CN=edgestyle"]
        command += ["-addext", f"subjectAltName=IP:{host}", "-addext", "extendedKeyUsage=serverAuth"]
        try:
            subprocess.run(command, capture_output=True, check=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            need = "openssl is needed for a page that phones can open securely"
            raise UnavailableError(f"{need}, and it cannot be run here ({error})") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context
