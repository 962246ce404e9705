"""A picture painted in tiles is the picture painted as a whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgestyle import tiles
from edgestyle.checkpoint import Checkpoint


class Modulated(nn.Module):
    """Everything that a style network may do with the whole picture, and two strides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.plain_norm = nn.InstanceNorm2d(8)
        self.sense = nn.Conv2d(8, 16, 1, stride=2)
        self.mix = nn.Linear(16, 8)
        self.up = nn.Conv2d(8, 3 * 64, 3, padding=1)
        self.shuffle = nn.PixelShuffle(8)
        with torch.no_grad():
            self.norm.weight.copy_(torch.linspace(0.5, 2, 8))
            self.norm.bias.copy_(torch.linspace(-1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - x.mean((2, 3), keepdim=True)) / (torch.mean(x, dim=(-2, -1), keepdim=True) + 1)
        y = self.plain_norm(self.norm(self.down(self.stem(x))))
        y = y * self.mix(self.sense(y).relu().mean((2, 3)))[:, :, None, None]
        painting: Tensor = self.shuffle(self.up(y)).sigmoid()
        return painting


@pytest.fixture
def modulated() -> nn.Module:
    torch.manual_seed(0)
    return Modulated().eval()


@pytest.mark.parametrize("size", [(192, 128), (136, 248), (48, 48)])
def test_tiles_change_nothing(modulated: nn.Module, size: tuple[int, int]) -> None:
    photo = torch.rand(1, 3, *size) * torch.linspace(0, 1, size[1])
    with torch.inference_mode():
        whole = modulated(photo)
    assert torch.allclose(tiles.paint(modulated, photo, 40), whole, atol=1e-5)


def test_tiles_change_nothing_in_our_own_network(tiny_checkpoint: Checkpoint) -> None:
    net = tiny_checkpoint.network()
    photo = torch.rand(1, 3, 256, 200) * torch.linspace(0, 1, 200)
    with torch.inference_mode():
        assert torch.allclose(tiles.paint(net, photo, 64), net(photo), atol=1e-5)


def test_how_far_a_pixel_sees(modulated: nn.Module) -> None:
    halo, step = tiles.reach(modulated)
    assert step == 16  # of the strided 1x1 convolution at 1/8
    assert halo == 16  # 3 of the stem, 4 of the second, 8 of the last, rounded up to the step


def test_tiles_cover_the_picture_once() -> None:
    painted = torch.zeros(50, 70)
    for tile in tiles.tiles((50, 70), 32, 8):
        painted[tile.core] += 1
        rows, columns = tiles.inside(tile)
        seen = torch.arange(50)[tile.seen[0]][rows], torch.arange(70)[tile.seen[1]][columns]
        assert torch.equal(seen[0], torch.arange(50)[tile.core[0]])
        assert torch.equal(seen[1], torch.arange(70)[tile.core[1]])
    assert torch.equal(painted, torch.ones(50, 70))
