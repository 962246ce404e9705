"""What the runners on the CPU tell beside the picture: where each op ran, and what a stopwatch is to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runner_files import onnx_file, photo, tflite_file

from edgestyle.drift import measure
from edgestyle.errors import ConfigError, UsageError
from edgestyle.runner import Placement, Session, runners_for
from edgestyle.runners import litert_cpu, litert_reference, onnxruntime_cpu

pytest.importorskip("ai_edge_litert")
pytest.importorskip("onnxruntime")


@pytest.fixture(params=["onnxruntime-cpu", "litert-cpu", "litert-reference"])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Session:
    if request.param == "onnxruntime-cpu":
        return onnxruntime_cpu.open_file(onnx_file(tmp_path / "a.onnx", "Relu", "Conv", "Sigmoid"))
    runner = litert_cpu if request.param == "litert-cpu" else litert_reference
    return runner.RUNNER.open(tflite_file(tmp_path / "a.tflite", "RELU6", "ADD", "LOGISTIC"))


def test_bound_run_is_one_of_that_picture(session: Session) -> None:
    first, second = photo(), photo()[:, :, ::-1]
    run_first, run_second = session.bind(first), session.bind(second)
    run_second()
    raw = np.asarray(run_first())
    picture = raw if raw.shape[1] == 3 else raw.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(picture, session.run(first))


def test_bind_refuses_another_size(session: Session) -> None:
    with pytest.raises(UsageError, match="takes 64x64 pixels"):
        session.bind(photo()[:, :, :32])


def test_everything_runs_where_it_was_asked_to(session: Session) -> None:
    assert session.placement() == Placement(total=3, delegated=3, partitions=1)


def test_ops_that_xnnpack_leaves_are_named_and_its_pieces_counted(tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "a.tflite", "RELU6", "RELU_0_TO_1", "LOGISTIC")
    assert litert_cpu.open_file(path).placement() == Placement(3, 2, 2, ("RELU_0_TO_1",))
    assert litert_reference.open_file(path).placement() == Placement(3, 3, 1)


def test_bound_run_of_a_free_file_outlives_pictures_of_other_sizes(tmp_path: Path) -> None:
    session = litert_cpu.open_file(tflite_file(tmp_path / "a.tflite", "RELU6", free=True))
    bound = session.bind(photo())
    session.run(photo()[:, :, :32])
    assert np.shape(bound()) == (1, 64, 64, 3)


def test_reference_kernels_paint_as_xnnpack_does(tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "a.tflite", "ADD", "LOGISTIC", "RELU6")
    painted = litert_reference.open_file(path).run(photo())
    assert painted.std() > 0.01
    assert measure(painted, litert_cpu.open_file(path).run(photo())).psnr_db >= 120


def test_reference_refuses_what_is_no_style_file(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"a text")
    with pytest.raises(ConfigError, match="is not a TFLite file"):
        litert_reference.open_file(tmp_path / "a.tflite")


def test_a_file_is_painted_on_the_real_cpu_unless_asked_otherwise() -> None:
    assert runners_for(Path("a.onnx"))[0].name == "onnxruntime-cpu"
    assert runners_for(Path("a.tflite"))[0].name == "litert-cpu"


def test_integers_are_exact_where_the_cpu_s_own_would_saturate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = integer_file(tmp_path / "a.onnx")
    white = np.ones((1, 3, 64, 64), np.float32)
    monkeypatch.setattr(onnxruntime_cpu, "_saturates", lambda: True)
    session = onnxruntime_cpu.open_file(path)
    assert np.abs(session.run(white)[0, :, 1:-1, 1:-1] - 0.9).max() < 0.01  # 27 products of 255 and 127: far over 32767
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= {node.op_type for node in nodes(session)}


def nodes(session: onnxruntime_cpu.OnnxSession) -> list[Any]:
    return [node for piece in session.session.get_provider_graph_assignment_info() for node in piece.get_nodes()]


def integer_file(path: Path) -> Path:
    """Write a QDQ file: a convolution whose every weight is 127, which gives 0.9 for white."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def quantized(name: str, scale: str) -> list[Any]:
        return [
            helper.make_node("QuantizeLinear", [name, scale, "zero"], [f"{name}q"]),
            helper.make_node("DequantizeLinear", [f"{name}q", scale, "zero"], [f"{name}f"]),
        ]

    chain = [
        *quantized("x", "s"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["y"], pads=[1] * 4),
        *quantized("y", "s"),
    ]
    values = {
        "s": np.float32(1 / 255),
        "zero": np.uint8(0),
        "w": np.full((3, 3, 3, 3), 127, np.int8),
        "ws": np.float32(0.9 / 27 / 127),
        "wz": np.int8(0),
    }
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 64, 64]) for name in ("x", "yf"))
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(chain, "integers", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path
