"""Losses and colours, against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from edgestyle import colors
from edgestyle.colors import PreserveColor
from edgestyle.errors import ConfigError
from edgestyle.losses import (
    GREY_LEVEL,
    LossConfig,
    PerceptualLoss,
    content_loss,
    detail,
    gram_loss,
    gram_matrix,
    lattice_loss,
    stability_loss,
    total_variation,
)
from edgestyle.perceptual import Student, student


@pytest.fixture(scope="module")
def network() -> Student:
    return student()


def _picture(seed: int, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bilinear")


def test_gram_matrix_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 1, 2)  # 2 channels, 1x2 pixels
    assert gram_matrix(features).tolist() == [[[5 / 4, 11 / 4], [11 / 4, 25 / 4]]]


def test_gram_matrix_does_not_depend_on_the_memory_layout() -> None:
    features = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(gram_matrix(features), gram_matrix(features.to(memory_format=torch.channels_last)))


def test_losses_by_hand() -> None:
    photo = torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2)
    assert content_loss(photo * 3, photo).tolist() == [4.0]  # |2 P|^2 / |P|^2
    gram = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    assert gram_loss(gram * 1.5, gram).tolist() == [0.25]
    step = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).reshape(1, 1, 2, 2)
    assert total_variation(step).tolist() == [1.0]  # every step across is 1, every step down 0
    assert stability_loss(step, step + 2 * GREY_LEVEL).item() == pytest.approx(4)


def test_a_lattice_is_told_from_texture() -> None:
    stripes = torch.tensor([0.4, 0.6]).repeat(64).expand(1, 3, 128, 128)  # the same in every 8x8 pixels
    noise = 0.5 + 0.1 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    power = (0.1 * 255) ** 2
    # The mean of 9 pixels around a stripe has a ninth of it left, and 1/81 of noise's power.
    assert lattice_loss(stripes).item() == pytest.approx(power * (8 / 9) ** 2, rel=0.01)
    assert lattice_loss(noise).item() == pytest.approx(power * 80 / 81 / 64, rel=0.1)  # 8x8 cells
    slope = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    assert lattice_loss(slope).item() < 0.1
    assert lattice_loss(stripes[..., :72, :80]).item() == pytest.approx(power * (8 / 9) ** 2, rel=0.02)


def test_detail_is_what_a_photo_shows_not_how_light_it_is() -> None:
    slope = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    noise = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert detail(slope).item() < 0.1
    assert detail(0.5 + 0.1 * noise).item() == 1
    mean_distance = (2 / torch.pi) ** 0.5 * (
        80 / 81
    ) ** 0.5  # of a normal number from the mean of 81, itself among them
    assert detail(0.5 + 0.01 * noise).item() == pytest.approx(0.01 * mean_distance / 0.02, rel=0.02)


def test_a_picture_is_its_own_content_and_a_painting_its_own_style(network: Student) -> None:
    painting = _picture(0)
    losses = PerceptualLoss(network, painting)(painting, painting)
    assert losses.content.item() == pytest.approx(0, abs=1e-6)
    assert losses.style.item() == pytest.approx(0, abs=1e-6)
    assert PerceptualLoss(network, painting)(_picture(1), painting).style.item() > 0.1


def test_content_of_several_scales_is_the_weighted_sum(network: Student) -> None:
    photo, picture = _picture(2), _picture(3)

    def content(*scales: tuple[int, float]) -> float:
        return PerceptualLoss(network, photo, LossConfig(content_scales=scales))(picture, photo).content.item()

    assert content((1, 0.5), (4, 2.0)) == pytest.approx(0.5 * content((1, 1.0)) + 2 * content((4, 1.0)), rel=1e-5)


def test_a_style_vector_chooses_the_painting_or_a_blend(network: Student) -> None:
    first, second, photo = _picture(4), _picture(5, (64, 96)), _picture(6)
    both = PerceptualLoss(network, [first, second])
    chosen = both(second.repeat(2, 1, 1, 1)[..., :64], photo.repeat(2, 1, 1, 1), torch.eye(2)).style
    alone = [PerceptualLoss(network, painting)(second[..., :64], photo).style.item() for painting in (first, second)]
    assert chosen.tolist() == pytest.approx(alone, rel=1e-4)
    key = (1, "relu2_1")
    half = both._targets(photo, torch.tensor([[0.5, 0.5]]))[key]
    torch.testing.assert_close(half[0], both.targets[key].mean(0))


@pytest.mark.parametrize("preserve_color", ["no", "luminance", "histogram"])
def test_an_aim_that_is_kept_judges_as_one_that_is_taken_anew(network: Student, preserve_color: PreserveColor) -> None:
    photo, picture = _picture(9), _picture(10)
    config = LossConfig(content_scales=((1, 0.5), (2, 0.5)), preserve_color=preserve_color)
    loss = PerceptualLoss(network, _picture(11), config)
    assert loss(picture, photo, aim=loss.aim(photo)) == loss(picture, photo)


def test_weights_say_what_counts(network: Student) -> None:
    photo, picture = _picture(7), _picture(8)
    config = LossConfig(style_weight=2.0, variation_weight=3.0)
    loss = PerceptualLoss(network, photo, config)
    losses = loss(picture, photo)
    expected = losses.content + 2 * losses.style + 3 * losses.variation
    assert loss.weighted(losses).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("wrong", [{"style_weight": -1}, {"preserve_color": "hue"}, {"content_layers": ()}])
def test_impossible_losses_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"style_weight|preserve_color|at least one layer"):
        LossConfig(**wrong)


# Colours --------------------------------------------------------------------------------------------------------------


def test_luminance_and_chroma_are_yiq() -> None:
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert colors.luminance(red).flatten().tolist() == pytest.approx([0.299] * 3)
    assert colors.chroma(red).flatten().tolist() == pytest.approx([0.596, 0.211])


def test_recombined_pictures_have_the_photos_colours() -> None:
    picture, photo = 0.4 + 0.2 * _picture(9), 0.4 + 0.2 * _picture(10)
    made = colors.recombine(picture, photo)
    torch.testing.assert_close(colors.luminance(made), colors.luminance(picture), atol=2e-3, rtol=0)
    torch.testing.assert_close(colors.chroma(made), colors.chroma(photo), atol=2e-3, rtol=0)


def test_a_recoloured_painting_has_the_photos_mean_and_covariance() -> None:
    painting, photo = 0.3 + 0.4 * _picture(11, (64, 80)), 0.45 + 0.1 * _picture(12)
    made, aim = colors.match(painting, photo, "histogram"), photo
    torch.testing.assert_close(made.mean((2, 3)), aim.mean((2, 3)), atol=2e-3, rtol=0)
    torch.testing.assert_close(made[0].flatten(1).cov(), aim[0].flatten(1).cov(), atol=2e-4, rtol=0)
    grey = colors.match(painting, photo, "luminance")
    assert grey.std() == pytest.approx(colors.luminance(photo).std().item(), rel=0.02)
    assert colors.match(painting, photo, "no") is painting


def test_a_grey_painting_can_be_recoloured() -> None:
    grey = torch.full((1, 3, 16, 16), 0.5)
    assert colors.match(grey, _picture(13), "histogram").isfinite().all()


@pytest.mark.parametrize("way", ["luminance", "histogram"])
def test_colours_are_kept_by_the_loss(network: Student, way: str) -> None:
    painting, photo = _picture(14), _picture(15)
    loss = PerceptualLoss(network, painting, LossConfig(preserve_color=way))
    assert loss(colors.match(painting, photo, way), photo).style.item() == pytest.approx(0, abs=1e-3)
    colour = loss(colors.luminance(photo), photo).color.item()
    assert (colour > 0) == (way == "luminance")  # a grey picture has lost the photo's colours
