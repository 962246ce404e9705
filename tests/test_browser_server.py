"""The server behind the browsers' page: what it hands out, to whom, and what it takes. No browser is needed."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from edgestyle.browser import chromium, measuring, packages
from edgestyle.browser.protocol import Job
from edgestyle.browser.server import Server, serving
from edgestyle.browser.tab import probe
from edgestyle.errors import CheckError, EdgestyleError, UnavailableError, UsageError

INFO = {
    "name": "Phone, Browser 1",
    "user_agent": "test",
    "cores": 8,
    "memory_gb": None,
    "secure": True,
    "isolated": True,
    "adapter": {"name": "maker model", "software": False},
    "webnn": False,
}
DONE = {"status": "done", "init_ms": 1.5, "first_ms": 3.0, "warmup_ms": [2.0], "samples_ms": [1.0, 1.25]}
TIMEOUT_S = 120
"""Longest answer: a busy machine is no failure."""
TENSOR = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder like npm's, with a secret beside what may be had."""
    modules = tmp_path / "cache" / "node_modules"
    for name in ("onnxruntime-web/dist/ort.mjs", "@litertjs/core/wasm/litert.wasm", "left-pad/index.js"):
        (modules / name).parent.mkdir(parents=True)
        (modules / name).write_text(name)
    (modules / "onnxruntime-web" / "README.md").write_text("not for browsers")
    (tmp_path / "cache" / "secret.js").write_text("secret")
    (modules / "onnxruntime-web" / "link.js").symlink_to(tmp_path / "cache" / "secret.js")
    return modules


@pytest.fixture
def server(modules: Path, tmp_path: Path) -> Iterator[Server]:
    model = tmp_path / "net 1.onnx"
    model.write_bytes(b"a model")
    with serving(modules) as server:
        server.offer(*(Job(model, "onnxruntime-web", delegate, TENSOR, "time") for delegate in ("wasm", "webgpu")))
        server.close()
        yield server


class Reply:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(server: Server, path: str, method: str = "GET", body: Any = None, token: str = "", **headers: str) -> Reply:
    """Send `path`, below the page, as it is: a client that is up to something does not tidy it either."""
    url = urlsplit(server.url)
    assert url.hostname
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=TIMEOUT_S)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method, url.path + path, content, {"Authorization": f"Bearer {token}", **headers})
        return Reply(connection.getresponse())
    finally:
        connection.close()


def join(server: Server, name: str = "Phone") -> str:
    token: str = json.loads(ask(server, "api/devices", "POST", {**INFO, "name": name}).body)["token"]
    return token


# What it hands out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html; charset=utf-8"),
        ("?start", "text/html; charset=utf-8"),
        ("main.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("npm/onnxruntime-web/dist/ort.mjs", "text/javascript; charset=utf-8"),
        ("npm/@litertjs/core/wasm/litert.wasm", "application/wasm"),
        ("models/0/net%201.onnx", "application/octet-stream"),
        ("inputs/1", "application/octet-stream"),
    ],
)
def test_everything_has_its_type_and_the_headers_that_threads_need(server: Server, path: str, kind: str) -> None:
    reply = ask(server, path)
    assert (reply.status, reply.headers["Content-Type"]) == (200, kind)
    assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert reply.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert len(reply.body) == int(reply.headers["Content-Length"]) > 0


def test_models_and_inputs_come_as_they_are(server: Server) -> None:
    assert ask(server, "models/0/net%201.onnx").body == b"a model"
    assert ask(server, "inputs/0").body == TENSOR.tobytes()


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fpyproject.toml",
        "%2e%2e/server.py",
        "../package.json",
        "/etc/passwd",
        "npm/onnxruntime-web/../../secret.js",
        "npm/onnxruntime-web/..%2f..%2fsecret.js",
        "npm/onnxruntime-web//etc/passwd",
        "npm/onnxruntime-web/link.js",
        "npm/onnxruntime-web/README.md",
        "npm/onnxruntime-web/dist",
        "npm/left-pad/index.js",
        "npm/",
        "main.js%00.html",
        "models/0/secret.js",
        "models/0/..%2f..%2fsecret.js",
        "models/2/net%201.onnx",
        "models/-1/net%201.onnx",
        "models/9999999999999999999/net%201.onnx",
        "inputs/x",
        "api/",
        "api/nothing",
        "x" * 5000,
    ],
)
def test_nothing_else_can_be_had(server: Server, path: str) -> None:
    reply = ask(server, path)
    assert reply.status == 404
    assert reply.body in (b"nothing is here\n", b"there is no such job\n")


@pytest.mark.parametrize("path", ["/", "/main.js", "/wrong/", "//", "/../", ""])
def test_nothing_is_told_without_the_key(server: Server, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=TIMEOUT_S)
    for method in ("GET", "POST"):
        connection.request(method, path)
        reply = Reply(connection.getresponse())
        connection.close()
        assert (reply.status, reply.body) == (404, b"nothing is here\n")


def test_it_listens_to_this_machine_alone_unless_told(server: Server) -> None:
    assert urlsplit(server.url).scheme == "http"
    assert urlsplit(server.url).hostname == "127.0.0.1"


def test_a_port_in_use_is_named(server: Server, modules: Path) -> None:
    port = urlsplit(server.url).port
    assert port
    with (
        pytest.raises(UsageError, match=f"port {port} is in use; choose another one, or 0"),
        serving(modules, port=port),
    ):
        pytest.fail("two servers share a port")


def test_to_the_local_network_it_speaks_https(modules: Path) -> None:
    try:
        with serving(modules, lan=True) as server:
            url = urlsplit(server.url)
            assert (url.scheme, url.hostname == "127.0.0.1") == ("https", False)
            context = ssl.create_default_context(cadata=ssl.get_server_certificate((url.hostname or "", url.port or 0)))
            connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=TIMEOUT_S, context=context)
            connection.request("GET", url.path)
            assert connection.getresponse().status == 200
            connection.close()
            plain = http.client.HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT_S)
            plain.request("GET", url.path)
            with pytest.raises((http.client.BadStatusLine, ConnectionError)):
                plain.getresponse()
            plain.close()
    except UnavailableError as error:
        pytest.skip(str(error))


# What it takes -------------------------------------------------------------------------------------------------------


def test_a_device_joins_gets_its_jobs_and_posts_their_results(server: Server) -> None:
    token = join(server)
    device = server.devices[token]
    assert (device.info.name, device.info.cores) == ("Phone", 8)
    assert device.info.adapter
    assert device.info.adapter.name == "maker model"

    url = urlsplit(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=TIMEOUT_S)
    connection.request("GET", f"{url.path}api/jobs?token={token}")
    stream = connection.getresponse()
    assert stream.headers["Content-Type"] == "text/event-stream"
    lines = [stream.readline().decode().strip() for _ in range(7)]
    jobs = [json.loads(line.removeprefix("data: ")) for line in (lines[1], lines[4])]
    assert [(job["id"], job["delegate"], job["input"]["dims"]) for job in jobs] == [
        (0, "wasm", [1, 3, 2, 2]),
        (1, "webgpu", [1, 3, 2, 2]),
    ]
    assert lines[6] == "event: end"
    assert device.connections == 1

    assert ask(server, "api/outputs/0", "POST", TENSOR.tobytes(), token).status == 204
    assert ask(server, "api/results/0", "POST", DONE, token).status == 204
    assert device.outputs[0] == TENSOR.tobytes()
    assert device.results[0].samples_ms == (1.0, 1.25)
    stream.close()
    connection.close()
    assert server.wait(lambda: device.left_at is not None, TIMEOUT_S)


def test_after_a_break_only_what_is_new_is_sent(server: Server) -> None:
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=TIMEOUT_S)
    connection.request("GET", f"{url.path}api/jobs?token={join(server)}", headers={"Last-Event-ID": "0"})
    stream = connection.getresponse()
    assert stream.readline() == b"id: 1\n"
    stream.close()
    connection.close()


def test_a_result_is_taken_once(server: Server) -> None:
    token = join(server)
    assert ask(server, "api/results/1", "POST", DONE, token).status == 204
    again = ask(server, "api/results/1", "POST", {**DONE, "samples_ms": [9.0]}, token)
    assert (again.status, again.text) == (409, "this has been posted before\n")
    assert server.devices[token].results[1].samples_ms == (1.0, 1.25)


def test_each_device_has_its_own_token_which_ends_with_its_work(server: Server) -> None:
    first, second = join(server, "first"), join(server, "second")
    assert first != second
    assert ask(server, "api/results/0", "POST", DONE, first).status == 204
    assert ask(server, "api/done", "POST", b"", first).status == 204
    for path in ("api/results/1", "api/outputs/1", "api/done"):
        refused = ask(server, path, "POST", DONE, first)
        assert (refused.status, "reload the page" in refused.text) == (403, True)
    assert ask(server, f"api/jobs?token={first}").status == 403
    assert ask(server, "api/results/0", "POST", DONE, second).status == 204


@pytest.mark.parametrize("token", ["", "guess", "é"])
def test_without_a_token_nothing_is_taken(server: Server, token: str) -> None:
    join(server)
    assert ask(server, "api/results/0", "POST", DONE, Authorization=token).status == 403
    assert ask(server, "api/outputs/0", "POST", b"abc").status == 403
    assert ask(server, "api/jobs").status == 403
    assert not any(device.results for device in server.devices.values())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        ({}, "status: Field required"),
        ({**DONE, "status": "splendid"}, "status: Input should be"),
        ({**DONE, "samples_ms": ["fast"]}, "samples_ms.0: Input should be a valid number"),
        ({**DONE, "samples_ms": [-1]}, "samples_ms.0: Input should be greater than or equal to 0"),
        (b'{"status": "done", "first_ms": NaN}', "first_ms"),
        ({**DONE, "extra": 1}, "extra: Extra inputs are not permitted"),
    ],
)
def test_a_bad_post_is_refused_and_the_next_good_one_is_taken(server: Server, body: Any, reason: str) -> None:
    token = join(server)
    refused = ask(server, "api/results/0", "POST", body, token)
    assert refused.status == 400
    assert refused.text.startswith("this is not a Result: ")
    assert reason in refused.text
    assert ask(server, "api/results/0", "POST", DONE, token).status == 204


def test_a_post_says_how_long_it_is_and_is_not_too_long(server: Server) -> None:
    token = join(server)
    assert ask(server, "api/results/0", "POST", None, token, **{"Content-Length": "x"}).status == 411
    assert ask(server, "api/results/0", "POST", None, token, **{"Content-Length": str(2**30)}).status == 413
    assert ask(server, "api/outputs/0", "POST", None, token, **{"Content-Length": str(2**40)}).status == 413
    assert ask(server, "api/devices", "POST", None, **{"Content-Length": str(2**21)}).status == 413
    assert ask(server, "api/devices", "POST", {**INFO, "name": "x" * 2000}).status == 400
    assert ask(server, "api/results/7", "POST", DONE, token).status == 404
    assert ask(server, "api/elsewhere", "POST", DONE, token).status == 404
    assert ask(server, "", "DELETE").status == 501


def test_a_device_that_leaves_in_the_middle_is_told_of(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "_GRACE_S", 0)
    token = join(server)
    device = server.devices[token]
    ask(server, "api/results/0", "POST", {**DONE, "status": "partial", "error": "the page was left"}, token)
    device.left_at = 0
    told: list[measuring.Measurement] = []
    found = measuring._collect(server, 1, 10, told.append)
    assert [(m.delegate, m.status, m.reason) for m in found] == [
        ("onnxruntime-web-wasm", "failed", "the page was left"),
        ("onnxruntime-web-webgpu", "could not run", "the device left, or time was up, before it came to this"),
    ]
    assert found[0].samples_ms == (1.0, 1.25)
    assert told == found


def test_nobody_comes(server: Server) -> None:
    with pytest.raises(CheckError, match=r"no device opened http://127\.0\.0\.1:.* within 0 s"):
        measuring._collect(server, 1, 0, None)


def test_a_file_for_no_browser_is_refused(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "folder", lambda: modules)
    with pytest.raises(UsageError, match=r"a\.mlpackage cannot run in a browser; \.onnx and \.tflite files can"):
        measuring.measure([Path("a.mlpackage")])


# What must be installed ----------------------------------------------------------------------------------------------


def test_the_lock_pins_every_package_and_names_no_registry() -> None:
    lock = Path(packages.__file__).with_name("package-lock.json").read_text()
    found = json.loads(lock)["packages"]
    assert {"node_modules/onnxruntime-web", "node_modules/@litertjs/core"} <= set(found)
    assert all(package.get("integrity") for name, package in found.items() if name)
    assert "resolved" not in lock
    assert "://" not in lock


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a PATH with nothing but `bin` beside it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "cache"


def fake_npm(cache: Path, script: str) -> None:
    npm = cache.parent / "bin" / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)


def test_npm_installs_the_pinned_packages_once(cache: Path) -> None:
    fake_npm(
        cache, '[ "$1" = ci ] && [ -f package-lock.json ] && /bin/mkdir node_modules && echo x >> ../../../../count'
    )
    assert packages.install() == packages.install() == packages.folder()
    assert packages.folder().is_relative_to(cache)
    assert packages.folder().is_dir()
    assert (cache.parent / "count").read_text() == "x\n"


def test_npm_fails_in_one_line_and_leaves_nothing(cache: Path) -> None:
    fake_npm(cache, "/bin/mkdir node_modules; echo 'npm error code E1\nnpm error no network' >&2; exit 1")
    with pytest.raises(CheckError, match="npm could not install the browsers' runtimes: no network"):
        packages.install()
    assert not [path for path in cache.rglob("*") if path.is_file() or path.name == "node_modules"]


def test_what_is_missing_is_said_with_what_adds_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "_MACOS", cache / "none")
    with pytest.raises(UnavailableError, match=r"npm is not installed; install Node\.js"):
        packages.install()
    with pytest.raises(UnavailableError, match="edgestyle doctor --install browser"):
        packages.installed()
    assert probe("onnx", "json").install == "edgestyle doctor --install browser"
    packages.folder().mkdir(parents=True)
    assert probe("onnx", "json").install == "apt install chromium"
    with (
        pytest.raises(EdgestyleError, match="neither Chromium nor Chrome is installed"),
        chromium.opened("about:blank"),
    ):
        pytest.fail("no browser was opened")


def test_the_code_for_phones_is_square() -> None:
    pytest.importorskip("segno")
    lines = measuring.qr("https://192.0.2.7:41234/abcdefghijkl/").splitlines()
    plain = [line.split("m", 1)[-1].removesuffix("\x1b[0m") for line in lines]
    assert len({len(line) for line in plain}) == 1
    assert len(plain) >= 15
