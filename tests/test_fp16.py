"""The fp16 scheme: half the weights, the same picture, and a file that is called as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from edgestyle import gates, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure
from edgestyle.exporting import contract_for
from edgestyle.feedforward import FeedForward
from edgestyle.quantize.fp16 import SCHEME
from edgestyle.runner import Image, Runner
from edgestyle.target import Target

SIZE = (64, 96)


def export(checkpoint: Checkpoint, name: str, folder: Path) -> tuple[Path, Path]:
    """An fp32 file and its fp16 rewrite."""
    target: Target = registry.load(registry.TARGETS, name)
    contract = contract_for(checkpoint, target, "fp16", SIZE, FeedForward.stride)
    full, half = folder / f"full{target.suffix}", folder / f"half{target.suffix}"
    target.write(checkpoint.network(), contract, full)
    shutil.copyfile(full, half)
    SCHEME.rewrites[name](half)
    return full, half


@pytest.fixture(scope="session")
def onnx_files(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("onnxscript")
    return export(tiny_checkpoint, "onnx", tmp_path_factory.mktemp("fp16-onnx"))


@pytest.fixture(scope="session")
def tflite_files(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("ai_edge_quantizer")
    return export(tiny_checkpoint, "tflite", tmp_path_factory.mktemp("fp16-tflite"))


def photo() -> Image:
    crop = skimage.data.astronaut()[:64, 100:196].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


def painted_by_torch(checkpoint: Checkpoint) -> Image:
    import torch

    with torch.inference_mode():
        return checkpoint.network()(torch.from_numpy(photo())).numpy()


def check(files: tuple[Path, Path], target: Target, checkpoint: Checkpoint) -> None:
    """Contract kept, picture kept, and really another file."""
    runner: Runner = registry.load(registry.RUNNERS, target.runner)
    full, half = (runner.open(path) for path in files)
    assert half.contract is not None
    assert (half.contract, half.size) == (full.contract, full.size)
    drift = measure(half.run(photo()), painted_by_torch(checkpoint))
    assert gates.find("fp16", runner).psnr_db <= drift.psnr_db < 110  # fp32 files are above


def test_onnx_file_paints_the_same(onnx_files: tuple[Path, Path], tiny_checkpoint: Checkpoint) -> None:
    check(onnx_files, registry.load(registry.TARGETS, "onnx"), tiny_checkpoint)


def test_onnx_file_holds_in_true_half_precision(onnx_files: tuple[Path, Path], tiny_checkpoint: Checkpoint) -> None:
    """ONNX Runtime's CPU computes in fp32 whatever the file says; ONNX's own evaluator rounds at each op."""
    from onnx.reference import ReferenceEvaluator

    (painted,) = ReferenceEvaluator(str(onnx_files[1])).run(None, {"image": photo()})
    assert painted.dtype == np.float32
    drift = measure(painted, painted_by_torch(tiny_checkpoint))
    assert 55 <= drift.psnr_db < 90  # of the weights' rounding alone it is 95


def test_onnx_graph_is_fp16_from_the_first_convolution(onnx_files: tuple[Path, Path]) -> None:
    import onnx

    full, half = (onnx.load(path) for path in onnx_files)
    before, after = ([node.op_type for node in model.graph.node] for model in (full, half))
    first = before.index("Conv")
    assert after == [*before[:first], "Cast", *before[first:], "Cast"]
    floats = [tensor for tensor in half.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert {tensor.name for tensor in floats} <= {name for node in half.graph.node[:first] for name in node.input}
    assert not any(tensor.dims for tensor in floats)  # constants of the picture's normalisation
    for old, new in ((full.graph.input, half.graph.input), (full.graph.output, half.graph.output)):
        assert list(old) == list(new)  # names, shapes, float32
    assert list(full.metadata_props) == list(half.metadata_props)


def test_tflite_file_paints_the_same(tflite_files: tuple[Path, Path], tiny_checkpoint: Checkpoint) -> None:
    check(tflite_files, registry.load(registry.TARGETS, "tflite"), tiny_checkpoint)


def test_tflite_weights_are_fp16_and_its_signature_stays(tflite_files: tuple[Path, Path]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    full, half = (schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0)) for path in tflite_files)
    constants = [tensor for tensor in half.subgraphs[0].tensors if half.buffers[tensor.buffer].data is not None]
    kernels = [tensor for tensor in constants if len(tensor.shape) == 4 and max(tensor.shape) > 1]
    assert len(kernels) >= 8
    assert {tensor.type for tensor in kernels} == {schema.TensorType.FLOAT16}
    for end in ("inputs", "outputs"):
        old, new = ([entry.name for entry in getattr(m.signatureDefs[0], end)] for m in (full, half))
        assert old == new
        tensors = half.subgraphs[0].tensors
        assert all(tensors[index].type == schema.TensorType.FLOAT32 for index in getattr(half.subgraphs[0], end))
    assert half.signatureDefs[0].signatureKey == b"serving_default"
    assert half.description == full.description


def test_rewrites_say_nothing(
    onnx_files: tuple[Path, Path], tflite_files: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, (full, _) in (("onnx", onnx_files), ("tflite", tflite_files)):
        copy = tmp_path / full.name
        shutil.copyfile(full, copy)
        capfd.readouterr()
        SCHEME.rewrites[name](copy)
        assert capfd.readouterr() == ("", "")
