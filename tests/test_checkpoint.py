"""Checkpoints: what is right is read back exactly, what is wrong is refused in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgestyle import checkpoint
from edgestyle.checkpoint import CONFIG, WEIGHTS, Checkpoint
from edgestyle.errors import ConfigError, UnknownNameError, UsageError
from edgestyle.files import sha256


@pytest.fixture
def copy(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint that a test may damage."""
    return Path(shutil.copytree(tiny_checkpoint.folder, tmp_path / "copy"))


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


def test_a_checkpoint_is_read_back_exactly(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    net = tiny_checkpoint.network()
    again = checkpoint.write(tmp_path / "again", tiny_checkpoint.config, net)
    assert again.config == tiny_checkpoint.config
    assert again.sha256() == tiny_checkpoint.sha256() == sha256(tiny_checkpoint.weights)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    photo = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(photo), again.network()(photo))


def test_shapes_come_from_the_header(tiny_checkpoint: Checkpoint) -> None:
    expected = {name: tuple(value.shape) for name, value in load_file(tiny_checkpoint.weights).items()}
    assert tiny_checkpoint.parameter_shapes() == expected


@pytest.mark.parametrize("part", ["", WEIGHTS])
def test_found_by_folder_and_by_its_weights_file(tiny_checkpoint: Checkpoint, part: str) -> None:
    assert checkpoint.find(str(tiny_checkpoint.folder / part)) == tiny_checkpoint


def test_found_by_name_in_a_zoo(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "load_all", lambda group: [lambda: tiny_checkpoint.folder.parent])
    assert checkpoint.find("tiny") == tiny_checkpoint
    assert checkpoint.zoo() == [tiny_checkpoint]
    with pytest.raises(UnknownNameError, match=r"^unknown model 'tinny'; did you mean tiny\?$"):
        checkpoint.find("tinny")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_folder_without_one_of_its_files_is_no_checkpoint(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ConfigError, match=f"copy is not a checkpoint: it has no {name}$"):
        checkpoint.find(str(copy))


def test_weights_without_configuration_are_refused_with_what_to_do(copy: Path) -> None:
    lone = (copy / WEIGHTS).rename(copy.parent / "lone.safetensors")
    with pytest.raises(UsageError, match=f"lone.safetensors has no {CONFIG} beside it; name the folder"):
        checkpoint.find(str(lone))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"family": "gan"}, "family: Input should be 'feedforward'"),
        ({"styles": [{"name": "a"}]}, r"styles.0.title: Field required"),
        ({"licence": None}, "licence: Input should be a valid string"),
        ({"name": ""}, "name: String should match pattern"),
        ({"name": "../elsewhere"}, "name: String should match pattern"),
    ],
)
def test_a_malformed_configuration_is_refused(copy: Path, changes: dict[str, Any], message: str) -> None:
    change_config(copy, **changes)
    with pytest.raises(ConfigError, match=f"{CONFIG} is malformed: {message}"):
        checkpoint.read(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "no json"])
def test_a_configuration_that_is_no_json_object_is_refused(copy: Path, text: str) -> None:
    (copy / CONFIG).write_text(text)
    with pytest.raises(ConfigError, match=f"{CONFIG} is malformed: it: "):
        checkpoint.read(copy)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"widht": 8}, "unexpected keyword argument 'widht'"),
        ({"width": 4}, f"{CONFIG}: network: width is 4; it must be a whole number from 8 to 256"),
        ({"width": "8"}, "width is '8'; it must be"),
    ],
)
def test_an_impossible_network_is_refused(copy: Path, network: dict[str, Any], message: str) -> None:
    change_config(copy, network=network)
    with pytest.raises(ConfigError, match=message):
        checkpoint.read(copy).network()


def test_weights_of_another_network_are_refused(copy: Path) -> None:
    change_config(copy, network={"width": 16, "trunk_width": 8, "trunk_blocks": 1})
    with pytest.raises(ConfigError, match=r"does not fit its config.json: .* is \(.*\), must be \(.*\)"):
        checkpoint.read(copy).network()


def test_missing_and_unknown_weights_are_named(copy: Path) -> None:
    weights = load_file(copy / WEIGHTS)
    weights["stray"] = weights.pop("up.weight")
    save_file(weights, copy / WEIGHTS)
    expected = r"it lacks up.weight \(1 in all\) and has unknown stray \(1 in all\)$"
    with pytest.raises(ConfigError, match=expected):
        checkpoint.read(copy).network()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, None])
def test_weights_that_are_no_finite_floats_are_refused(copy: Path, value: float | None) -> None:
    weights = load_file(copy / WEIGHTS)
    if value is None:
        weights["up.bias"] = weights["up.bias"].to(torch.int8)
    else:
        weights["up.bias"][0] = value
    save_file(weights, copy / WEIGHTS)
    with pytest.raises(ConfigError, match=f"{WEIGHTS} cannot be used: up.bias must be of finite floating-point"):
        checkpoint.read(copy).network()


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_never_opened(copy: Path, protocol: int) -> None:
    (copy / WEIGHTS).write_bytes(pickle.dumps({"up.weight": [1.0]}, protocol))
    with pytest.raises(ConfigError, match="but a pickle, which can run code and is never opened"):
        checkpoint.read(copy).network()


def test_a_file_of_torch_save_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "net.pt")
    with pytest.raises(ConfigError, match=r"net.pt is not a safetensors file but a pickle"):
        checkpoint.find(str(tmp_path / "net.pt"))


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, 0.99])
def test_truncated_weights_are_refused(copy: Path, keep: float) -> None:
    whole = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(ConfigError, match=WEIGHTS):
        checkpoint.read(copy).network()


@pytest.mark.parametrize("content", [b"just text, and long enough", bytes(100), b"\x02" + bytes(7) + b"[]" + bytes(9)])
def test_other_files_are_refused(copy: Path, content: bytes) -> None:
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(ConfigError, match="is not a safetensors file"):
        checkpoint.read(copy).network()


def test_writing_over_a_checkpoint_replaces_it(tiny_checkpoint: Checkpoint, copy: Path) -> None:
    (copy / WEIGHTS).write_bytes(b"broken")
    again = checkpoint.write(copy, tiny_checkpoint.config, tiny_checkpoint.network())
    assert again.sha256() == tiny_checkpoint.sha256()
    assert sorted(path.name for path in copy.iterdir()) == [CONFIG, WEIGHTS]
