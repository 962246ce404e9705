"""The adain family: two networks, one painting folded in, and what can be asked of them."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestyle import cli, images, styling
from edgestyle.adain import AdaIN, AdaINConfig
from edgestyle.checkpoint import Checkpoint
from edgestyle.conditional import from_codes
from edgestyle.errors import ConfigError, ImageError, UsageError
from edgestyle.stylize import PairPainter

FLAT = {"grey": 0.5, "black": 0.0, "white": 1.0}


@pytest.fixture(scope="module")
def pair(tiny_pair: Checkpoint) -> AdaIN:
    return tiny_pair.pair()


@pytest.fixture(scope="module")
def photos() -> dict[str, images.Image]:
    return {name: images.centre_crop(photo, (72, 96)) for name, photo in images.sample_photos().items()}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


# Networks -------------------------------------------------------------------------------------------------------------


def test_shapes_and_ranges(pair: AdaIN) -> None:
    code = pair.encoder(torch.from_numpy(random(2, 3, 256, 256)))
    assert code.shape == (2, pair.config.code)
    assert code.abs().max() < 1
    picture = pair.transformer(torch.from_numpy(random(2, 3, 64, 48)), code)
    assert picture.shape == (2, 3, 64, 48)
    assert 0 <= picture.min() <= picture.max() <= 1


def test_adain_is_the_formula_of_the_docstring(pair: AdaIN) -> None:
    layer = pair.transformer.trunk[0].conv1
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    code = torch.rand(1, pair.config.code, 1, 1, generator=torch.Generator().manual_seed(2))
    y = layer.conv(x)
    scale, shift = layer.modulation(code)
    mean, var = y.mean((2, 3), keepdim=True), y.var((2, 3), correction=0, keepdim=True)
    expected = scale * (y - mean) / torch.sqrt(var + layer.norm.eps) + shift
    torch.testing.assert_close(layer(x, code), expected)


def test_balanced_statistics_make_the_same_code(pair: AdaIN) -> None:
    encoder, painting = copy.deepcopy(pair.encoder), torch.from_numpy(random(1, 3, 256, 256))
    encoder.hidden.weight[:, ::7] *= 300
    before = encoder(painting)
    encoder.equalise()
    torch.testing.assert_close(encoder(painting), before, rtol=0, atol=1e-4)
    assert encoder.hidden.weight.abs().amax(0).allclose(torch.ones(1))


@pytest.mark.parametrize("colour", FLAT.values(), ids=FLAT.keys())
def test_a_flat_painting_or_photo_gives_no_nan(pair: AdaIN, colour: float) -> None:
    code = pair.encoder(torch.full((1, 3, 256, 256), colour))
    assert code.isfinite().all()
    for photo in (torch.full((1, 3, 32, 32), colour), torch.from_numpy(random(1, 3, 32, 32))):
        assert pair.transformer(photo, code).isfinite().all()
        assert from_codes(pair.transformer, code)(photo).isfinite().all()


def test_a_flat_painting_leaves_finite_gradients(pair: AdaIN) -> None:
    net = AdaIN(pair.config)
    net(torch.rand(1, 3, 32, 32), torch.full((1, 3, 256, 256), 0.5)).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("name", "value"), [("code", 2), ("trunk_blocks", 0), ("width", True), ("hidden", 1.5)])
def test_impossible_configurations_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        AdaINConfig(**{name: value})


# What can be asked ----------------------------------------------------------------------------------------------------


def test_a_blend_is_a_weighted_mean_and_strength_a_factor() -> None:
    one, two = random(1, 8, seed=1), random(1, 8, seed=2)
    np.testing.assert_allclose(styling.blend([one, two], [3, 1]), 0.75 * one + 0.25 * two, rtol=1e-6)
    np.testing.assert_allclose(styling.blend([one, two]), (one + two) / 2, rtol=1e-6)
    np.testing.assert_allclose(styling.blend([one], strength=0.25), one / 4, rtol=1e-6)
    assert not styling.blend([one], strength=0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (), 1.0, 0), "--style"),
        ((1, (), -0.1, 0), "from 0"),
        ((1, (), 1.5, 0), "from 0"),
        ((1, (), float("nan"), 0), "from 0"),
        ((2, (1.0,), 1.0, 0), "1 numbers for 2"),
        ((2, (0.0, 0.0), 1.0, 0), "all zero"),
        ((2, (2.0, -1.0), 1.0, 0), "negative"),
        ((2, (1.0, float("inf")), 1.0, 0), "negative"),
        ((2, (), 1.0, 1), "one for each"),
        ((2, (1.0, 1.0), 1.0, 2), "cannot be combined"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        styling.check(*arguments)


@pytest.mark.parametrize(("height", "width", "count"), [(64, 64, 1), (64, 90, 1), (64, 200, 3), (400, 20, 8)])
def test_a_long_painting_is_cut_into_squares(height: int, width: int, count: int) -> None:
    cut = styling.squares(random(1, 3, height, width))
    assert [square.shape for square in cut] == [(1, 3, 256, 256)] * count


def test_a_tiny_painting_is_refused() -> None:
    with pytest.raises(ImageError, match="at least 16x16"):
        styling.squares(random(1, 3, 15, 200))


def test_shares_of_masks() -> None:
    half, whole = np.zeros((1, 1, 8, 12), np.float32), np.ones((1, 1, 4, 6), np.float32)
    half[..., 6:] = 0.5
    first, second = styling.shares([half, whole], (8, 12))
    np.testing.assert_allclose(first + second, 1, atol=1e-6)  # scaled down where they sum to more
    assert first[0, 0, 0, 0] == 0
    assert first[0, 0, 0, -1] == pytest.approx(1 / 3)
    with pytest.raises(ImageError, match="another shape"):
        styling.shares([np.ones((1, 1, 8, 8), np.float32)], (8, 12))


def test_preserved_colours_are_the_photos() -> None:
    photo, painting = 0.3 + 0.4 * random(1, 3, 8, 8, seed=1), 0.3 + 0.4 * random(1, 3, 8, 8, seed=2)
    kept = styling.with_colours_of(painting, photo)
    luma = np.array([0.299, 0.587, 0.114], np.float32).reshape(1, 3, 1, 1)
    inside = ((kept > 0) & (kept < 1)).all(1, keepdims=True)
    np.testing.assert_allclose(((kept - painting) * luma).sum(1, keepdims=True)[inside], 0, atol=1e-6)
    np.testing.assert_allclose(((kept - photo)[:, :1] - (kept - photo)[:, 2:])[inside], 0, atol=1e-6)


# A painter ------------------------------------------------------------------------------------------------------------


def painted(tiny_pair: Checkpoint, photo: images.Image, **wanted: object) -> images.Image:
    return styling.StyledPainter.open(PairPainter("tiny", tiny_pair.pair()), styling.Styling(**wanted)).paint(photo)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    pictures = {"one": random(1, 3, 40, 40, seed=1), "two": random(1, 3, 30, 90, seed=2) ** 4}
    left = np.zeros((1, 3, 36, 48), np.float32)
    left[..., :24] = 1
    pictures |= {"left": left, "right": 1 - left, "wrong": left[..., :30]}
    for name, picture in pictures.items():
        images.write(tmp_path / f"{name}.png", picture)
    return {name: tmp_path / f"{name}.png" for name in pictures}


def test_regions_get_their_own_styles(tiny_pair: Checkpoint, photos: dict, files: dict) -> None:
    photo = photos["coffee"]
    whole = [painted(tiny_pair, photo, styles=(files[name],)) for name in ("one", "two")]
    parts = painted(tiny_pair, photo, styles=(files["one"], files["two"]), masks=(files["left"], files["right"]))
    np.testing.assert_allclose(parts[..., :40], whole[0][..., :40], atol=1e-5)
    np.testing.assert_allclose(parts[..., 56:], whole[1][..., 56:], atol=1e-5)
    alone = painted(tiny_pair, photo, styles=(files["one"],), masks=(files["left"],))
    np.testing.assert_allclose(alone[..., 56:], photo[..., 56:], atol=1e-5)  # the photo stays where no mask is


def test_weights_and_strength_in_pictures(tiny_pair: Checkpoint, photos: dict, files: dict) -> None:
    photo, both = photos["rocket"], (files["one"], files["two"])
    first = painted(tiny_pair, photo, styles=both[:1])
    np.testing.assert_allclose(painted(tiny_pair, photo, styles=both, weights=(5, 0)), first, atol=1e-6)
    assert np.abs(painted(tiny_pair, photo, styles=both) - first).max() > 1e-3
    none = [painted(tiny_pair, photo, styles=(style,), strength=0) for style in both]
    np.testing.assert_array_equal(*none)  # at strength 0 the painting does not matter


# The command line -----------------------------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return cli.main(["stylize", *map(str, arguments)])


def test_stylize_by_a_painting(tiny_pair: Checkpoint, photos: dict, files: dict, tmp_path: Path, capsys) -> None:
    images.write(tmp_path / "photo.png", photos["astronaut"])
    out = tmp_path / "out.png"
    style = ("--model", tiny_pair.folder, "--style", files["one"], "--style", files["two"], "-o", out, "--json")
    assert run(tmp_path / "photo.png", *style, "--style-weights", "2,1", "--strength", 0.5, "--preserve-color") == 0
    assert json.loads(capsys.readouterr().out)["painted"][0]["size"] == [72, 96]
    assert images.read(out).shape == (1, 3, 72, 96)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "great_wave", "--style", "one"], "has learned its paintings"),
        (["--model", "tiny"], "give --style"),
        ([], "give --model"),
        (["--model", "tiny", "--strength", "0.5"], "--strength needs a --style"),
        (["--model", "tiny", "--style", "one", "--strength", "2"], "from 0"),
        (["--model", "tiny", "--style", "one", "--style-weights", "0"], "all zero"),
        (["--model", "tiny", "--style", "one", "--style-weights", "a,b"], "not a list of numbers"),
        (["--model", "tiny", "--style", "one", "--mask", "wrong"], "another shape"),
        (["--model", "tiny", "--style", "missing.png"], "missing.png"),
    ],
)
def test_bad_requests_are_one_line(
    tiny_pair: Checkpoint, photos: dict, files: dict, tmp_path: Path, capsys, arguments: list[str], message: str
) -> None:
    images.write(tmp_path / "photo.png", photos["coffee"])
    named = {"tiny": tiny_pair.folder, **files}
    assert run(tmp_path / "photo.png", "-o", tmp_path / "o.png", *(named.get(a, a) for a in arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize("mode", ["L", "RGBA", "1"])
def test_grey_and_transparent_paintings(tiny_pair: Checkpoint, photos: dict, tmp_path: Path, mode: str) -> None:
    from PIL import Image

    Image.fromarray((random(40, 40) * 255).astype(np.uint8)).convert(mode).save(tmp_path / "style.png")
    assert np.isfinite(painted(tiny_pair, photos["coffee"], styles=(tmp_path / "style.png",))).all()
