"""What networks that have learned their paintings have in common, and the conditional family of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgestyle import checkpoint, cli, images
from edgestyle.checkpoint import Checkpoint
from edgestyle.conditional import Conditional, ConditionalConfig, from_codes
from edgestyle.errors import ConfigError
from edgestyle.feedforward import FeedForwardConfig
from edgestyle.layers import GREY
from edgestyle.learned import LearnedConfig, deploy
from edgestyle.manifest import Style
from edgestyle.training.initialisation import learn_identity, unit_variance, with_fine_norms, with_grey_lens
from edgestyle.training.narrowing import narrow_trunk

FAMILIES = {
    "feedforward": FeedForwardConfig(width=8, trunk_width=16, trunk_blocks=1, styles=3),
    "conditional": ConditionalConfig(width=8, trunk_width=16, trunk_blocks=2, styles=3),
    "conditional, coarse norms": ConditionalConfig(
        width=8, trunk_width=16, trunk_blocks=2, styles=3, fine_norms=False, picture_norm=True
    ),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def config(request: pytest.FixtureRequest) -> LearnedConfig:
    """Of a network of three paintings."""
    config: LearnedConfig = request.param
    return config


def photo(height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(1, 3, height, width)


def test_a_style_vector_changes_the_picture_of_its_own_photo_alone(config: LearnedConfig) -> None:
    net, x = deploy(config.build()), photo(16, 16).repeat(2, 1, 1, 1)
    first, second = net(x, torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
    assert not torch.equal(first, second)
    torch.testing.assert_close(net(x[:1], torch.tensor([[0, 1.0, 0]]))[0], second)


@pytest.mark.parametrize("weights", [(0.0, 1.0, 0.0), (0.25, 0.25, 0.5)])
def test_a_specialized_network_paints_the_same(config: LearnedConfig, weights: tuple[float, ...]) -> None:
    net, x = deploy(config.build()), photo()
    single = net.specialized(weights)
    assert single.config == replace(config, styles=1)
    assert type(single) is type(net)
    torch.testing.assert_close(single(x), net(x, torch.tensor([weights])), atol=1e-6, rtol=0)
    fresh = single.config.build().eval()
    fresh.load_state_dict(single.state_dict())
    assert torch.equal(fresh(x), single(x))


@pytest.mark.parametrize(("styles", "weights"), [(1, (1.0,)), (3, (1.0,)), (3, (1.0, 0, 0, 0))])
def test_only_as_many_weights_as_styles_specialize(
    config: LearnedConfig, styles: int, weights: tuple[float, ...]
) -> None:
    with pytest.raises(ConfigError, match=rf"{len(weights)} weights for a network of {styles} style"):
        replace(config, styles=styles).build().specialized(weights)


def test_a_trained_trunk_serves_any_number_of_paintings(config: LearnedConfig) -> None:
    many, x = deploy(config.build()), photo()
    assert many.adapted(3) is many
    single = many.adapted(1)
    torch.testing.assert_close(single(x), many(x, torch.full((1, 3), 1 / 3)), atol=1e-6, rtol=0)
    others = single.adapted(4)
    assert others.config.styles == 4
    assert all(parameter.requires_grad is False or parameter.is_leaf for parameter in others.parameters())
    if isinstance(others, Conditional):  # a new painting begins as the old; in the other family by chance
        torch.testing.assert_close(others(x, torch.eye(4)[2:3]), single(x), atol=1e-6, rtol=0)


def test_every_weight_of_a_network_can_be_learned(config: LearnedConfig) -> None:
    """One of a single painting too, which has none of what the vector chose."""
    for net in (config.build(), deploy(config.build()).adapted(1).requires_grad_(True)):
        style = [torch.eye(3)[:1]] if net.config.styles > 1 else []
        net(photo(), *style).square().sum().backward()
        assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_any_of_them_learns_to_repeat_the_photo(config: LearnedConfig) -> None:
    crops = [images.centre_crop(each, (64, 64)) for each in images.sample_photos().values()]
    net, photos = config.build(), torch.from_numpy(np.concatenate(crops))
    styles = torch.eye(3)[torch.tensor([0, 1, 2, 0])]
    unit_variance(net, photos, styles)
    before = (net(photos, styles) - photos).abs().mean()
    learn_identity(net, ((photos, styles) for _ in range(60)), 2e-3)
    assert (net(photos, styles) - photos).abs().mean() < 0.7 * before


# The conditional family -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_each_painting_begins_where_the_pair_paints_it(tiny_pair: Checkpoint, count: int) -> None:
    transformer, x = tiny_pair.pair().transformer, photo()
    codes = torch.rand(count, tiny_pair.pair().config.code)
    net = from_codes(transformer, codes)
    for index in range(count):
        style = [torch.eye(count)[index : index + 1]] if count > 1 else []
        torch.testing.assert_close(net(x, *style), transformer(x, codes[index : index + 1]), rtol=0, atol=1e-5)


def test_of_one_painting_nothing_is_left_of_the_vector(tiny_pair: Checkpoint) -> None:
    net = from_codes(tiny_pair.pair().transformer, torch.rand(1, tiny_pair.pair().config.code))
    assert not any("modulation" in name or "gains.scale." in name for name in net.state_dict())


@pytest.mark.parametrize("styles", [1, 3])
def test_with_fine_norms_a_network_paints_on_as_before(styles: int) -> None:
    """Exactly where there is nothing to average over: of one photo the statistics are its own."""
    coarse, x = deploy(replace(FAMILIES["conditional, coarse norms"], styles=styles).build()), photo()
    fine = with_fine_norms(coarse, x)
    assert fine.config == replace(coarse.config, fine_norms=True)
    for style in torch.eye(styles):
        chosen = [style[None]] if styles > 1 else []
        torch.testing.assert_close(fine(x, *chosen), coarse(x, *chosen), rtol=0, atol=1e-5)
        assert (fine(x / 2, *chosen) - coarse(x / 2, *chosen)).abs().max() > 1e-4  # as a norm does


def test_with_a_grey_lens_a_network_paints_on_as_before() -> None:
    """Exactly, borders too, where there is nothing to average over and the photo's mean is that grey."""
    even, x = deploy(replace(FAMILIES["conditional, coarse norms"], styles=1).build()), photo()
    assert isinstance(even, Conditional)
    x = x - even.lens.norm(x)[0] + GREY
    grey = with_grey_lens(even, x)
    assert grey.config == replace(even.config, picture_norm=False)
    torch.testing.assert_close(grey(x), even(x), rtol=0, atol=1e-5)
    assert (grey(x / 2) - even(x / 2)).abs().max() > 1e-4
    assert not any("norm" in name for name in grey.lens.state_dict())


@pytest.mark.parametrize("styles", [1, 3])
def test_a_narrower_trunk_keeps_the_channels_that_matter(styles: int) -> None:
    """Those that are nothing are the first to go, and nothing is lost with them."""
    wide, x = deploy(replace(FAMILIES["conditional"], styles=styles).build()), photo().repeat(3, 1, 1, 1)
    assert isinstance(wide, Conditional)
    idle = [1, 4, 15]
    with torch.no_grad():
        for conv in (wide.down, wide.trunk[0].conv1.conv, wide.trunk[0].conv2.conv, wide.trunk[1].conv2.conv):
            conv.weight[idle] = 0
        wide.down.bias[idle] = 0
        for residual in wide.trunk:
            wide.trunk[1].conv1.conv.weight[[0, 2, 3]] = 0
            for conv in (residual.conv1, residual.conv2):
                for shift in (
                    (conv.norm.bias,) if styles == 1 else (conv.modulation.shift.weight, conv.modulation.shift.bias)
                ):
                    shift[[0, 2, 3] if conv is wide.trunk[1].conv1 else idle] = 0
    narrow, style = narrow_trunk(wide, 13, x), [torch.eye(3)] if styles > 1 else []
    assert narrow.config == replace(wide.config, trunk_width=13)
    torch.testing.assert_close(narrow(x, *style), wide(x, *style), rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="trunk_width is 14; the network has 13, and can only lose some"):
        narrow_trunk(narrow, 14, x)


@pytest.mark.parametrize(("field", "value"), [("styles", 0), ("styles", 2.0), ("width", 7)])
def test_impossible_configurations_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} is {value!r}; it must be a whole number from \d+ to \d+$"):
        ConditionalConfig(**{field: value})


def test_a_norm_is_there_or_not() -> None:
    for flag in ("fine_norms", "picture_norm"):
        with pytest.raises(ConfigError, match=f"{flag} is 1; it must be true or false"):
            ConditionalConfig(**{flag: 1})  # type: ignore[arg-type]


SMALL = {"width": 8, "trunk_width": 8, "trunk_blocks": 1, "styles": 2}
SETTINGS = ["--batch", "1", "--crop", "64", "--style-size", "64", "--accelerator", "cpu", "--steps", "1"]


@pytest.fixture
def paintings(tmp_path: Path) -> list[Path]:
    """Two pictures to learn."""
    names = ("coffee", "rocket")
    for name in names:
        images.write(tmp_path / f"{name}.png", images.centre_crop(images.sample_photos()[name], (80, 80)))
    return [tmp_path / f"{name}.png" for name in names]


def test_from_a_pair_a_network_of_ones_own(
    tiny_pair: Checkpoint, paintings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One painting out of the pair, a second beside it, and out of the two the second again, as files people have."""
    first, second = map(str, paintings)
    one, two, other = (str(tmp_path / name) for name in ("one", "two", "other"))
    train = ["train", *SETTINGS, "--style"]
    assert cli.main([*train, first, "--from", str(tiny_pair.folder), "--out", one]) == 0
    assert cli.main([*train, first, "--style", second, "--from", one, "--out", two]) == 0
    assert cli.main(["specialize", two, "rocket", "--out", other]) == 0
    for folder, styles in ((one, ["coffee"]), (two, ["coffee", "rocket"]), (other, ["rocket"])):
        config = checkpoint.read(Path(folder)).config
        assert config.family == "conditional"
        assert [style.name for style in config.styles] == styles
    assert cli.main([*train, second, "--from", str(tiny_pair.folder), "--family", "feedforward", "--out", one]) == 2
    assert "can only become a network of the conditional family" in capsys.readouterr().err
    assert cli.main([*train, first, "--from", str(tiny_pair.folder), "--qat", "--out", two]) == 2
    assert "--family adain" in capsys.readouterr().err


def test_a_painting_is_learned_by_a_narrower_network(
    tiny_pair: Checkpoint, paintings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plain = tmp_path / "narrow", tmp_path / "plain"
    train = ["train", *SETTINGS, "--style", str(paintings[0]), "--trunk-width"]
    pair = ["--from", str(tiny_pair.folder)]
    assert cli.main([*train, "8", *pair, "--out", str(out)]) == 0
    network = checkpoint.read(out).config.network
    assert network["trunk_width"] == 8 < tiny_pair.config.network["trunk_width"]
    assert network["picture_norm"] is False
    assert cli.main([*train, "8", *pair, "--out", str(out), "--steps", "2"]) == 0  # and goes on
    capsys.readouterr()
    assert cli.main([*train, "9999", *pair, "--out", str(out)]) == 2
    assert "trunk_width is 9999; the network has" in capsys.readouterr().err
    assert cli.main([*train, "8", "--out", str(out)]) == 2
    assert "--trunk-width cuts a narrower network out of that of --from" in capsys.readouterr().err
    about = checkpoint.read(out).config.model_copy(update={"family": "feedforward", "network": SMALL})
    checkpoint.write(plain, about, deploy(FeedForwardConfig(**SMALL).build()))
    assert cli.main([*train, "8", "--from", str(plain), "--out", str(tmp_path / "no")]) == 2
    assert "--trunk-width is for networks with instance norms" in capsys.readouterr().err


def test_a_network_of_several_paintings_is_tuned_for_int8(
    tiny_pair: Checkpoint, paintings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    styles = [word for path in paintings for word in ("--style", str(path))]
    many, tuned, plain = (str(tmp_path / name) for name in ("many", "tuned", "plain"))
    assert cli.main(["train", *SETTINGS, *styles, "--from", str(tiny_pair.folder), "--out", many]) == 0
    qat = ["train", *SETTINGS, "--qat", "--out", tuned, "--from"]
    assert cli.main([*qat, many, *styles]) == 0
    config = checkpoint.read(Path(tuned)).config
    assert [style.name for style in config.styles] == ["coffee", "rocket"]
    assert config.training["qat"]["steps"] == 1
    assert cli.main([*qat, many, *styles[:2]]) == 2
    assert "has learned 2 painting(s); give a --style for each, in order: coffee, rocket" in capsys.readouterr().err
    made = checkpoint.CheckpointConfig.model_validate(
        {**config.model_dump(), "family": "feedforward", "network": SMALL}
    )
    checkpoint.write(Path(plain), made, deploy(FeedForwardConfig(**SMALL).build()))
    assert cli.main([*qat, plain, *styles]) == 2
    assert "painting by painting" in capsys.readouterr().err


def test_conditional_from_scratch(paintings: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["train", *SETTINGS, "--family", "conditional", "--style", str(paintings[0]), "--out", str(out)]
    assert cli.main(command) == 0
    assert checkpoint.read(out).config.family == "conditional"
    assert cli.main([*command[:-1], str(out), "--steps", "2"]) == 0  # and goes on


@pytest.mark.parametrize(("target", "scheme"), [("onnx", "fp16"), ("coreml", "int8-weights"), ("tflite", "fp32")])
def test_files_of_several_paintings(tmp_path: Path, target: str, scheme: str) -> None:
    """Their export holds them to the gates; their second input chooses."""
    config = FAMILIES["conditional"]
    about = checkpoint.CheckpointConfig(
        name="many",
        family="conditional",
        network={"width": 8, "trunk_width": 16, "trunk_blocks": 2, "styles": 3},
        styles=tuple(Style(name=name, title=name) for name in "abc"),
        training={},
        licence="none",
    )
    checkpoint.write(tmp_path / "many", about, deploy(config.build()))
    command = ["export", "--model", str(tmp_path / "many"), "--target", target, "--quantize", scheme, "--size", "64"]
    assert cli.main([*command, "--out", str(tmp_path / "files")]) == 0
