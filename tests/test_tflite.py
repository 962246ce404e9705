"""The TFLite target and the runner that opens its files, and other people's."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure
from edgestyle.errors import ConfigError, MissingExtraError, UsageError
from edgestyle.export.tflite_dialect import dialect
from edgestyle.export.to_tflite import TARGET
from edgestyle.exporting import check_request, contract_for
from edgestyle.feedforward import FeedForward, FeedForwardConfig
from edgestyle.learned import deploy
from edgestyle.manifest import METADATA_KEY, Contract
from edgestyle.quiet import quiet
from edgestyle.runner import Image
from edgestyle.runners.litert_cpu import RUNNER

pytest.importorskip("litert_torch")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
interpreters = pytest.importorskip("ai_edge_litert.interpreter")

HEIGHT, WIDTH = 64, 96
GPU_OPS = {
    "ADD",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "LOGISTIC",
    "MEAN",
    "MUL",
    "PAD",
    "RESHAPE",
}
GPU_OPS |= {"RELU6", "SPACE_TO_DEPTH", "SUB"}
"""Of what LiteRT's GPU delegates take (tensorflow/lite/tools/versioning/gpu_compatibility.cc), all that is needed."""


@pytest.fixture(scope="module")
def contract(tiny_checkpoint: Checkpoint) -> Contract:
    contract = contract_for(tiny_checkpoint, TARGET, "fp32", (HEIGHT, WIDTH), FeedForward.stride)
    return contract.model_copy(update={"licence": "Übung"})  # as UTF-8 in the file


@pytest.fixture(scope="module")
def written(tiny_checkpoint: Checkpoint, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tflite") / "tiny-96x64.tflite"
    TARGET.write(tiny_checkpoint.network(), contract, path)
    return path


def photo(height: int = HEIGHT, width: int = WIDTH) -> Image:
    crop = skimage.data.astronaut()[:height, :width].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


def test_dialect_equals_the_network() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = deploy(FeedForward(FeedForwardConfig(width=16, trunk_width=24, trunk_blocks=2)))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.from_numpy(photo(96, 64))
    torch.testing.assert_close(dialect(net)(image), net(image), rtol=0, atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_written_file_paints_as_the_network(tiny_checkpoint: Checkpoint, written: Path) -> None:
    pictures = np.concatenate([photo(), photo()[:, :, ::-1]])
    actual = RUNNER.open(written).run(pictures)
    expected = tiny_checkpoint.network()(torch.from_numpy(pictures)).numpy()
    assert expected.std() > 0.01
    assert measure(actual, expected).psnr_db >= 70


def test_an_app_meets_our_names_and_channel_last_floats(written: Path) -> None:
    with quiet():
        interpreter = interpreters.Interpreter(str(written))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["stylized"]}}
    ends = *interpreter.get_input_details(), *interpreter.get_output_details()
    assert [end["name"] for end in ends] == ["image", "stylized"]
    assert all(end["shape"].tolist() == [1, HEIGHT, WIDTH, 3] and end["dtype"] is np.float32 for end in ends)


def test_contract_comes_back_from_the_file(written: Path, contract: Contract) -> None:
    session = RUNNER.open(written)
    assert session.contract == contract
    assert session.size == (HEIGHT, WIDTH)


def test_ops_are_those_that_every_delegate_takes(written: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf(written.read_bytes())
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    ops = Counter(names[model.operatorCodes[op.opcodeIndex].builtinCode] for op in model.subgraphs[0].operators)
    assert ops.keys() <= GPU_OPS
    assert ops["DEPTH_TO_SPACE"] == 2
    assert ops["SPACE_TO_DEPTH"] == 1


def test_the_cpu_delegate_takes_the_whole_graph(written: Path) -> None:
    compiled_model = pytest.importorskip("ai_edge_litert.compiled_model")
    accelerators = pytest.importorskip("ai_edge_litert.hardware_accelerator")
    with quiet():
        model = compiled_model.CompiledModel.from_file(
            str(written), hardware_accel=accelerators.HardwareAccelerator.CPU
        )
    assert model.is_fully_accelerated()


def test_names_no_file_of_this_machine(written: Path) -> None:
    content = written.read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in content
    assert str(Path(__file__).parents[1]).encode() not in content


def test_free_size_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="fixed size"):
        check_request(TARGET, "dynamic", None)


def test_other_sizes_are_refused(written: Path) -> None:
    with pytest.raises(UsageError, match="takes 64x96 pixels; the picture is 96x64"):
        RUNNER.open(written).run(photo(96, 64))


def test_missing_packages_name_the_extra(
    monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Checkpoint, contract: Contract, written: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(MissingExtraError, match=r"edgestyle\[tflite\]"):
        TARGET.write(tiny_checkpoint.network(), contract, tmp_path / "x.tflite")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"edgestyle\[tflite\]"):
        RUNNER.open(written)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"this is a text\n" * 20,
        lambda _: b"\x08\0\0\0TFL3",
        lambda _: b"\xff\xff\xff\x7fTFL3" + bytes(64),
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:200] + b"\xff" * 200 + content[400:],
    ],
)
def test_damaged_files_are_refused_in_one_line(
    damage: Callable[[bytes], bytes], written: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(damage(written.read_bytes()))
    with pytest.raises(ConfigError) as error:
        RUNNER.open(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            RUNNER.open(path)


def test_malformed_contract_is_refused(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes().replace(b'{"schema_version"', b'{"schema_\xffersion"')
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(ConfigError, match="metadata"):
        RUNNER.open(tmp_path / "bad.tflite")


def foreign(path: Path, op: str, *ends: dict[str, Any]) -> Path:
    """Write a TFLite file of one op; `ends` are its inputs and, last, its output: shape, type, scale, zero, free."""
    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    graph.tensors = []
    for index, end in enumerate(ends):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"end_{index}", end["shape"], 0
        tensor.shapeSignature = end.get("free", end["shape"])
        tensor.type = getattr(schema.TensorType, end.get("type", "FLOAT32"))
        if "scale" in end:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [end["scale"]], [end["zero"]]
        graph.tensors.append(tensor)
    graph.inputs = operator.inputs = list(range(len(ends) - 1))
    graph.outputs = operator.outputs = [len(ends) - 1]
    graph.operators = [operator]
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [code], [schema.BufferT()]
    from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray

    path.write_bytes(convert_object_to_bytearray(model))
    return path


CHANNEL_LAST, CHANNEL_FIRST = {"shape": [1, 16, 24, 3]}, {"shape": [1, 3, 16, 24]}


def test_foreign_integers_are_scaled(tmp_path: Path) -> None:
    bytes_in = {**CHANNEL_LAST, "type": "UINT8", "scale": 1 / 255, "zero": 0}
    bytes_out = {**CHANNEL_LAST, "type": "INT8", "scale": 1 / 128, "zero": -100}
    session = RUNNER.open(foreign(tmp_path / "quantized.tflite", "QUANTIZE", bytes_in, bytes_out))
    assert session.contract is None
    assert session.size == (16, 24)
    image = photo(16, 24)
    np.testing.assert_allclose(session.run(image), image, atol=1 / 128)


def test_foreign_bytes_without_scale_are_plain_bytes(tmp_path: Path) -> None:
    end = {**CHANNEL_LAST, "type": "UINT8"}
    image = photo(16, 24)
    picture = RUNNER.open(foreign(tmp_path / "bytes.tflite", "CAST", end, end)).run(image)
    np.testing.assert_allclose(picture, image, atol=1e-6)


def test_foreign_layouts_and_free_sizes_are_seen(tmp_path: Path) -> None:
    image = photo(16, 24)
    first = RUNNER.open(foreign(tmp_path / "nchw.tflite", "RELU6", CHANNEL_FIRST, CHANNEL_FIRST))
    np.testing.assert_array_equal(first.run(image), image)
    end = {"shape": [1, 1, 1, 3], "free": [1, -1, -1, 3]}
    free = RUNNER.open(foreign(tmp_path / "free.tflite", "RELU6", end, end))
    assert free.size is None
    for height, width in ((16, 24), (24, 8)):
        np.testing.assert_array_equal(free.run(photo(height, width)), photo(height, width))


@pytest.mark.parametrize(
    ("op", "ends", "came"),
    [
        ("ADD", [CHANNEL_LAST, CHANNEL_LAST, CHANNEL_LAST], "inputs are end_0 float32"),
        ("RELU6", [{"shape": [1, 10]}, {"shape": [1, 10]}], r"takes end_0 float32 \(1, 10\)"),
        ("RELU6", [{"shape": [1, 8, 8, 4]}, {"shape": [1, 8, 8, 4]}], "no picture"),
    ],
)
def test_foreign_files_of_another_kind_are_refused(
    op: str, ends: list[dict[str, Any]], came: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=came):
        RUNNER.open(foreign(tmp_path / "other.tflite", op, *ends))


def test_quiet_silences_all_and_breaks_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("edgestyle.test.quiet")
    with quiet():
        print("python")  # noqa: T201
        os.write(1, b"as C++ does")
        os.write(2, b"as C++ does")
        handler = logging.StreamHandler()
        logger.addHandler(handler)
    assert capfd.readouterr() == ("", "")
    logger.warning("a logger made within still has its stream")
    logger.removeHandler(handler)
    with pytest.raises(ValueError, match="through"), quiet():
        raise ValueError("through")
    os.write(1, b"back")
    assert capfd.readouterr().out == "back"


def test_contract_stands_in_a_metadata_entry_of_its_own(written: Path, contract: Contract) -> None:
    model = schema.ModelT.InitFromPackedBuf(written.read_bytes())
    entries = {entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata}
    assert Contract.model_validate_json(entries[METADATA_KEY]) == contract
