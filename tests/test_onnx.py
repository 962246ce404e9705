"""The ONNX target and the runner that opens its files, and other people's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure
from edgestyle.errors import ConfigError, UsageError
from edgestyle.export.to_onnx import TARGET
from edgestyle.exporting import contract_for
from edgestyle.feedforward import FeedForward
from edgestyle.manifest import METADATA_KEY, Contract
from edgestyle.runner import Image
from edgestyle.runners.onnxruntime_cpu import RUNNER
from edgestyle.target import Size

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

MOBILE_OPS = {"Add", "Clip", "Conv", "DepthToSpace", "Mul", "ReduceMean", "Sigmoid", "Sub"}
"""What NNAPI and Core ML take whole, by ONNX Runtime's own tables (onnxruntime/tools/mobile_helpers)."""


def contract_of(checkpoint: Checkpoint, size: Size) -> Contract:
    return contract_for(checkpoint, TARGET, "fp32", size, FeedForward.stride)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="session")
def fixed(tiny_checkpoint: Checkpoint, folder: Path) -> Path:
    path = folder / "tiny-64x96.onnx"
    TARGET.write(tiny_checkpoint.network(), contract_of(tiny_checkpoint, (64, 96)), path)
    return path


@pytest.fixture(scope="session")
def free(tiny_checkpoint: Checkpoint, folder: Path) -> Path:
    path = folder / "tiny-dynamic.onnx"
    TARGET.write(tiny_checkpoint.network(), contract_of(tiny_checkpoint, "dynamic"), path)
    return path


def photo(height: int, width: int) -> Image:
    crop = skimage.data.astronaut()[:height, :width].astype(np.float32) / 255
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None])


def reference(checkpoint: Checkpoint, image: Image) -> Image:
    import torch

    with torch.inference_mode():
        return checkpoint.network()(torch.from_numpy(image)).numpy()


def shape_of(value: Any) -> list[int | str]:
    return [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def test_written_file_paints_what_torch_paints(tiny_checkpoint: Checkpoint, fixed: Path) -> None:
    image = photo(64, 96)
    drift = measure(RUNNER.open(fixed).run(image), reference(tiny_checkpoint, image))
    assert drift.psnr_db >= 100  # the gate is 70; what is left is the order of float additions


@pytest.mark.parametrize(("height", "width"), [(64, 96), (72, 64), (256, 256), (504, 328)])
def test_free_size_is_really_free(tiny_checkpoint: Checkpoint, free: Path, height: int, width: int) -> None:
    session, image = RUNNER.open(free), photo(height, width)
    assert session.size is None
    assert measure(session.run(image), reference(tiny_checkpoint, image)).psnr_db >= 100


def test_contract_comes_back_from_the_file(tiny_checkpoint: Checkpoint, fixed: Path, free: Path) -> None:
    assert RUNNER.open(fixed).contract == contract_of(tiny_checkpoint, (64, 96))
    assert RUNNER.open(fixed).size == (64, 96)
    assert RUNNER.open(free).contract == contract_of(tiny_checkpoint, "dynamic")


def test_file_says_what_an_app_needs(fixed: Path, free: Path) -> None:
    for path, (height, width) in ((fixed, (64, 96)), (free, ("height", "width"))):
        model = onnx.load(path, load_external_data=False)
        (image,), (stylized,) = model.graph.input, model.graph.output
        assert (image.name, shape_of(image)) == ("image", [1, 3, height, width])
        assert (stylized.name, shape_of(stylized)) == ("stylized", [1, 3, height, width])
        assert image.type.tensor_type.elem_type == stylized.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert image.doc_string == "RGB float32 NCHW in [0, 1]"
        assert (model.producer_name, model.ir_version, model.opset_import[0].version) == ("edgestyle", 8, 18)
        assert "Random weights (nobody)" in model.doc_string
        keys = {entry.key for entry in model.metadata_props}
        assert keys == {METADATA_KEY, "model_author", "model_license"}


def test_file_stands_alone_and_tells_nothing_of_the_machine(fixed: Path, folder: Path) -> None:
    assert not list(folder.glob("*.data"))
    assert not any(tensor.external_data for tensor in onnx.load(fixed, load_external_data=False).graph.initializer)
    assert b".py" not in fixed.read_bytes()


def test_graph_is_clean_for_mobile_delegates(fixed: Path, free: Path) -> None:
    for path in (fixed, free):
        nodes = onnx.load(path).graph.node
        assert {node.op_type for node in nodes} <= MOBILE_OPS
        attributes = {
            node.op_type: {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in nodes
        }
        assert attributes["DepthToSpace"]["mode"] == b"DCR"
        resize = attributes.get("Resize")
        if resize is not None:
            assert (resize["mode"], resize["nearest_mode"]) == (b"nearest", b"floor")
            assert resize["coordinate_transformation_mode"] == b"asymmetric"


def test_export_says_nothing(tiny_checkpoint: Checkpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    TARGET.write(tiny_checkpoint.network(), contract_of(tiny_checkpoint, (64, 64)), tmp_path / "quiet.onnx")
    assert capfd.readouterr() == ("", "")


def test_probes_say_that_both_work_here() -> None:
    assert TARGET.probe().status == RUNNER.probe().status == "works"


def test_wrong_size_is_refused_with_what_is_allowed(fixed: Path, free: Path) -> None:
    with pytest.raises(UsageError, match=r"takes 64x96 pixels; the picture is 64x64"):
        RUNNER.open(fixed).run(photo(64, 64))
    with pytest.raises(UsageError, match=r"takes multiples of 8 pixels; the picture is 64x90"):
        RUNNER.open(free).run(photo(64, 90))


def test_corrupt_files_are_refused_in_one_line(fixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = fixed.read_bytes()
    bad = tmp_path / "bad.onnx"
    for content in (b"", b"just a text\n" * 20, whole[: len(whole) // 2], whole[:-10]):
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.onnx cannot be opened as ONNX") as caught:
            RUNNER.open(bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="is not a file"):
        RUNNER.open(tmp_path / "none.onnx")
    assert capfd.readouterr() == ("", "")


def test_malformed_contract_is_refused(fixed: Path, tmp_path: Path) -> None:
    model = onnx.load(fixed)
    onnx.helper.set_model_props(model, {METADATA_KEY: '{"schema_version": 1}'})
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ConfigError, match=r"the metadata of .*odd\.onnx is malformed"):
        RUNNER.open(tmp_path / "odd.onnx")


def foreign(path: Path, shape: list[Any], dtype: int, nodes: list[Any] | None = None, inputs: int = 1) -> Path:
    """Somebody else's file: by default it swaps red and blue of an NHWC picture."""
    reverse = {"starts": [-1], "ends": [-4], "axes": [3], "steps": [-1]}
    tensors = [onnx.numpy_helper.from_array(np.array(value, np.int64), name) for name, value in reverse.items()]
    graph = onnx.helper.make_graph(
        nodes or [onnx.helper.make_node("Slice", ["x0", *reverse], ["y"])],
        "foreign",
        [onnx.helper.make_tensor_value_info(f"x{i}", dtype, shape) for i in range(inputs)],
        [onnx.helper.make_tensor_value_info("y", dtype, shape)],
        [] if nodes else tensors,
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.UINT8])
def test_foreign_nhwc_file_of_each_type(tmp_path: Path, dtype: int) -> None:
    session = RUNNER.open(foreign(tmp_path / "swap.onnx", [1, 40, 56, 3], dtype))
    assert (session.contract, session.size) == (None, (40, 56))
    image = photo(40, 56)
    painted = session.run(np.concatenate([image, 1 - image]))
    assert (painted.shape, painted.dtype) == ((2, 3, 40, 56), np.float32)
    swapped = np.concatenate([image, 1 - image])[:, ::-1]
    np.testing.assert_allclose(painted, swapped, atol=5e-4)


def test_foreign_nchw_file_of_free_size(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Identity", ["x0"], ["y"])]
    path = foreign(tmp_path / "same.onnx", ["batch", 3, "h", None], onnx.TensorProto.FLOAT, nodes)
    session, image = RUNNER.open(path), photo(33, 47)
    assert session.size is None
    np.testing.assert_array_equal(session.run(image), image)


@pytest.mark.parametrize(
    ("shape", "dtype", "inputs", "named"),
    [
        ([1, 10], onnx.TensorProto.FLOAT, 1, r"x0 tensor\(float\) \[1, 10\]"),
        ([1, 1, 28, 28], onnx.TensorProto.FLOAT, 1, r"x0 tensor\(float\) \[1, 1, 28, 28\]"),
        ([4, 3, 28, 28], onnx.TensorProto.FLOAT, 1, r"x0 tensor\(float\) \[4, 3, 28, 28\]"),
        ([1, 3, 28, 28], onnx.TensorProto.INT64, 1, r"x0 tensor\(int64\)"),
        ([1, 3, 28, 28], onnx.TensorProto.FLOAT, 2, r"its inputs are x0 .*, x1 "),
    ],
)
def test_what_is_no_style_file_is_refused_by_name(
    tmp_path: Path, shape: list[int], dtype: int, inputs: int, named: str
) -> None:
    names = [f"x{i}" for i in range(inputs)]
    op = "Add" if inputs == 2 else "Identity"
    path = foreign(tmp_path / "odd.onnx", shape, dtype, [onnx.helper.make_node(op, names, ["y"])], inputs)
    with pytest.raises(ConfigError, match=named):
        RUNNER.open(path)
