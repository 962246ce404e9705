"""The linter's tables, its readers of files, and its words."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lint_networks import TFLITE, write_onnx, write_tflite
from pydantic import ValidationError

from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import ConfigError, UnknownNameError, UsageError
from edgestyle.lint import Verdict, checkers, delegates, lint_checkpoint, lint_file, table_for
from edgestyle.lint.conditions import CONDITIONS
from edgestyle.lint.graph import Graph, Op, Tensor, cut
from edgestyle.lint.read_tflite import layer_of
from edgestyle.lint.table import REFUSALS, Rule, Table, tables
from edgestyle.lint.verdict import judge


def tensor(name: str = "x", *shape: int | None, dtype: str = "float32", **more: Any) -> Tensor:
    return Tensor(name, shape, dtype, **more)


def op(kind: str = "Conv", inputs: str = "x", output: str = "y", **attributes: Any) -> Op:
    return Op(kind, f"{kind} {output}", tuple(map(tensor, inputs)), (tensor(output),), attributes)


def on(delegate: str, verdicts: list[Verdict]) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.delegate == delegate)


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_tables_name_ops_that_there_are(table: Table) -> None:
    named = {name for rule in table.rule for name in rule.ops} | set(table.supported or ())
    assert named - {"*"} <= known_ops(table.format)


def known_ops(format: str) -> set[str]:  # noqa: A002
    """All that the format's own library knows."""
    if format == "tflite":
        schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
        mediapipe = {"Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D"}
        return {*vars(schema.BuiltinOperator)} | mediapipe
    if format == "onnx":
        onnx = pytest.importorskip("onnx")
        return {schema.name for schema in onnx.defs.get_all_schemas()}
    pytest.importorskip("coremltools")
    from edgestyle.coreml_package import import_coremltools

    import_coremltools()
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    return set(SSAOpRegistry.core_ops)


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_every_rule_says_why_how_and_from_where(table: Table) -> None:
    for rule in table.rule:
        assert rule.why
        assert rule.rewrite
        assert (rule.source or table.source).startswith("https://")


def test_the_page_of_delegates_shows_the_tables_as_they_are() -> None:
    docs = Path(__file__).parents[1] / "docs"
    rules = runpy.run_path(str(docs / "make_delegates.py"))["rules"]()
    assert rules in (docs / "delegates.md").read_text(encoding="utf-8"), (
        "run: python docs/make_delegates.py --rules-only"
    )


def test_a_table_with_a_misspelt_condition_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown condition rank_at_mots; there are: attribute"):
        Rule(ops=("Conv",), needs={"rank_at_mots": 4}, why="", rewrite="")


def test_one_table_speaks_for_each_delegate() -> None:
    assert len(delegates()) == len(set(delegates()))
    assert table_for("litert-web-webgpu").name == "litert-gpu"
    with pytest.raises(UnknownNameError, match="did you mean litert-gpu"):
        table_for("litert-gpuu")


# Conditions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "wanted", "came", "given"),
    [
        ("attribute", {"mode": ["REFLECT"]}, "mode SYMMETRIC", op(mode="SYMMETRIC")),
        ("attribute", {"mode": ["REFLECT"]}, "", op(mode="REFLECT")),
        ("attribute", {"mode": ["REFLECT"]}, "", op()),
        ("combination", {"a": 1, "b": 2}, "a 1, b 2", op(a=1, b=2)),
        ("combination", {"a": 1, "b": 2}, "", op(a=1, b=3)),
        ("constant", [1], "w is computed", op(inputs="xw")),
        ("constant", [5], "", op(inputs="xw")),
        ("dilation_at_most", 1, "dilation 2x1", op(dilation=(2, 1))),
        ("dilation_at_most", 1, "", op()),
        ("dtypes", ["int8"], "float32", op()),
        ("dtypes", ["float32"], "", op()),
        ("inputs_at_most", 1, "2 inputs", op(inputs="xw")),
        ("kernel_at_most", 8, "kernel 9x9", op(window=(9, 9))),
        ("kernel_at_most", 9, "", op(window=(9, 9))),
        ("stride_factors", [2, 3], "stride 5x5", op(stride=(5, 5))),
        ("stride_factors", [2, 3], "", op(stride=(12, 8))),
        ("stride_within_window", True, "stride 8x8, window 2x2", op(stride=(8, 8), window=(2, 2))),
        ("stride_within_window", True, "", op(stride=(2, 2), window=(2, 2))),
    ],
)
def test_conditions_of_attributes(condition: str, wanted: Any, came: str, given: Op) -> None:
    assert CONDITIONS[condition](given, wanted) == came


@pytest.mark.parametrize(
    ("condition", "wanted", "came", "x", "y"),
    [
        ("fixed_shape", True, "free size", tensor("x", 1, None, 8, 3), tensor("y", 1)),
        ("fixed_shape", True, "", tensor("x", 1, 8, 8, 3), tensor("y", 1)),
        ("last_axis_at_least", 32, "shape 1x64x16x16", tensor("x", 1, 64, 16, 16), tensor("y", 1, 64, 64, 64)),
        ("last_axis_at_least", 32, "", tensor("x", 1, 64, 64, 64), tensor("y", 1, 1, 1, 1)),
        ("magnitude_at_most", 65504.0, "70000", tensor("x", 2, constant=True, value=np.float32([1, -7e4])), tensor()),
        ("pixels_at_most", 65504, "65536 pixels", tensor("x", 1, 3, 256, 256), tensor()),
        ("pixels_at_most", 65504, "", tensor("x", 1, 3, 255, 256), tensor()),
        ("rank_at_most", 4, "rank 6", tensor("x", 1, 2, 3, 4, 5, 6), tensor()),
        ("scale_ratio", (0.5, 256.0), "scale ratio 0.25", tensor("x", 1, scale=0.25), tensor("y", 1, scale=1.0)),
        ("scale_ratio", (0.5, 256.0), "", tensor("x", 1, scale=2.0), tensor("y", 1, scale=1.0)),
        ("summed_at_most", 2048, "4096 elements", tensor("x", 1, 64, 64, 8), tensor("y", 1, 1, 1, 8)),
        ("summed_at_most", 2048, "", tensor("x", 1, 64, 64, 8), tensor("y", 1, 64, 1, 8)),
    ],
)
def test_conditions_of_tensors(condition: str, wanted: Any, came: str, x: Tensor, y: Tensor) -> None:
    assert CONDITIONS[condition](Op("Any", "any", (x,), (y,)), wanted) == came


# Pieces and verdicts --------------------------------------------------------------------------------------------------


def test_a_chain_is_cut_at_each_refused_op() -> None:
    a, b, c = (op(inputs=x, output=y) for x, y in ("xa", "ab", "bc"))
    assert cut((a, b, c), {a, b, c}) == [[a, b, c]]
    assert cut((a, b, c), {a, c}) == [[a], [c]]
    assert cut((a, b, c), {b}) == [[b]]
    assert cut((a, b, c), set()) == []


def test_a_branch_that_is_ready_joins_the_piece_before_the_cut() -> None:
    a, refused, b, c = (
        op(output="a"),
        op(inputs="a", output="r"),
        op(inputs="a", output="b"),
        op(inputs="rb", output="c"),
    )
    assert cut((a, refused, b, c), {a, b, c}) == [[a, b], [c]]


def table(**more: Any) -> Table:
    given = {"title": "T", "format": "onnx", "runners": ["t"], "otherwise": "falls back", "supported": ["A", "B"]}
    return Table.model_validate({**given, "why": "unlisted", "rewrite": "cure", "source": "https://t", **more})


def test_ops_with_one_reason_are_one_finding_with_all_places() -> None:
    first = Op("C", "c1", (tensor("x"),), (tensor("a"),), layer="trunk.0")
    second = Op("D", "d", (tensor("a"),), (tensor("y"),))
    verdict = judge(table(), Graph((first, second)))
    (finding,) = verdict.findings
    assert finding.ops == ("C", "D")
    assert finding.where == ("trunk.0", "d (after trunk.0)")
    assert (finding.severity, finding.why, finding.source) == ("falls back", "unlisted", "https://t")
    assert verdict.placement.fallback_ops == ("C", "D")
    assert verdict.outlook == "falls back"


def test_advice_leaves_an_op_on_the_delegate() -> None:
    rule = {"ops": ["A"], "severity": "slow", "why": "w", "rewrite": "r"}
    verdict = judge(table(rule=[rule]), Graph((op("A"),)))
    assert verdict.placement.resident
    assert verdict.outlook == "runs whole"
    assert [finding.severity for finding in verdict.findings] == ["slow"]


def test_a_refused_op_gets_no_advice_and_the_worst_comes_first() -> None:
    advice = {"ops": ["A", "B"], "severity": "slow", "why": "w", "rewrite": "r"}
    refusal = {"ops": ["B"], "needs": {"rank_at_most": 0}, "why": "rank", "rewrite": "r"}
    b = Op("B", "b", (tensor("a", 1),), (tensor("y", 1),))
    verdict = judge(table(rule=[advice, refusal]), Graph((op("A", output="a"), b)))
    assert [(f.ops, f.severity, f.why) for f in verdict.findings] == [
        (("B",), "falls back", "rank (rank 1)"),
        (("A",), "slow", "w"),
    ]


def test_a_delegate_that_takes_one_piece_is_given_the_largest() -> None:
    ops = (op("A", "x", "a"), op("A", "a", "b"), op("C", "b", "c"), op("A", "c", "d"))
    placement = judge(table(largest_piece_only=True), Graph(ops)).placement
    assert (placement.delegated, placement.partitions, placement.fallback_ops) == (2, 1, ("C",))


# Readers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "weighted", "layer"),
    [
        ("kit.ChannelLast/kit.Net_net/torch.nn.modules.conv.Conv2d_stem;2", True, "stem"),
        (
            "kit.ChannelLast/kit.Net_net/torch.nn.Sequential_trunk/kit.Block_0/torch.nn.Conv2d_up_a;",
            True,
            "trunk.0.up_a",
        ),
        ("kit.Net/kit.Block_0/torch.nn.ReLU_act;;kit.Net/kit.Block_0/torch.nn.Conv2d_conv;", True, "0.conv"),
        ("kit.Net/kit.Block_0;;kit.Net/kit.Block_0/torch.nn.Conv2d_conv;", False, "0"),
        ("kit.ChannelLast/kit.Net_net;4", False, ""),
        ("StatefulPartitionedCall:0", False, ""),
    ],
)
def test_layers_are_read_from_the_names_of_litert_torch(name: str, weighted: bool, layer: str) -> None:
    assert layer_of(name, weighted) == layer


def test_layers_of_onnx_are_those_of_the_weights_and_what_is_constant_is_no_op(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    from edgestyle.lint.read_onnx import read

    two = numpy_helper.from_array(np.float32([2]))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Neg", ["two"], ["minus_two"]),
        helper.make_node("Mul", ["x", "minus_two"], ["m"], "scale"),
        helper.make_node("Relu", ["m"], ["y"], "/trunk/act/Relu"),
    ]
    graph = read(write_onnx(tmp_path / "a.onnx", nodes))
    assert [op.type for op in graph.ops] == ["Conv", "Mul", "Relu", "Conv"]
    assert list(graph.places().values()) == ["0", "scale (after 0)", "trunk.act", "9"]
    assert graph.ops[0].attributes["window"] == (3, 3)
    assert graph.ops[1].inputs[1] is not None
    assert graph.ops[1].inputs[1].constant


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".mlpackage"])
def test_files_that_are_not_what_their_name_says_are_refused(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip({".onnx": "onnx", ".tflite": "ai_edge_litert", ".mlpackage": "coremltools"}[suffix])
    path = tmp_path / f"notes{suffix}"
    path.write_text("Buy milk.")
    with pytest.raises(ConfigError, match="notes"):
        lint_file(path)


def test_a_truncated_tflite_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    path = write_tflite("plain", tmp_path / "a.tflite")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="damaged"):
        lint_file(path)


def test_files_that_are_no_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        lint_file(tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=r"these can be looked at: \.tflite, \.onnx, \.mlpackage"):
        lint_file(tmp_path / "a.jpg")


# Delegates ------------------------------------------------------------------------------------------------------------


def test_a_free_size_stays_off_gpus_and_npus(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    verdicts = lint_file(write_tflite("plain", tmp_path / "a.tflite", free=True))
    assert on("litert-gpu", verdicts).outlook == "will not compile"
    pytest.importorskip("onnxruntime")
    from onnx import helper

    verdicts = lint_file(write_onnx(tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], free=True))
    assert {verdict.delegate: verdict.placement.delegated for verdict in verdicts} == {
        "onnxruntime-coreml": 3,
        "onnxruntime-nnapi": 0,
        "onnxruntime-qnn": 0,
        "onnxruntime-web-webgpu": 3,
    }


def test_onnxruntime_is_asked_for_what_it_takes_and_our_table_for_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from onnx import helper

    pads = {"pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "back": np.int64([0, 0, -1, -1, 0, 0, -1, -1])}
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], "reflect", mode="reflect"),
        helper.make_node("Mish", ["p"], ["m"]),
        helper.make_node("Pad", ["m", "back"], ["y"], "crop"),
    ]
    verdicts = lint_file(write_onnx(tmp_path / "a.onnx", nodes, pads))
    nnapi, coreml = on("onnxruntime-nnapi", verdicts), on("onnxruntime-coreml", verdicts)
    assert nnapi.placement.fallback_ops == coreml.placement.fallback_ops == ("Mish", "Pad")
    assert nnapi.placement.delegated == 3
    assert coreml.placement.delegated == 2


def test_coreml_findings_name_layers(tmp_path: Path, tiny_checkpoint: Checkpoint) -> None:
    pytest.importorskip("coremltools")
    from edgestyle import registry

    target = registry.load(registry.TARGETS, "coreml")
    (verdict,) = lint_checkpoint(tiny_checkpoint, target, (64, 64))
    assert verdict.placement.resident
    modules = {name for name, _ in tiny_checkpoint.network().named_modules()}
    narrow = [f for f in verdict.findings if "conv" in f.ops and "64 bytes" in f.why]
    assert narrow, "at 64x64 the coarsest layers are narrower than 32 pixels"
    named = {place for finding in narrow for place in finding.where if "(after" not in place}
    assert named
    assert named <= modules


def test_the_analyzers_warnings_are_read() -> None:
    report = """
Subgraph#0 main(T#0) -> [T#7]
  Op#0 CONV_2D(T#0, T#3, T#4) -> [T#5]
  Op#1 GATHER_ND(T#5, T#1[31, 30]) -> [T#6]
GPU COMPATIBILITY WARNING: Not supported op GATHER_ND
  Op#2 LOGISTIC(T#6) -> [T#7]

GPU COMPATIBILITY WARNING: Subgraph#0 has GPU delegate compatibility issues at nodes 1
"""
    assert checkers.analyzer_warnings(report) == {1: "Not supported op GATHER_ND"}


def test_the_analyzer_of_litert_opens_files(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    assert all(index < 3 for index in checkers.tflite_analyzer(write_tflite("clamp", tmp_path / "a.tflite")))


@pytest.mark.parametrize("name", TFLITE)
def test_refusals_come_with_a_cure_that_is_not_the_tables_last_word(name: str, tmp_path: Path) -> None:
    """Every op that a style network is likely to bring has a rule of its own."""
    pytest.importorskip("ai_edge_litert")
    for verdict in lint_file(write_tflite(name, tmp_path / "a.tflite")):
        for finding in verdict.findings:
            if finding.severity in REFUSALS:
                assert finding.rewrite != table_for(verdict.delegate).rewrite
