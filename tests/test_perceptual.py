"""Perceptual networks and their weights: files of each kind, and a download that breaks off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from edgestyle import download, perceptual
from edgestyle.errors import CheckError, ConfigError, UnavailableError
from edgestyle.perceptual import CHANNELS, NEEDED, VGG19, find_vgg_weights


def _random_weights(names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """VGG-19's layers with seeded random weights, every value of a layer's kernels the same: quick to make."""
    generator, state, before = torch.Generator().manual_seed(0), {}, 3
    for name in names:
        kernel = torch.randn(CHANNELS[name], 1, 1, 1, generator=generator) * (2 / before / 9) ** 0.5
        state[f"{name}.weight"] = kernel.expand(-1, before, 3, 3).contiguous()
        state[f"{name}.bias"] = torch.zeros(CHANNELS[name])
        before = CHANNELS[name]
    return state


@pytest.fixture(scope="module")
def caffe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg.npz"
    np.savez(path, **{key: value.numpy().astype(np.float16) for key, value in _random_weights(NEEDED).items()})
    return path


def test_vgg_gives_the_layers_that_were_asked_for(caffe: Path) -> None:
    vgg = VGG19(caffe)
    features = vgg(torch.rand(1, 3, 64, 48), ("relu1_1", "relu3_3"))
    assert {name: tuple(value.shape) for name, value in features.items()} == {
        "relu1_1": (1, 64, 64, 48),
        "relu3_3": (1, 256, 16, 12),
    }
    with pytest.raises(ConfigError, match=r"relu5_1.*up to relu3_4"):
        vgg(torch.rand(1, 3, 64, 64), ("relu5_1",))


def test_caffe_weights_take_bgr_minus_the_mean(caffe: Path, tmp_path: Path) -> None:
    with np.load(caffe) as stored:
        arrays = dict(stored)
    arrays["conv1_1.weight"] = np.zeros_like(arrays["conv1_1.weight"])
    arrays["conv1_1.weight"][0, 0, 1, 1] = 1  # its first channel repeats the first input channel: blue
    np.savez(tmp_path / "vgg.npz", **arrays)
    blue = torch.zeros(1, 3, 8, 8)
    blue[:, 2] = 1
    features = VGG19(tmp_path / "vgg.npz")(blue, ("relu1_1",))["relu1_1"]
    assert features[0, 0, 4, 4].item() == pytest.approx(255 - 103.939, rel=1e-3)


def test_missing_or_foreign_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESTYLE_DATA", str(tmp_path))
    with pytest.raises(UnavailableError, match="EDGESTYLE_DATA"):
        find_vgg_weights()
    with pytest.raises(UnavailableError, match="'student'"):
        perceptual.load(str(tmp_path / "none.npz"))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ConfigError, match="conv1_1"):
        VGG19(tmp_path / "other.npz")


def test_the_student_says_what_it_has_learned() -> None:
    with pytest.raises(ConfigError, match="has not learned relu4_2"):
        perceptual.load("student")(torch.rand(1, 3, 64, 64), ("relu4_2",))


# Torchvision's weights ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


class _Server:
    """Serves one file, with ranges; the first answer breaks off half-way."""

    def __init__(self, content: bytes, honest: bool = True) -> None:
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.asked.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                broken = len(server.asked) == 1 and honest
                self.wfile.write(content[start : start + (len(content) // 2 if broken else len(content))])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/weights.pth"


@contextmanager
def _serving(server: _Server) -> Iterator[_Server]:
    thread = Thread(target=server.http.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


def test_a_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(100_000)
    digest, told = hashlib.sha256(content).hexdigest(), []
    with _serving(_Server(content)) as server:
        with pytest.raises(UnavailableError, match="are kept"):
            download.fetch(server.url, tmp_path / "file", digest[:8])
        assert not (tmp_path / "file").exists()
        done = download.fetch(server.url, tmp_path / "file", digest[:8], lambda *counts: told.append(counts))
    assert done.read_bytes() == content
    assert server.asked == [None, "bytes=50000-"]
    assert told[-1] == (100_000, 100_000)


def test_another_file_than_expected_is_removed(tmp_path: Path) -> None:
    server = _Server(b"a page that says please log in", honest=False)
    with _serving(server), pytest.raises(CheckError, match="it was removed"):
        download.fetch(server.url, tmp_path / "file", "dcbb9e9d")
    assert list(tmp_path.iterdir()) == []


def test_offline_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESTYLE_CACHE", str(tmp_path))
    monkeypatch.setattr(perceptual, "TORCHVISION_URL", "http://127.0.0.1:9/vgg19.pth")  # nobody listens on "discard"
    with pytest.raises(UnavailableError, match=r"put the file at .*vgg19\.pth yourself"):
        perceptual.load("vgg19")


def test_torchvision_weights_are_fetched_once_and_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESTYLE_CACHE", str(tmp_path))
    monkeypatch.setattr(perceptual, "CHANNELS", dict.fromkeys(CHANNELS, 8))  # the real file has 575 MB
    ours = {
        f"{name}.{part}": torch.rand(8, 3 if name == "conv1_1" else 8, 3, 3) if part == "weight" else torch.rand(8)
        for name in CHANNELS
        for part in ("weight", "bias")
    }
    numbers = dict(zip(CHANNELS, (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), strict=True))
    theirs = {f"features.{numbers[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in ours.items()}
    torch.save({**theirs, "classifier.0.weight": torch.rand(4, 4)}, tmp_path / "theirs.pth")
    content = (tmp_path / "theirs.pth").read_bytes()
    monkeypatch.setattr(perceptual, "TORCHVISION_SHA256", hashlib.sha256(content).hexdigest()[:8])
    with _serving(_Server(content, honest=False)) as server:
        monkeypatch.setattr(perceptual, "TORCHVISION_URL", server.url)
        first, second = perceptual.load("vgg19"), perceptual.load("vgg19")
    assert len(server.asked) == 1
    for key, value in ours.items():
        assert torch.equal(first.convs.state_dict()[key], value)
    x = torch.rand(1, 3, 16, 16)
    by_hand = torch.nn.functional.conv2d(
        (x - torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        / torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1),
        ours["conv1_1.weight"],
        ours["conv1_1.bias"],
        padding=1,
    ).relu()
    torch.testing.assert_close(second(x, ("relu1_1",))["relu1_1"], by_hand)
    assert second(x, ("relu5_1",))["relu5_1"].shape == (1, 8, 1, 1)
