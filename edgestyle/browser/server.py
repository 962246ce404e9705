"""The server behind the page: it hands out files and jobs, and takes results.

Everything lies under a random key in the URL (`http://127.0.0.1:8741/KEY/`), and without it nothing is told:

    GET  ./                    the page; its parts beside it
    GET  npm/...               the runtimes
    GET  models/I/NAME         the model file of job I
    GET  inputs/I              the input tensor of job I, raw
    POST api/devices           a device joins and describes itself -> {"token": T}, for this session alone
    GET  api/jobs?token=T      the jobs as they come (server-sent events); open as long as the device is there
    POST api/outputs/I         the output tensor of job I, raw                    (Authorization: Bearer T)
    POST api/results/I         the result of job I, once                          (Authorization: Bearer T)
    POST api/done              the device has finished; its token is worth nothing any more
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import ValidationError

from edgestyle.browser import listening
from edgestyle.browser.protocol import DeviceInfo, Job, Message, Result
from edgestyle.manifest import first_error

_M = TypeVar("_M", bound=Message)

_PAGE = Path(__file__).parent / "page"
_PACKAGES = ("onnxruntime-web", "@litertjs")
_BYTES = "application/octet-stream"
_HEADERS = {
    **listening.HEADERS,
    "Referrer-Policy": "no-referrer",  # the URL is the key
    "Cache-Control": "no-store",
}
_MAX_JSON = 2**20
_MAX_OUTPUT = 2**29
_PING_S = 1.0


@dataclass
class Device:
    """A browser that has joined."""

    info: DeviceInfo
    results: dict[int, Result] = field(default_factory=dict)
    outputs: dict[int, bytes] = field(default_factory=dict)
    connections: int = 0
    left_at: float | None = field(default_factory=time.monotonic)
    """Since when it has no connection, by the monotonic clock; None while there is one."""
    done: bool = False


class Server:
    """See the module. All but its addresses is guarded by `changed`, which is notified at every change."""

    def __init__(self, packages: Path, url: str, key: str) -> None:
        self.packages = packages.resolve()
        self.url = url
        """Of the page, the key in it."""
        self.key = key
        self.changed = threading.Condition()
        self.jobs: list[Job] = []
        self.closed = False
        """No further job will come."""
        self.stopped = False
        """The server has ended; who still listens is let go."""
        self.devices: dict[str, Device] = {}
        """By token."""

    def offer(self, *jobs: Job) -> int:
        """Add jobs for every device; the number of the first."""
        with self.changed:
            self.jobs += jobs
            self.changed.notify_all()
            return len(self.jobs) - len(jobs)

    def close(self) -> None:
        """No further job will come: devices that have done all are finished."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def stop(self) -> None:
        """Let go of all devices."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until `condition` holds, asked with the lock held, at every change and every second; whether it came."""
        end = time.monotonic() + seconds
        with self.changed:
            while not condition():
                rest = end - time.monotonic()
                if rest <= 0:
                    return False
                self.changed.wait(min(rest, _PING_S))
            return True


@contextmanager
def serving(packages: Path, *, lan: bool = False, port: int = 0) -> Iterator[Server]:
    """Serve until the block ends.

    Args:
        packages: The folder `node_modules`.
        lan: Listen to the local network too, by https with a certificate made for the occasion: browsers give
            WebGPU and threads to secure pages only. Without it, to this machine alone.
        port: Any free one if 0.

    Raises:
        UsageError: The port is in use.
        UnavailableError: There is no network, or no `openssl` to make a certificate.
    """
    with listening.at(_Listener, _Handler, lan=lan, port=port) as (listener, address):
        key = secrets.token_urlsafe(9)
        server = listener.state = Server(packages, f"{address}/{key}/", key)
        with listening.answering(listener):
            try:
                yield server
            finally:
                server.stop()


class _Listener(listening.Listener):
    state: Server


class _RefusalError(Exception):
    """A request that is answered with a status and a reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Listener

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the terminal is the command's."""

    @property
    def state(self) -> Server:
        return self.server.state

    def _answer(self, method: Callable[[list[str]], None]) -> None:
        try:
            parts = unquote(urlsplit(self.path).path).split("/")
            if not secrets.compare_digest(parts[1].encode() if len(parts) > 2 else b"", self.state.key.encode()):
                raise _RefusalError(HTTPStatus.NOT_FOUND, "nothing is here")
            method(parts[2:])
        except _RefusalError as refusal:
            self.close_connection = True  # what was not read of the body would be taken for the next request
            self._send(refusal.status, f"{refusal}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self._head(status, kind, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    # GET

    def _get(self, parts: list[str]) -> None:
        match parts:
            case [""]:
                self._send_file(_PAGE, ["index.html"])
            case ["npm", package, *rest] if package in _PACKAGES:
                self._send_file(self.state.packages, [package, *rest])
            case ["models", number, name] if name == self._job(number).file.name:
                self._send(HTTPStatus.OK, self._job(number).file.read_bytes(), _BYTES)
            case ["inputs", number]:
                self._send(HTTPStatus.OK, self._job(number).input.tobytes(), _BYTES)
            case ["api", "jobs"]:
                self._stream_jobs(self._device(parse_qs(urlsplit(self.path).query).get("token", [""])[0]))
            case _:
                self._send_file(_PAGE, parts)

    def _send_file(self, root: Path, parts: list[str]) -> None:
        """A file below `root`, and never any other, whatever the parts are."""
        try:
            path = root.joinpath(*parts).resolve()
            content = path.read_bytes() if path.is_relative_to(root) and path.suffix in listening.TYPES else None
        except (OSError, ValueError):  # it is not there, or no path at all
            content = None
        if content is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "nothing is here")
        self._send(HTTPStatus.OK, content, listening.TYPES[path.suffix])

    def _job(self, number: str) -> Job:
        jobs = self.state.jobs
        if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(jobs)):
            raise _RefusalError(HTTPStatus.NOT_FOUND, "there is no such job")
        return jobs[int(number)]

    def _stream_jobs(self, device: Device) -> None:
        """Send the jobs from the last that the device has had on, then each that comes."""
        last = self.headers.get("Last-Event-ID", "")
        sent = int(last) + 1 if last.isascii() and last.isdigit() else 0
        self.close_connection = True
        self._head(HTTPStatus.OK, "text/event-stream", {"Connection": "close"})
        self._connect(device, 1)
        try:
            while not (device.done or self.state.stopped):
                with self.state.changed:
                    news = [(i, job.describe(i)) for i, job in enumerate(self.state.jobs[sent:], sent)]
                    closed = self.state.closed
                events = [f"id: {i}\ndata: {json.dumps(job)}\n\n" for i, job in news]
                ending = 'event: end\ndata: ""\n\n' if closed else ": here\n\n"
                self.wfile.write(("".join(events) + ending).encode())
                sent += len(news)
                with self.state.changed:
                    if len(self.state.jobs) == sent and self.state.closed == closed and not self.state.stopped:
                        self.state.changed.wait(_PING_S)
        finally:
            self._connect(device, -1)

    def _connect(self, device: Device, change: int) -> None:
        with self.state.changed:
            device.connections += change
            device.left_at = None if device.connections else time.monotonic()
            self.state.changed.notify_all()

    # POST

    def _post(self, parts: list[str]) -> None:
        match parts:
            case ["api", "devices"]:
                token, device = secrets.token_urlsafe(16), Device(self._message(DeviceInfo))
                with self.state.changed:
                    self.state.devices[token] = device
                    self.state.changed.notify_all()
                self._send(HTTPStatus.CREATED, json.dumps({"token": token}).encode(), "application/json")
                return
            case ["api", "outputs", number]:
                self._job(number)
                self._record(self._bearer().outputs, int(number), self._body(_MAX_OUTPUT))
            case ["api", "results", number]:
                self._job(number)
                self._record(self._bearer().results, int(number), self._message(Result))
            case ["api", "done"]:
                device = self._bearer()
                self._body(0)
                with self.state.changed:
                    device.done = True
                    self.state.changed.notify_all()
            case _:
                raise _RefusalError(HTTPStatus.NOT_FOUND, "nothing is here")
        self._head(HTTPStatus.NO_CONTENT, "text/plain", {})

    def _record(self, records: dict[int, Any], number: int, value: object) -> None:
        with self.state.changed:
            if number in records:
                raise _RefusalError(HTTPStatus.CONFLICT, "this has been posted before")
            records[number] = value
            self.state.changed.notify_all()

    def _bearer(self) -> Device:
        return self._device(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _device(self, token: str) -> Device:
        device = self.state.devices.get(token)
        if device is None or device.done:
            raise _RefusalError(HTTPStatus.FORBIDDEN, "no device of that token is at work; reload the page")
        return device

    def _body(self, limit: int) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "the request does not say how long it is")
        if int(length) > limit:
            raise _RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {limit} bytes are taken")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "the request breaks off")
        return body

    def _message(self, kind: type[_M]) -> _M:
        try:
            return kind.model_validate_json(self._body(_MAX_JSON))
        except ValidationError as error:
            raise _RefusalError(
                HTTPStatus.BAD_REQUEST, f"this is not a {kind.__name__}: {first_error(error)}"
            ) from error
