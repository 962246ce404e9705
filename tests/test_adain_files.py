"""The adain family's exported files: two that belong together, or one with a painting folded in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pair_files import SIZE, both_files, named

from edgestyle import artifacts, checkpoint, cli, exporting, images, parts, registry, styling
from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure
from edgestyle.errors import UsageError
from edgestyle.manifest import Style, read_manifest
from edgestyle.runner import choose
from edgestyle.stylize import PairPainter, open_painter
from edgestyle.target import Target

AGREE_DB = {"onnx": 60, "tflite": 60, "coreml": 40}
"""What strength, blends and specialization are held to against torch; Core ML computes in fp16."""


@pytest.fixture(scope="module", params=["onnx", "tflite", "coreml"])
def target(request: pytest.FixtureRequest) -> Target:
    return registry.load(registry.TARGETS, request.param)


@pytest.fixture(scope="module")
def build(target: Target, tiny_pair: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files, in a folder of their own."""
    return both_files(tiny_pair, target, tmp_path_factory.mktemp(target.name))


@pytest.fixture(scope="module")
def trained(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files of the zoo's networks."""
    return both_files(checkpoint.find("adain"), target, tmp_path_factory.mktemp(target.name))


@pytest.fixture(scope="module")
def photo() -> images.Image:
    fitted = images.centre_crop(images.sample_photos()["astronaut"], SIZE)
    return images.from_uint8(images.to_uint8(fitted))


@pytest.fixture(scope="module")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, noise = tmp_path_factory.mktemp("paintings"), np.random.default_rng(0)
    found = folder / "one.png", folder / "two.png"
    images.write(found[0], noise.random((1, 3, 40, 40), dtype=np.float32))
    images.write(found[1], noise.random((1, 3, 30, 90), dtype=np.float32) ** 4)
    return found


def in_torch(network: Checkpoint, styling_: styling.Styling, photo: images.Image) -> images.Image:
    return styling.StyledPainter.open(PairPainter("tiny", network.pair()), styling_).paint(photo)


def test_both_manifests_say_the_same_of_the_code(build: Path) -> None:
    encoder, transformer = (read_manifest(named(build, role)).contract for role in ("encoder", "transformer"))
    assert encoder.code == transformer.code
    assert encoder.code.length == len(encoder.code.example)
    assert (build / encoder.code.encoder).exists()
    assert (encoder.size, transformer.size) == ((256, 256), SIZE)
    assert encoder.output.shape == (1, encoder.code.length)
    assert max(map(abs, encoder.code.example)) < 1


def test_the_file_itself_holds_its_contract(build: Path) -> None:
    for path in artifacts.find([build]):
        session = choose(path).open(path)
        assert session.contract == read_manifest(path).contract


def folded_in(network: Checkpoint, target: Target, painting: Path, folder: Path) -> Path:
    """One file, of one painting."""
    code = PairPainter("pair", network.pair()).code(images.read(painting))
    (part,) = parts.of(network, target, Style(name="my painting", title="my painting"), code)
    return exporting.export(network, target, SIZE, folder, part=part).path


WANTED: tuple[dict, ...] = ({}, {"strength": 0.0}, {"strength": 0.4}, {"weights": (3, 1)}, {"preserve_color": True})


@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_files_paint_what_torch_paints(
    tiny_pair: Checkpoint, target: Target, build: Path, photo: images.Image, paintings: tuple[Path, Path], wanted: dict
) -> None:
    asked = styling.Styling(paintings, **wanted)
    painted = open_painter(str(named(build, "transformer")), styling=asked).paint(photo)
    assert measure(painted, in_torch(tiny_pair, asked, photo)).psnr_db >= AGREE_DB[target.name]


def test_a_painting_folded_in(
    tiny_pair: Checkpoint, target: Target, photo: images.Image, paintings: tuple[Path, Path], tmp_path: Path
) -> None:
    path = folded_in(tiny_pair, target, paintings[0], tmp_path)
    assert path.name.startswith("tiny-my_painting-96x64.")
    painted = choose(path).open(path).run(photo)
    expected = in_torch(tiny_pair, styling.Styling(paintings[:1]), photo)
    assert measure(painted, expected).psnr_db >= AGREE_DB[target.name]


def test_the_zoos_files_paint_what_torch_paints(
    target: Target, trained: Path, photo: images.Image, paintings: tuple[Path, Path], tmp_path: Path
) -> None:
    zoo, transformer = checkpoint.find("adain"), str(named(trained, "transformer"))
    for wanted in WANTED:
        asked = styling.Styling(paintings, **wanted)
        painted = open_painter(transformer, styling=asked).paint(photo)
        assert measure(painted, in_torch(zoo, asked, photo)).psnr_db >= AGREE_DB[target.name], wanted
    path = folded_in(zoo, target, paintings[0], tmp_path)
    expected = in_torch(zoo, styling.Styling(paintings[:1]), photo)
    assert measure(choose(path).open(path).run(photo), expected).psnr_db >= AGREE_DB[target.name]


def run(*arguments: object) -> int:
    return cli.main([*map(str, arguments)])


def test_on_the_command_line(build: Path, photo: images.Image, paintings: tuple[Path, Path], tmp_path, capsys) -> None:
    images.write(tmp_path / "photo.png", photo)
    transformer, out = named(build, "transformer"), tmp_path / "out.png"
    styles = [each for painting in paintings for each in ("--style", painting)]
    assert run("stylize", tmp_path / "photo.png", "--model", transformer, *styles, "-o", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["painted"][0]["size"] == list(SIZE)
    for arguments, message in (
        (("--model", transformer), "give --style"),
        (("--model", named(build, "encoder"), *styles), "name the transformer"),
    ):
        assert run("stylize", tmp_path / "photo.png", *arguments, "-o", out) == 2
        assert message in capsys.readouterr().err


def test_validate_takes_each_of_the_two(
    tiny_pair: Checkpoint, build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoint, "zoo", lambda: [tiny_pair])
    delegate = choose(named(build, "transformer")).name
    code = run("validate", build, "--delegate", delegate, "--json")
    results = json.loads(capsys.readouterr().out)["results"]
    assert code == 0, results
    assert [result["status"] for result in results] == ["passed"] * 2


def test_weights_in_eight_bits_and_no_more(tiny_pair: Checkpoint, tmp_path: Path) -> None:
    target = registry.load(registry.TARGETS, "tflite")
    encoder, transformer = parts.of(tiny_pair, target)
    for part in (encoder, transformer):
        artifact = exporting.export(tiny_pair, target, SIZE, tmp_path, "int8-weights", part=part)
        assert artifact.manifest.verified == "passed"
    with pytest.raises(UsageError, match="fold one in by --style"):
        exporting.export(tiny_pair, target, SIZE, tmp_path, "int8", part=transformer)


@pytest.mark.parametrize(
    ("name", "scheme"), [("onnx", "fp16"), ("onnx", "int8"), ("tflite", "int8-a16"), ("coreml", "int8")]
)
def test_a_folded_painting_takes_every_number_format(name: str, scheme: str, tmp_path: Path) -> None:
    found, target = checkpoint.find("adain"), registry.load(registry.TARGETS, name)
    code = parts.example(found.pair())
    (part,) = parts.of(found, target, Style(name="coffee", title="coffee"), code)
    artifact = exporting.export(found, target, (128, 128), tmp_path, scheme, part=part)
    assert artifact.manifest.verified == "passed"


@pytest.fixture
def export(tiny_pair: Checkpoint, tmp_path: Path) -> Callable[..., int]:
    return lambda *arguments: run("export", "--target", "onnx", "--size", 64, "--out", tmp_path / "build", *arguments)


def test_export_writes_two_files_or_one(
    tiny_pair: Checkpoint, export: Callable[..., int], paintings: tuple[Path, Path], tmp_path: Path
) -> None:
    assert export("--model", tiny_pair.folder) == 0
    assert export("--model", tiny_pair.folder, "--style", paintings[0], "--strength", 0.5) == 0
    names = {path.name for path in (tmp_path / "build").glob("*.onnx")}
    assert names == {"tiny-encoder-256.onnx", "tiny-64.onnx", "tiny-one-64.onnx"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "great_wave", "--style", "one.png"], "has learned its paintings"),
        (["--model", "tiny", "--strength", "0.5"], "need a --style"),
        (["--model", "tiny", "--style", "one.png", "--strength", "-1"], "from 0"),
    ],
)
def test_bad_exports_are_one_line(
    tiny_pair: Checkpoint,
    export: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert export(*(str(tiny_pair.folder) if a == "tiny" else a for a in arguments)) == 2
    assert message in capsys.readouterr().err


# Timing -------------------------------------------------------------------------------------------------------------


def test_both_files_are_timed_the_transformer_by_the_example_code(build: Path) -> None:
    from edgestyle.latency import plan
    from edgestyle.latency.measure import Effort, time_here

    jobs = [job for job in plan.jobs([str(build)]) if job.availability.status == "works"]
    effort = Effort(runs=5, warmup_runs=1, warmup_s=0)
    found = {job.about.model: time_here(job.subject, effort) for job in jobs}
    expected = {"tiny": SIZE, "tiny-encoder": (styling.SIDE, styling.SIDE)} if jobs else {}  # Core ML needs macOS
    assert {model: timing.size for model, timing in found.items()} == expected
    assert all(len(timing.samples_ms) == 5 for timing in found.values())


def test_the_checkpoint_is_timed_with_a_painting_folded_in(tiny_pair: Checkpoint) -> None:
    from edgestyle.latency.measure import Effort, time_here
    from edgestyle.latency.subject import Network

    timing = time_here(Network(tiny_pair.folder, SIZE), Effort(runs=5, warmup_runs=1, warmup_s=0))
    assert timing.size == SIZE
    assert len(timing.samples_ms) == 5


def test_what_is_there_is_not_exported_again(tiny_pair: Checkpoint, target: Target, build: Path) -> None:
    path = named(build, "transformer")
    before = path.stat().st_mtime_ns
    part = next(part for part in parts.of(tiny_pair, target) if part.role == "transformer")
    assert exporting.export_unless_there(tiny_pair, target, SIZE, build, part=part) == path
    assert path.stat().st_mtime_ns == before
