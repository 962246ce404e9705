"""The Core ML target, its packages and other people's, and Core ML itself as far as it goes off a Mac."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data

pytest.importorskip("coremltools")

from edgestyle import coreml_package
from edgestyle.checkpoint import Checkpoint
from edgestyle.coreml_package import End
from edgestyle.coreml_trace import trace
from edgestyle.drift import PSNR_CEILING_DB, measure
from edgestyle.errors import ConfigError, MissingExtraError, UnavailableError, UsageError
from edgestyle.export.to_coreml import TARGET
from edgestyle.exporting import contract_for
from edgestyle.feedforward import FeedForward
from edgestyle.files import sha256
from edgestyle.images import Image
from edgestyle.manifest import METADATA_KEY, Contract
from edgestyle.quiet import quiet
from edgestyle.runner import Placement
from edgestyle.runners import coreml
from edgestyle.runners.coreml_evaluator import RUNNER, EvaluatorSession
from edgestyle.target import Size

ct = coreml_package.import_coremltools()
CORE_ML = {"cpu": coreml.CPU, "gpu": coreml.GPU, "ane": coreml.ANE}
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
OPS = {
    "add",
    "clip",
    "conv",
    "mul",
    "pixel_shuffle",
    "reduce_mean",
    "sigmoid",
    "sub",
}


def contract_of(checkpoint: Checkpoint, scheme: str = "fp16", size: Size = (64, 96)) -> Contract:
    return contract_for(checkpoint, TARGET, scheme, size, FeedForward.stride)


def written(checkpoint: Checkpoint, folder: Path, scheme: str) -> Path:
    path = folder / f"tiny-{scheme}.mlpackage"
    TARGET.write(checkpoint.network(), contract_of(checkpoint, scheme), path)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coreml")


@pytest.fixture(scope="session")
def fp16(tiny_checkpoint: Checkpoint, folder: Path) -> Path:
    return written(tiny_checkpoint, folder, "fp16")


@pytest.fixture(scope="session")
def fp32(tiny_checkpoint: Checkpoint, folder: Path) -> Path:
    return written(tiny_checkpoint, folder, "fp32")


@pytest.fixture(scope="session")
def photo() -> Image:
    crop = skimage.data.astronaut()[:64, 180:276].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


@pytest.fixture(scope="session")
def painting(tiny_checkpoint: Checkpoint, photo: Image) -> Image:
    import torch

    with torch.inference_mode():
        return tiny_checkpoint.network()(torch.from_numpy(photo)).numpy()


def ops(path: Path) -> Counter[str]:
    spec = ct.utils.load_spec(str(path))
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    return Counter(op.type for op in block.operations if op.type != "const")


# The target ----------------------------------------------------------------------------------------


def test_the_file_agrees_with_the_network(fp16: Path, fp32: Path, photo: Image, painting: Image) -> None:
    assert measure(RUNNER.open(fp16).run(photo), painting).psnr_db >= 60
    assert measure(RUNNER.open(fp32).run(photo), painting).psnr_db >= 100


def test_pixels_are_exact_in_fp16(fp16: Path, photo: Image) -> None:
    """A flat sky, less its mean, would be left with nothing but rounding."""
    arriving, scaled, *_ = trace(fp16, photo)
    assert (arriving.type, scaled.type) == ("cast", "mul")
    assert scaled.snr_db == PSNR_CEILING_DB


def test_an_app_gives_and_gets_images(fp16: Path) -> None:
    spec = ct.utils.load_spec(str(fp16))
    for feature, name in ((spec.description.input[0], "image"), (spec.description.output[0], "stylized")):
        image = feature.type.imageType
        assert (feature.name, image.width, image.height) == (name, 96, 64)
        assert image.ColorSpace.Name(image.colorSpace) == "RGB"
        assert image.WhichOneof("SizeFlexibility") is None
        assert "96x64" in feature.shortDescription
    assert spec.specificationVersion == 7  # iOS 16


def test_the_program_is_short_and_wholly_in_its_number_format(fp16: Path, fp32: Path) -> None:
    half, full = ops(fp16), ops(fp32)
    assert set(full) == OPS
    assert half == full + Counter(cast=2)  # where the image comes in and where it goes out
    wide = [op.name for op in EvaluatorSession(fp16)._program.operations if "fp32" in str(op)]
    assert wide == ["cast_0"], "the output alone is fp32, as Core ML wants it for an image"


def test_xcode_can_show_what_it_is(tiny_checkpoint: Checkpoint, fp16: Path) -> None:
    about = ct.utils.load_spec(str(fp16)).description.metadata
    assert about.author == "edgestyle"
    assert about.license == "Apache-2.0"
    assert about.versionString
    assert about.shortDescription == "Style filter: paints a photo in the style of Random weights (nobody)."
    assert Contract.model_validate_json(about.userDefined[METADATA_KEY]) == contract_of(tiny_checkpoint)
    assert EvaluatorSession(fp16).contract == contract_of(tiny_checkpoint)
    assert EvaluatorSession(fp16).size == (64, 96)


def test_the_same_network_gives_the_same_bytes(tiny_checkpoint: Checkpoint, fp16: Path, tmp_path: Path) -> None:
    again = written(tiny_checkpoint, tmp_path, "fp16")
    assert sha256(again) == sha256(fp16)
    ct.utils.load_spec(str(again))  # Apple's library writes its own form of Manifest.json over what it opens
    assert sha256(again) == sha256(fp16)


def test_the_package_is_what_apples_own_tools_expect(fp16: Path) -> None:
    files = {path.relative_to(fp16).as_posix(): path for path in fp16.rglob("*") if path.is_file()}
    assert set(files) == {"Manifest.json", MODEL, WEIGHTS}
    assert len({stat.S_IMODE(path.stat().st_mode) for path in files.values()}) == 1, (
        "others may read all of it, or none"
    )
    with quiet():
        model = ct.models.MLModel(str(fp16), skip_model_load=True)
    assert model.input_description["image"] == "Photo, 96x64 pixels, sRGB."
    assert Path(model.weights_dir).samefile(files[WEIGHTS].parent)


def test_it_works_in_silence(tiny_checkpoint: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    EvaluatorSession(written(tiny_checkpoint, tmp_path, "fp16"))
    assert capfd.readouterr() == ("", "")


def test_the_manifest_says_what_an_app_sees() -> None:
    spec = TARGET.spec("image", (64, 96))
    assert (spec.kind, spec.shape, spec.layout) == ("image", (1, 64, 96, 3), "NHWC")
    assert (spec.dtype, spec.range, spec.channels) == ("uint8", (0, 255), "RGB")


def test_a_free_size_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert not TARGET.dynamic
    with pytest.raises(UsageError, match="fixed size"):
        TARGET.write(tiny_checkpoint.network(), contract_of(tiny_checkpoint, size="dynamic"), tmp_path / "a.mlpackage")


# The evaluator -------------------------------------------------------------------------------------


def test_pictures_of_a_batch_are_painted_one_by_one(fp16: Path, photo: Image) -> None:
    session = EvaluatorSession(fp16)
    mirrored = np.ascontiguousarray(photo[..., ::-1])
    both = session.run(np.concatenate([photo, mirrored]))
    np.testing.assert_array_equal(both, np.concatenate([session.run(photo), session.run(mirrored)]))


def test_a_bound_run_computes_the_same(fp16: Path, photo: Image) -> None:
    session = EvaluatorSession(fp16)
    run = session.bind(photo)
    np.testing.assert_allclose(run()["stylized"].numpy() / 255, session.run(photo), atol=1e-6)


def test_every_op_is_evaluated(fp16: Path) -> None:
    count = ops(fp16).total()
    assert EvaluatorSession(fp16).placement() == Placement(total=count, delegated=count, partitions=1)


def test_eight_bits_come_at_the_very_end(fp16: Path, photo: Image) -> None:
    exact, rounded = EvaluatorSession(fp16).run(photo), EvaluatorSession(fp16, eight_bit=True).run(photo)
    np.testing.assert_array_equal(rounded, np.rint(exact * 255) / np.float32(255))
    assert measure(rounded, exact).psnr_db == pytest.approx(58.9, abs=0.5)


def test_an_image_holds_eight_bits(fp32: Path, photo: Image) -> None:
    session = EvaluatorSession(fp32)
    np.testing.assert_array_equal(session.run(photo + np.float32(0.001)), session.run(photo))


def test_another_size_is_refused(fp16: Path, photo: Image) -> None:
    with pytest.raises(UsageError, match="takes pictures of 96x64 pixels, not 88x64"):
        EvaluatorSession(fp16).run(photo[..., :88])


def _no_manifest(path: Path) -> None:
    (path / "Manifest.json").unlink()


def _odd_manifest(path: Path) -> None:
    (path / "Manifest.json").write_text(json.dumps({"itemInfoEntries": []}))


def _no_model(path: Path) -> None:
    (path / MODEL).unlink()


def _cut_model(path: Path) -> None:
    (path / MODEL).write_bytes((path / MODEL).read_bytes()[:-100])


def _empty_model(path: Path) -> None:
    (path / MODEL).write_bytes(b"")


def _no_weights(path: Path) -> None:
    shutil.rmtree(path / "Data/com.apple.CoreML/weights")


def _cut_weights(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:1000])


def _empty_weights(path: Path) -> None:
    (path / WEIGHTS).write_bytes(b"")


def _odd_contract(path: Path) -> None:
    spec = ct.utils.load_spec(str(path))
    spec.description.metadata.userDefined[METADATA_KEY] = "{}"
    (path / MODEL).write_bytes(spec.SerializeToString())


def _neural_network(path: Path) -> None:
    spec = ct.proto.Model_pb2.Model(specificationVersion=5)
    spec.neuralNetwork.SetInParent()
    (path / MODEL).write_bytes(spec.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_manifest, "is not a Core ML package: its Manifest.json is missing"),
        (_odd_manifest, "is not a Core ML package: its Manifest.json is missing or malformed"),
        (_no_model, "is damaged: model.mlmodel is missing"),
        (_cut_model, "is damaged: model.mlmodel is missing or cut short"),
        (_empty_model, "holds nothing, not an ML Program"),
        (_no_weights, "is damaged: Could not open"),
        (_cut_weights, "is damaged: .* copy or export it again"),
        (_empty_weights, "is damaged: .* copy or export it again"),
        (_odd_contract, "the metadata of .* is malformed"),
        (_neural_network, "holds neuralNetwork, not an ML Program"),
    ],
)
def test_a_broken_package_is_one_clear_line(
    fp16: Path, damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.mlpackage"
    shutil.copytree(fp16, path)
    damage(path)
    with pytest.raises(ConfigError, match=message) as raised:
        RUNNER.open(path)
    assert "\n" not in str(raised.value)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mlpackage"
    with pytest.raises(ConfigError, match="there is nothing of that name"):
        RUNNER.open(path)
    path.write_text("no package")
    with pytest.raises(ConfigError, match="it is a file, a package is a folder"):
        RUNNER.open(path)


def test_a_missing_coremltools_is_one_line(
    tiny_checkpoint: Checkpoint, fp16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgestyle\[coreml\]'"):
        RUNNER.open(fp16)
    with pytest.raises(MissingExtraError):
        written(tiny_checkpoint, tmp_path, "fp16")
    monkeypatch.delitem(sys.modules, "coremltools")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("edgestyle.runner.find_spec", lambda name: None)
    for thing in (TARGET, RUNNER):
        assert thing.probe().status == "missing"
        assert thing.probe().install == "pip install 'edgestyle[coreml]'"


# Other people's packages ---------------------------------------------------------------------------


def foreign(path: Path, inputs: list[Any], outputs: list[Any] | None = None, scale: float = 0.5) -> Path:
    """A package by coremltools' own writer whose network multiplies by `scale`."""
    import torch

    class Scale(torch.nn.Module):
        def forward(self, *x: torch.Tensor) -> torch.Tensor:
            return sum(x) * scale  # type: ignore[return-value]

    examples = tuple(torch.zeros(tuple(i.shape.shape)) for i in inputs)
    with quiet():
        program = torch.export.export(Scale(), examples).run_decompositions({})
        ct.convert(
            program, inputs=inputs, outputs=outputs, minimum_deployment_target=ct.target.iOS16, skip_model_load=True
        ).save(str(path))
    return path


@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (1, 64, 96, 3)])
def test_arrays_go_in_and_out_too(shape: tuple[int, ...], photo: Image, tmp_path: Path) -> None:
    session = RUNNER.open(foreign(tmp_path / "a.mlpackage", [ct.TensorType("x", shape)]))
    assert session.contract is None
    assert session.size == (64, 96)
    np.testing.assert_allclose(session.run(photo), photo / 2, atol=1e-3)


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_channels_keep_their_colour(layout: str, photo: Image, tmp_path: Path) -> None:
    image = ct.ImageType("x", (1, 3, 64, 96), scale=1 / 255, bias=[0.2, 0.1, 0], color_layout=layout)
    output = ct.ImageType("y", color_layout=ct.colorlayout.RGB)
    session = RUNNER.open(foreign(tmp_path / "a.mlpackage", [image], [output], scale=255.0))
    biased = photo[:, :: 1 if layout == "RGB" else -1] + np.array([0.2, 0.1, 0], np.float32).reshape(-1, 1, 1)
    np.testing.assert_allclose(session.run(photo), np.clip(biased, 0, 1), atol=2e-3)


def test_what_does_not_map_a_picture_to_a_picture_is_refused(tmp_path: Path) -> None:
    two = foreign(tmp_path / "two.mlpackage", [ct.TensorType(name, (1, 3, 8, 8)) for name in "ab"])
    with pytest.raises(ConfigError, match="has 2 inputs; only one picture in and one out can be run"):
        RUNNER.open(two)
    grey = foreign(tmp_path / "grey.mlpackage", [ct.ImageType("x", (1, 1, 8, 8), color_layout="G")])
    with pytest.raises(ConfigError, match="an image in GRAYSCALE; only RGB and BGR"):
        RUNNER.open(grey)
    deep = foreign(tmp_path / "deep.mlpackage", [ct.TensorType("x", (1, 5, 8, 8))])
    with pytest.raises(
        ConfigError, match=r"an array of shape \(1, 5, 8, 8\); \(1, 3, H, W\) or \(1, H, W, 3\) can be run"
    ):
        RUNNER.open(deep)


# Core ML itself ------------------------------------------------------------------------------------


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML is here")
@pytest.mark.parametrize("runner", CORE_ML, ids=str)
def test_off_a_mac_it_says_so(runner: str, fp16: Path) -> None:
    probe = CORE_ML[runner].probe()
    assert (probe.status, probe.reason) == ("cannot run", "needs macOS")
    with pytest.raises(UnavailableError, match="needs macOS; the delegate coreml-evaluator"):
        CORE_ML[runner].open(fp16)


@pytest.mark.skipif(platform.system() != "Darwin", reason="needs macOS")
@pytest.mark.parametrize("runner", CORE_ML, ids=str)
def test_on_a_mac_it_agrees_with_the_network(runner: str, fp16: Path, photo: Image, painting: Image) -> None:
    assert measure(CORE_ML[runner].open(fp16).run(photo), painting).psnr_db >= 45


@pytest.mark.parametrize("colours", ["RGB", "BGR"])
def test_core_ml_is_given_pil_images(colours: Any, photo: Image) -> None:
    end = End("image", "image", colours, "NCHW", (0, 255), (64, 96))
    picture = coreml.to_coreml(end, photo)
    assert (picture.mode, picture.size) == ("RGB", (96, 64))
    np.testing.assert_array_equal(np.asarray(picture), skimage.data.astronaut()[:64, 180:276])
    np.testing.assert_array_equal(coreml.from_coreml(end, picture.convert("RGBA")), photo)


def test_core_ml_is_given_arrays_where_it_wants_them(photo: Image) -> None:
    end = End("x", "tensor", "RGB", "NHWC", (-1, 1), (64, 96))
    array = coreml.to_coreml(end, photo)
    assert array.shape == (1, 64, 96, 3)
    np.testing.assert_allclose(array, photo.transpose(0, 2, 3, 1) * 2 - 1, atol=1e-6)
    np.testing.assert_allclose(coreml.from_coreml(end, array), photo, atol=1e-6)


class Model:
    """In place of Core ML's own, with the evaluator's `predict`: that is all that cannot run here."""

    def __init__(self, path: str, compute_units: Any) -> None:
        self.session, self.units = EvaluatorSession(Path(path), eight_bit=True), compute_units

    def predict(self, features: dict[str, PIL.Image.Image]) -> dict[str, PIL.Image.Image]:
        pixels = np.asarray(features["image"], np.float32).transpose(2, 0, 1)[None] / 255
        painted = np.rint(self.session.run(pixels)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        return {"stylized": PIL.Image.fromarray(painted).convert("RGBA")}

    def get_compiled_model_path(self) -> str:
        return "compiled.mlmodelc"


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(ct.models, "MLModel", Model)


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize(("name", "units"), [("cpu", "CPU_ONLY"), ("gpu", "CPU_AND_GPU"), ("ane", "CPU_AND_NE")])
def test_a_session_asks_core_ml_for_one_picture_after_the_other(
    name: str, units: str, fp16: Path, photo: Image
) -> None:
    session = CORE_ML[name].open(fp16)
    assert isinstance(session, coreml.CoreMLSession)
    assert session._model.units == ct.ComputeUnit[units]
    assert session.size == (64, 96)
    assert CORE_ML[name].probe().status == "works"
    both = np.concatenate([photo, photo[..., ::-1]])
    np.testing.assert_allclose(session.run(both), EvaluatorSession(fp16, eight_bit=True).run(both), atol=1e-6)


@pytest.mark.usefixtures("mac")
def test_core_ml_says_where_each_op_runs(fp16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compute plan as coremltools gives it; the types of its devices are coremltools' own."""
    devices = ct.models.compute_device
    ane, cpu = (object.__new__(devices.MLNeuralEngineComputeDevice), object.__new__(devices.MLCPUComputeDevice))
    ran = [("const", None), ("ios16.conv", ane), ("ios16.pad", cpu), ("ios16.conv", ane), ("ios16.mul", ane)]
    operations = [SimpleNamespace(operator_name=name, device=device) for name, device in ran]
    plan = SimpleNamespace(
        model_structure=SimpleNamespace(
            program=SimpleNamespace(functions={"main": SimpleNamespace(block=SimpleNamespace(operations=operations))})
        ),
        get_compute_device_usage_for_mlprogram_operation=lambda op: SimpleNamespace(preferred_compute_device=op.device),
    )
    asked: list[Any] = []

    def load(path: str, compute_units: Any) -> Any:
        asked.append((path, compute_units))
        return plan

    session = coreml.ANE.open(fp16)
    monkeypatch.setattr(ct.models.compute_plan.MLComputePlan, "load_from_path", load)
    assert session.placement() == Placement(total=4, delegated=3, partitions=2, fallback_ops=("pad",))
    assert asked == [("compiled.mlmodelc", ct.ComputeUnit.CPU_AND_NE)]


@pytest.mark.usefixtures("mac")
@pytest.mark.skipif(platform.system() == "Darwin", reason="a new macOS has compute plans")
def test_where_there_is_no_compute_plan_nothing_is_claimed(fp16: Path) -> None:
    assert coreml.GPU.open(fp16).placement() is None
