"""What the losses see of pictures: anywhere inside, how steady they are, and their lattices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from edgestyle.losses import LossConfig, PerceptualLoss
from edgestyle.perceptual import student
from edgestyle.training.loop import LOSS
from edgestyle.training.photos import Photos
from edgestyle.training.view import Seen, View, look

VIEW = View(crop=64, shift=24)


@pytest.fixture(scope="module")
def crops() -> Tensor:
    return Photos.samples(longest=128).crops(2, VIEW.side, (128, 128), torch.Generator().manual_seed(0))


def see(crops: Tensor, config: LossConfig = LOSS, added: Tensor | float = 0.0) -> tuple[Seen, list[Tensor]]:
    """What is seen of a network that gives back the photo and adds something of its own."""
    taken: list[Tensor] = []

    def paint(photos: Tensor) -> Tensor:
        taken.append(photos)
        return photos + added

    loss = PerceptualLoss(student(), torch.rand(1, 3, 64, 64), config)
    with torch.inference_mode():
        return look(paint, crops, None, loss, VIEW, torch.Generator().manual_seed(1)), taken


def test_the_network_sees_more_than_the_losses(crops: Tensor) -> None:
    seen, taken = see(crops)
    assert VIEW.seen == 88
    assert VIEW.side == 112
    assert [tuple(each.shape) for each in taken] == [(3, 3, 88, 88)]  # the first photo also moved
    torch.testing.assert_close(seen.photos, crops[..., :88, :88])
    torch.testing.assert_close(seen.pictures, seen.photos)
    assert seen.losses.content.tolist() == [0, 0]


@pytest.mark.parametrize(("crop", "context"), [(64, 12), (256, 8), (384, 4), (512, 0), (1024, 0)])
def test_a_crop_shows_as_much_border_as_a_picture_of_512(crop: int, context: int) -> None:
    """Of the outer 16 pixels, a share of about an eighth."""
    view, drawn = View(crop), torch.Generator().manual_seed(0)
    assert view.context == context
    assert view.seen % 8 == 0
    outer = torch.ones(view.seen, view.seen)
    outer[16:-16, 16:-16] = 0
    if 256 <= crop <= 512:  # smaller ones show more
        shares = [outer[view.inside(drawn)].mean().item() for _ in range(400)]
        assert sum(shares) / len(shares) == pytest.approx(1 - (1 - 32 / 512) ** 2, rel=0.2)


def test_nothing_is_moved_where_steadiness_does_not_count(crops: Tensor) -> None:
    seen, taken = see(crops, LossConfig())
    assert [len(each) for each in taken] == [2]
    assert seen.stability.tolist() == [0]


def test_what_moves_with_the_photo_is_steady_and_what_stays_is_not(crops: Tensor) -> None:
    steady, _ = see(crops)
    assert steady.stability.item() == pytest.approx(1, abs=0.1)  # the noise itself, in its own unit
    frame = 0.1 * (1 - F.pad(torch.ones(1, 3, 64, 64), [12] * 4))
    framed, _ = see(crops, added=frame)
    assert framed.stability.item() > 20


def test_the_sum_has_each_loss_by_its_weight(crops: Tensor) -> None:
    lattice = 0.1 * (torch.arange(88) % 8 == 0).float()
    seen, _ = see(crops, added=lattice)
    loss = PerceptualLoss(student(), torch.rand(1, 3, 64, 64), LOSS)
    parts = loss.weighted(seen.losses).mean() + LOSS.stability_weight * seen.stability.mean()
    torch.testing.assert_close(seen.total(loss), parts + LOSS.lattice_weight * seen.lattice.mean())
    assert seen.lattice.mean() > 10
