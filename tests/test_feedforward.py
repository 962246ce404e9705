"""The feed-forward network: its shapes, its deploy form, its input norm and its configuration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgestyle.errors import ConfigError
from edgestyle.feedforward import FeedForward, FeedForwardConfig, PictureNorm, deploy

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
    assert sum(parameter.numel() for parameter in FeedForward().parameters()) < 200_000


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
    assert kinds == {PictureNorm, nn.Conv2d, nn.Identity, nn.InstanceNorm2d, nn.PixelShuffle, nn.ReLU6}


def test_picture_norm_against_numbers_worked_by_hand() -> None:
    """Left half 0.2, right half 0.6, all channels: mean 0.4, variance 0.04."""
    x = torch.full((1, 3, 8, 16), 0.2)
    x[..., 8:] = 0.6
    expected = torch.where(x > 0.5, 0.2, -0.2) / (0.04 + PictureNorm.eps) ** 0.5
    torch.testing.assert_close(PictureNorm()(x), expected)


def test_picture_norm_takes_brightness_away_and_leaves_a_flat_picture_flat() -> None:
    norm, x = PictureNorm(), photo(16, 16)
    torch.testing.assert_close(norm(x + 0.25), norm(x), atol=1e-4, rtol=1e-4)
    assert norm(torch.full((1, 3, 16, 16), 0.7)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("field", "value"),
    [("width", 7), ("width", 257), ("trunk_width", 8.0), ("trunk_blocks", 0), ("blocks", -1), ("expansion", True)],
)
def test_impossible_configurations_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} is {value!r}; it must be a whole number from \d+ to \d+$"):
        FeedForwardConfig(**{field: value})


def test_norms_are_true_or_false() -> None:
    with pytest.raises(ConfigError, match="trunk_norms is 1; it must be true or false"):
        FeedForwardConfig(trunk_norms=1)  # type: ignore[arg-type]
