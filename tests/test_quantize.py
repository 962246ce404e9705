"""Schemes on every target that they serve: the written files, run as an app would."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from edgestyle import exporting, gates, images, registry
from edgestyle.drift import measure
from edgestyle.errors import CheckError
from edgestyle.feedforward import FeedForward, FeedForwardConfig
from edgestyle.files import size_in_bytes
from edgestyle.learned import deploy
from edgestyle.manifest import Contract
from edgestyle.quantization import photos
from edgestyle.quantization.calibration import Calibration, calibrate
from edgestyle.target import Scheme, Target
from edgestyle.training.initialisation import unit_variance

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint

SIZE = (64, 64)
SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in registry.load_all(registry.SCHEMES)}
SERVED = [(name, target) for name, scheme in SCHEMES.items() for target in sorted(scheme.targets)]


@pytest.fixture(scope="module")
def net() -> FeedForward:
    """Random weights under which values are of the size that they have in a trained network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = FeedForward(FeedForwardConfig(width=16, trunk_width=32, trunk_blocks=2)).eval()
        for module in net.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.1)
        unit_variance(net, torch.cat([torch.from_numpy(photo) for photo in photos.load(None, SIZE)]))
        *_, last = (module for module in net.modules() if isinstance(module, torch.nn.Conv2d))
        last.weight.data *= 0.25
    return deploy(net)


@pytest.fixture(scope="module")
def calibration(net: FeedForward) -> Calibration:
    return calibrate(net, photos.load(None, SIZE))


@pytest.fixture(scope="module")
def references(net: FeedForward) -> list[tuple[images.Image, images.Image]]:
    """Photos that are not calibrated on, and the float network's pictures of them."""
    fitted = [images.centre_crop(photo, SIZE) for photo in images.sample_photos().values()]
    held_out = [images.from_uint8(images.to_uint8(photo)) for photo in fitted]
    with torch.inference_mode():
        return [(photo, net(torch.from_numpy(photo)).numpy()) for photo in held_out]


def contract_of(checkpoint: Checkpoint, target: Target, scheme: str) -> Contract:
    return exporting.contract_for(checkpoint, target, scheme, SIZE, FeedForward.stride)


@pytest.fixture(scope="module")
def floats(net: FeedForward, tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file that schemes are put on, by target."""
    folder, written = tmp_path_factory.mktemp("floats"), {}
    for target in registry.load_all(registry.TARGETS):
        written[target.name] = folder / f"float{target.suffix}"
        target.write(net, contract_of(tiny_checkpoint, target, target.default_scheme), written[target.name])
    return written


@pytest.fixture(scope="module")
def files(
    floats: dict[str, Path], calibration: Calibration, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Path]:
    """Every scheme on every target that it serves."""
    folder, written = tmp_path_factory.mktemp("quantized"), {}
    for name, target in SERVED:
        path = written[name, target] = folder / f"{name}{floats[target].suffix}"
        copy(floats[target], path)
        if target in SCHEMES[name].calibrated:
            SCHEMES[name].calibrated[target](path, calibration)
        else:
            SCHEMES[name].rewrites[target](path)
    return written


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def session_of(path: Path, target: str) -> Any:
    return registry.load(registry.RUNNERS, registry.load(registry.TARGETS, target).runner).open(path)


@pytest.mark.parametrize(("scheme", "target"), SERVED)
def test_every_scheme_stays_within_its_gate_on_photos_that_it_has_not_seen(
    files: dict[tuple[str, str], Path], references: Any, scheme: str, target: str
) -> None:
    runner = registry.load(registry.RUNNERS, registry.load(registry.TARGETS, target).runner)
    gate = gates.find(scheme, runner)
    session = runner.open(files[scheme, target])
    worst = min(measure(session.run(photo), expected).psnr_db for photo, expected in references)
    assert worst >= gate.psnr_db


@pytest.mark.parametrize(
    ("scheme", "target"),
    SERVED,
)
def test_every_scheme_makes_the_file_smaller(
    files: dict[tuple[str, str], Path], floats: dict[str, Path], scheme: str, target: str
) -> None:
    assert size_in_bytes(files[scheme, target]) < size_in_bytes(floats[target])


@pytest.mark.parametrize(("scheme", "target"), SERVED)
def test_every_scheme_keeps_the_contract(
    files: dict[tuple[str, str], Path], floats: dict[str, Path], scheme: str, target: str
) -> None:
    assert session_of(files[scheme, target], target).contract == session_of(floats[target], target).contract


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_says_what_it_gains_and_where(scheme: str) -> None:
    assert scheme in gates.FORMATS
    assert SCHEMES[scheme].gain
    assert SCHEMES[scheme].pays


def test_int8_gives_nearly_the_same_picture_on_every_target(
    files: dict[tuple[str, str], Path], references: Any
) -> None:
    sessions = {target: session_of(files["int8", target], target) for target in ("onnx", "tflite", "coreml")}
    for photo, _ in references:
        pictures = {target: session.run(photo) for target, session in sessions.items()}
        for one, other in combinations(pictures, 2):
            assert measure(pictures[one], pictures[other]).psnr_db >= 40, (one, other)


@pytest.mark.parametrize("scheme", ["int8", "int8-a16"])
def test_the_onnx_file_runs_wholly_on_an_npu(files: dict[tuple[str, str], Path], references: Any, scheme: str) -> None:
    npu = registry.load(registry.RUNNERS, "onnxruntime-qnn")
    if npu.probe().status != "works":
        pytest.skip(npu.probe().remark)
    session = npu.open(files[scheme, "onnx"])
    assert session.placement().resident
    photo, expected = references[0]
    assert measure(session.run(photo), expected).psnr_db >= gates.find(scheme, npu).psnr_db


def test_int8_tflite_computes_in_integers_alone(files: dict[tuple[str, str], Path]) -> None:
    ops = _tflite_ops(files["int8", "tflite"])
    assert [kind for kind, dtypes in ops if "float32" in dtypes] == ["QUANTIZE", "DEQUANTIZE"]


def test_int8_onnx_gives_every_layer_integers(files: dict[tuple[str, str], Path]) -> None:
    import onnx

    graph = onnx.load(files["int8", "onnx"]).graph
    made = {node.output[0]: node for node in graph.node}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert layers
    for layer in layers:
        assert [made[name].op_type for name in layer.input] == ["DequantizeLinear"] * len(layer.input)


def test_int8_coreml_rounds_what_every_layer_takes(files: dict[tuple[str, str], Path]) -> None:
    from edgestyle import coreml_package, coreml_program

    package = coreml_package.read(files["int8", "coreml"])
    layers = [op for op in coreml_program.load(package).operations if op.op_type in ("conv", "linear")]
    assert layers
    for op in layers:
        before = op.x.op
        while before.op_type in ("reshape", "expand_dims"):
            before = before.x.op
        assert before.op_type == "dequantize", op.name
        assert op.weight.op.op_type == "constexpr_affine_dequantize"


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_bytes_at_both_ends_change_nothing_but_their_rounding(
    files: dict[tuple[str, str], Path], references: Any, tmp_path: Path, target: str
) -> None:
    path = tmp_path / files["int8", target].name
    copy(files["int8", target], path)
    SCHEMES["int8"].bytes[target](path)
    with_bytes, with_floats = session_of(path, target), session_of(files["int8", target], target)
    for photo, _ in references:
        assert np.abs(with_bytes.run(photo) - with_floats.run(photo)).max() <= 0.5 / 255 + 1e-6
    assert with_bytes.encode(references[0][0]).dtype == np.uint8


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_bytes_are_refused_where_the_file_begins_in_floats(
    files: dict[tuple[str, str], Path], tmp_path: Path, target: str
) -> None:
    path = tmp_path / files["int8-weights", target].name
    copy(files["int8-weights", target], path)
    with pytest.raises(CheckError, match="floats"):
        SCHEMES["int8"].bytes[target](path)


def test_a_layer_left_in_floats_is_so_on_every_target(
    floats: dict[str, Path], calibration: Calibration, references: Any, tmp_path: Path
) -> None:
    layer = next(value.layer for value in calibration.values if value.layer.startswith("finish.0") and value.fused_with)
    paths = {target: tmp_path / path.name for target, path in floats.items()}
    for target, path in paths.items():
        copy(floats[target], path)
        SCHEMES["int8"].calibrated[target](path, calibration.without([layer]))
    assert _float_layers(paths) == {"onnx": 2, "tflite": 2, "coreml": 2}  # the layer, and the one that takes its values
    photo, expected = references[0]
    pictures = [session_of(path, target).run(photo) for target, path in paths.items()]
    for one, other in combinations(pictures, 2):
        assert measure(one, other).psnr_db >= 40
    assert measure(pictures[0], expected).psnr_db >= 36


@pytest.mark.parametrize("target", ["onnx", "tflite", "coreml"])
def test_ranges_of_another_network_are_refused(floats: dict[str, Path], tmp_path: Path, target: str) -> None:
    torch.manual_seed(1)
    other = deploy(FeedForward(FeedForwardConfig(width=16, trunk_width=32, trunk_blocks=2)))
    path = tmp_path / floats[target].name
    copy(floats[target], path)
    with pytest.raises(CheckError, match="the file holds nothing like"):
        SCHEMES["int8"].calibrated[target](path, calibrate(other, photos.load(None, SIZE)[:1]))


def _tflite_ops(path: Path) -> list[tuple[str, set[str]]]:
    """Each op's kind and the types of what it takes and gives."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    dtypes = {tensor["index"]: tensor["dtype"].__name__ for tensor in interpreter.get_tensor_details()}
    ops = interpreter._get_ops_details()
    return [(op["op_name"], {dtypes[i] for i in [*op["inputs"], *op["outputs"]] if i >= 0}) for op in ops]


def _float_layers(paths: dict[str, Path]) -> dict[str, int]:
    """How many layers compute in floats, by target."""
    import onnx

    from edgestyle import coreml_package, coreml_program

    graph = onnx.load(paths["onnx"]).graph
    constants = {tensor.name for tensor in graph.initializer}
    operations = coreml_program.load(coreml_package.read(paths["coreml"])).operations
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return {
        "onnx": sum(node.op_type in ("Conv", "Gemm") and node.input[1] in constants for node in graph.node),
        "tflite": sum(kind in kinds and "float32" in dtypes for kind, dtypes in _tflite_ops(paths["tflite"])),
        "coreml": sum(op.op_type in ("conv", "linear") and op.weight.op.op_type == "const" for op in operations),
    }
