"""Painting: the same picture whatever the size or the delegate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestyle import images, registry, stylize
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import CheckError, ConfigError, UnavailableError, UnknownNameError, UsageError
from edgestyle.feedforward import FeedForward
from edgestyle.runner import Availability, Image, Runner


def photo(height: int, width: int) -> Image:
    return images.resize(images.sample_photos()["coffee"], (height, width))


@pytest.fixture(scope="module")
def net(tiny_checkpoint: Checkpoint) -> FeedForward:
    return tiny_checkpoint.network()


# Checkpoints


def test_a_photo_that_would_not_fit_into_memory_is_refused(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stylize, "MOST_PIXELS", 64 * 64)
    painter = stylize.open_painter(str(tiny_checkpoint.folder))
    assert painter.paint(photo(64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(UsageError, match="--size"):
        painter.paint(photo(64, 65))


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (8, 8), (1, 50), (63, 65), (100, 72)])
def test_any_size_comes_back(tiny_checkpoint: Checkpoint, size: tuple[int, int]) -> None:
    painter = stylize.open_painter(str(tiny_checkpoint.folder))
    painted = painter.paint(photo(*size))
    assert painted.shape == (1, 3, *size)
    assert painted.dtype == np.float32
    assert 0 <= painted.min() <= painted.max() <= 1


def test_a_multiple_of_the_stride_is_what_the_network_makes(tiny_checkpoint: Checkpoint, net: FeedForward) -> None:
    x = photo(64, 48)
    painter = stylize.open_painter(str(tiny_checkpoint.weights))
    np.testing.assert_array_equal(painter.paint(x), net(torch.from_numpy(x)).numpy())
    assert (painter.name, painter.delegate, painter.size) == ("tiny", "torch", None)


def test_a_delegate_is_for_files_only(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match="--delegate onnxruntime-cpu is for exported files"):
        stylize.open_painter(str(tiny_checkpoint.folder), "onnxruntime-cpu")


def test_unknown_models_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'no_such_model'"):
        stylize.open_painter("no_such_model")
    with pytest.raises(UsageError, match=r"there is no .*gone\.onnx; 'edgestyle export' writes such files"):
        stylize.open_painter(str(tmp_path / "gone.onnx"))
    (tmp_path / "weights.pt").write_bytes(b"PK\3\4 a pickle inside")
    with pytest.raises(ConfigError, match="pickle"):
        stylize.open_painter(str(tmp_path / "weights.pt"))


# Exported files


class Recorder:
    """A session that keeps what it was given and paints its negative."""

    contract = None

    def __init__(self, size: tuple[int, int] | None) -> None:
        self.size = size
        self.given: list[Image] = []

    def run(self, image: Image) -> Image:
        self.given.append(image)
        return 1 - image


def painter_on(session: Recorder) -> stylize.FilePainter:
    return stylize.FilePainter(Path("somebody.onnx"), "recorder", session)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (48, 64), (90, 30), (200, 333)])
def test_a_file_of_fixed_size_gets_that_size(size: tuple[int, int]) -> None:
    session = Recorder((48, 64))
    painted = painter_on(session).paint(photo(*size))
    fitted, window = images.fit(photo(*size), (48, 64))
    assert [given.shape for given in session.given] == [(1, 3, 48, 64)]
    np.testing.assert_allclose(painted, 1 - window.crop(fitted), atol=1e-6)
    assert painted.shape[2] == 48 or painted.shape[3] == 64


def test_somebody_elses_file_of_free_size() -> None:
    session = Recorder(None)
    painter = painter_on(session)
    x = photo(33, 65)
    np.testing.assert_array_equal(painter.paint(x), 1 - x)
    assert session.given[0].shape == (1, 3, 64, 96)
    assert (painter.name, painter.delegate, painter.size) == ("somebody", "recorder", None)


def test_an_output_of_another_size_is_refused() -> None:
    class Doubler(Recorder):
        def run(self, image: Image) -> Image:
            return image.repeat(2, axis=2)

    with pytest.raises(CheckError, match=r"must keep the size"):
        painter_on(Doubler(None)).paint(photo(32, 32))


@pytest.fixture
def delegates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Runner]:
    """Three delegates for `.art` files, of which only the last works; and one for `.other`."""
    states = {
        "first": Availability("missing", "art is not installed", "pip install art"),
        "second": Availability("cannot run", "needs macOS"),
        "third": Availability("works"),
    }

    def make(name: str, suffix: str) -> Runner:
        state = states.get(name, Availability("works"))
        return Runner(name, name, "cpu", (suffix,), probe=lambda: state, open=lambda path: Recorder((16, 16)))

    found = {name: make(name, ".art") for name in states} | {"fourth": make("fourth", ".other")}
    monkeypatch.setattr(registry, "load_all", lambda group: list(found.values()))
    monkeypatch.setattr(registry, "load", lambda group, name: found[name])
    (tmp_path / "a.art").touch()
    return found


def test_the_first_delegate_that_works_is_taken(delegates: dict[str, Runner], tmp_path: Path) -> None:
    painter = stylize.open_painter(str(tmp_path / "a.art"))
    assert (painter.name, painter.delegate, painter.size) == ("a", "third", (16, 16))


def test_delegates_that_do_not_work_say_why(delegates: dict[str, Runner], tmp_path: Path) -> None:
    delegates["third"] = replace(delegates["third"], probe=delegates["second"].probe)
    reason = r"first: art is not installed \(pip install art\); second: needs macOS; third: needs macOS"
    with pytest.raises(UnavailableError, match=reason):
        stylize.open_painter(str(tmp_path / "a.art"))
    with pytest.raises(UnavailableError, match=r"cannot be run here: second: needs macOS$"):
        stylize.open_painter(str(tmp_path / "a.art"), "second")


def test_a_delegate_for_other_files_is_refused(delegates: dict[str, Runner], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fourth opens \.other; a\.art runs on: first, second, third"):
        stylize.open_painter(str(tmp_path / "a.art"), "fourth")


def test_an_unknown_delegate_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(UnknownNameError, match="unknown delegate 'onnxruntime-cpuu'; did you mean onnxruntime-cpu"):
        stylize.open_painter(str(tmp_path / "a.onnx"), "onnxruntime-cpuu")
