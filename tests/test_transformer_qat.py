"""Fine-tuning a transformer of many styles for int8, and cutting a narrower one out of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from edgestyle.adain import AdaIN, AdaINConfig, Transformer
from edgestyle.conditional import Conditional, from_codes
from edgestyle.errors import CheckError, ConfigError
from edgestyle.training.narrowing import narrow
from edgestyle.training.photos import Photos
from edgestyle.training.transformer_qat import Rounding, TransformerQatConfig, encode, fine_tune, sample

CONFIG = TransformerQatConfig(steps=2, crop=64, scales=(72, 96))


@pytest.fixture
def pair() -> AdaIN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = AdaIN(AdaINConfig(code=8, width=10, trunk_width=16, trunk_blocks=1, hidden=16))
        for layer in (net.transformer.head, net.transformer.head_depthwise):
            torch.nn.init.normal_(layer.weight, std=0.5)  # a picture that differs from grey
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def photos() -> Photos:
    return Photos.samples(longest=96)


@pytest.fixture
def codes(pair: AdaIN) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    squares = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=generator) for _ in range(5)]
    return encode(pair, squares)


def test_codes_are_those_of_the_encoder(pair: AdaIN) -> None:
    square = torch.full((3, 64, 64), 51, dtype=torch.uint8)
    torch.testing.assert_close(encode(pair, [square]), pair.encoder(torch.full((1, 3, 64, 64), 0.2)))


def test_the_sample_is_as_many_photos_as_codes(photos: Photos, codes: Tensor) -> None:
    batch, drawn = sample(photos, codes, CONFIG)
    assert batch.shape == (16, 3, 64, 64)
    assert drawn.shape == (16, codes.shape[1])
    assert set(map(tuple, drawn.tolist())) == set(map(tuple, codes.tolist()))


# Narrowing ----------------------------------------------------------------------------------------------------------


def test_nothing_changes_when_every_channel_stays(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    batch, drawn = sample(photos, codes, CONFIG)
    same = narrow(pair, pair.config.width, batch, drawn)
    assert torch.equal(same.transformer(batch, drawn), pair.transformer(batch, drawn))
    assert torch.equal(encode(same, [torch.zeros(3, 64, 64)]), encode(pair, [torch.zeros(3, 64, 64)]))


def test_a_channel_that_does_nothing_is_the_first_to_go(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    batch, drawn = sample(photos, codes, CONFIG)
    width, idle = pair.config.width, 3
    with torch.no_grad():  # nobody reads it: the narrower network must paint the same
        for layer in (pair.transformer.down, pair.transformer.head):
            layer.weight[:, idle] = 0
        for block in pair.transformer.finish:
            block.expand.weight[:, idle] = 0  # type: ignore[union-attr, index, operator]
            inside = slice(2 * (width - 1), None)  # as many fewer inside, which give nothing
            block.project.weight[:, inside] = 0  # type: ignore[union-attr, index, operator]
    narrower = narrow(pair, width - 1, batch, drawn)
    assert narrower.config == replace(pair.config, width=width - 1)
    torch.testing.assert_close(narrower.transformer(batch, drawn), pair.transformer(batch, drawn), rtol=0, atol=1e-5)


def test_a_network_cannot_be_widened(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    with pytest.raises(ConfigError, match="can only lose some"):
        narrow(pair, pair.config.width + 1, *sample(photos, codes, CONFIG))
    with pytest.raises(ConfigError, match="from 8 to 256"):
        narrow(pair, -1, *sample(photos, codes, CONFIG))


# Fine-tuning --------------------------------------------------------------------------------------------------------


def test_rounding_moves_the_picture_only_while_active(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    batch, drawn = sample(photos, codes, CONFIG)
    exact = pair.transformer(batch, drawn)
    rounding = Rounding(pair.transformer)
    assert torch.equal(pair.transformer(batch, drawn), exact)
    with rounding.active():
        error = (pair.transformer(batch, drawn) - exact).abs()
    assert 1e-4 < error.mean() < 0.05
    assert torch.equal(pair.transformer(batch, drawn), exact)


def test_a_rounded_value_has_256_levels() -> None:
    rounding = Rounding(AdaIN().transformer)
    value = torch.linspace(-1, 3, 4096).reshape(1, 1, 64, 64).requires_grad_()
    with rounding.active():
        rounded = rounding._apply("layer", value)
        assert rounded.unique().numel() in (170, 171, 172)  # of 256 that reach half as far again
        assert (rounded - value).abs().max() <= 1.5 * 4 / 255 / 2 + 1e-6
        wider = rounding._apply("layer", 10 * value)  # the range follows slowly: what is beyond is cut off
    assert wider.max() < 5
    (gradient,) = torch.autograd.grad(wider.sum(), value)
    assert gradient.unique().tolist() == [0, 10]


def test_integers_come_nearer_to_floats(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    seen: list[float] = []
    config = replace(CONFIG, steps=40, learning_rate=3e-3)
    tuned = fine_tune(
        pair.transformer, pair.transformer, photos, codes, config, report=lambda progress: seen.append(progress.int8_db)
    )
    assert len(seen) == 40
    batch, drawn = sample(photos, codes, CONFIG)

    def int8_error(net: Transformer) -> float:
        exact, rounding = net(batch, drawn), Rounding(net)
        with rounding.active():
            return (net(batch, drawn) - exact).square().mean().item()

    assert int8_error(tuned) < int8_error(pair.transformer)
    assert not any(parameter.requires_grad for parameter in tuned.parameters())


def test_pictures_are_looked_at_now_and_then(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    config = replace(CONFIG, steps=5, perceive_every=3)
    looked: list[list[int]] = []

    def darker(pictures: Tensor, crops: Tensor, chosen: list[int]) -> Tensor:
        assert pictures.shape == crops.shape == (2, 3, CONFIG.crop, CONFIG.crop)
        looked.append(chosen)
        return 10 * pictures.mean()

    plain = fine_tune(pair.transformer, pair.transformer, photos, codes, config)
    dark = fine_tune(pair.transformer, pair.transformer, photos, codes, config, darker)
    assert [len(chosen) for chosen in looked] == [2, 2]
    assert all(0 <= index < len(codes) for chosen in looked for index in chosen)
    batch, drawn = sample(photos, codes, CONFIG)
    assert dark(batch, drawn).mean() < plain(batch, drawn).mean()


def test_what_cannot_be_trained_is_told(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    with pytest.raises(CheckError, match="loss is nan at step 0"):
        fine_tune(pair.transformer, pair.transformer, photos, codes * torch.nan, CONFIG)
    for change in ({"steps": 0}, {"batch": 0}, {"crop": 60}, {"crop": 56}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            replace(CONFIG, **change)  # type: ignore[arg-type]


def test_a_network_of_several_paintings_is_tuned_with_their_blends(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    net, styles = from_codes(pair.transformer, codes), torch.eye(len(codes))
    seen: list[Tensor] = []

    def watch(_: torch.nn.Module, given: tuple[Tensor, Tensor]) -> None:
        seen.append(given[1])

    handle = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: watch(module, given) if isinstance(module, Conditional) else None
    )
    try:
        tuned = fine_tune(net, net, photos, styles, replace(CONFIG, steps=12))
    finally:
        handle.remove()
    assert isinstance(tuned, Conditional)
    assert tuned.config == net.config
    torch.testing.assert_close(torch.cat(seen).sum(1), torch.ones(2 * 3 * 12))  # weights of paintings add up to 1
    assert any((row > 0).sum() == 2 for row in torch.cat(seen))


def test_what_is_good_enough_is_left_as_it_is(pair: AdaIN, photos: Photos, codes: Tensor) -> None:
    net = from_codes(pair.transformer, codes)
    tuned = fine_tune(net, net, photos, torch.eye(len(codes)), replace(CONFIG, tolerated_db=0))
    for before, after in zip(net.parameters(), tuned.parameters(), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)
