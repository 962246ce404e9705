"""The feed-forward network: its shapes, its deploy form, its code of the picture, its styles and its configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgestyle.errors import ConfigError
from edgestyle.feedforward import FeedForward, FeedForwardConfig, Film, PictureCode
from edgestyle.layers import Stem
from edgestyle.learned import deploy

TINY = FeedForwardConfig(width=8, trunk_width=16, trunk_blocks=1)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def photo(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width)


@pytest.mark.parametrize("shape", [(8, 16), (16, 40), (64, 24)])
@pytest.mark.parametrize(
    "config", [TINY, FeedForwardConfig(width=8, trunk_width=8, trunk_blocks=2, blocks=0, expansion=1)]
)
def test_a_photo_becomes_a_picture_of_its_size(shape: tuple[int, int], config: FeedForwardConfig) -> None:
    picture = FeedForward(config)(photo(*shape, batch=2))
    assert picture.shape == (2, 3, *shape)
    assert picture.min() >= 0
    assert picture.max() <= 1


def test_the_default_network_is_small() -> None:
    assert sum(parameter.numel() for parameter in FeedForward().parameters()) < 220_000


def test_pictures_of_a_batch_do_not_mix() -> None:
    net, batch = deploy(FeedForward(TINY)), photo(16, 16, batch=2)
    torch.testing.assert_close(net(batch), torch.cat([net(batch[:1]), net(batch[1:])]))


def test_the_deploy_form_gives_the_same_pictures() -> None:
    net, x = FeedForward(TINY).train(), photo(32, 48)
    assert torch.equal(deploy(net)(x), net(x))


def test_the_deploy_form_is_a_frozen_copy_in_the_default_layout() -> None:
    net = FeedForward(TINY).to(memory_format=torch.channels_last).train()
    deployed = deploy(net)
    assert not deployed.training
    assert not any(parameter.requires_grad for parameter in deployed.parameters())
    assert all(value.is_contiguous() for value in deployed.state_dict().values())
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not net.stem.weight.is_contiguous()


def test_the_deploy_form_holds_what_phones_take() -> None:
    kinds = {type(module) for module in deploy(FeedForward()).modules() if not list(module.children())}
    assert kinds == {Stem, nn.Conv2d, nn.PixelShuffle, nn.ReLU6}


def test_a_picture_code_against_numbers_worked_by_hand() -> None:
    """Means 1 and 3; 2 * 1 - 3 + 0.5 is negative, and 3 * 3 is past 6."""
    code, x = PictureCode(2, 3, styles=1), torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]]])
    with torch.no_grad():
        code.squeeze.weight.copy_(torch.tensor([[2.0, -1.0], [0.0, 3.0], [1.0, 1.0]])[:, :, None, None])
        code.squeeze.bias.copy_(torch.tensor([0.5, 0.0, 0.5]))
    assert code(x, None).flatten().tolist() == [0.0, 6.0, 4.5]


def test_film_begins_near_to_its_input() -> None:
    x, code = torch.randn(1, 8, 4, 4), 6 * torch.rand(1, 32, 1, 1)
    torch.testing.assert_close(Film(8, 32)(x, code), x, atol=0.5, rtol=0.5)


def test_the_picture_as_a_whole_reaches_every_corner() -> None:
    """The last corner of the picture changes when the first does, far beyond what convolutions see."""
    net, x = deploy(FeedForward(TINY)), photo(256, 256)
    other = x.clone()
    other[..., :8, :8] = 1
    assert not torch.equal(net(x)[..., -8:, -8:], net(other)[..., -8:, -8:])


# Configurations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("width", 7), ("width", 257), ("trunk_width", 8.0), ("trunk_blocks", 0), ("blocks", -1), ("expansion", True)],
)
def test_impossible_configurations_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} is {value!r}; it must be a whole number from \d+ to \d+$"):
        FeedForwardConfig(**{field: value})
