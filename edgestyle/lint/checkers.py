"""What other people's checkers say of a file, beside our tables."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from edgestyle.errors import MissingExtraError
from edgestyle.lint.graph import Graph, Op

ANALYZER_SOURCE = "https://ai.google.dev/edge/litert/conversion/tensorflow/analyze"


def onnxruntime_takes(delegate: str, graph: Graph) -> set[Op]:
    """The ops that ONNX Runtime's own usability checker gives to its NNAPI or Core ML execution provider.

    It looks at types only; what else the provider asks for stands in our tables. It could look at shapes too, but takes
    an optional input that is not given for one of free size.

    Source: https://onnxruntime.ai/docs/tutorials/mobile/helpers/model-usability-checker.html
    """
    checker = _usability_checker()
    check = {
        "onnxruntime-nnapi": checker.check_nnapi_partitions,
        "onnxruntime-coreml": partial(
            checker.check_coreml_partitions, config_filename="coreml_supported_mlprogram_ops.md"
        ),
    }[delegate]
    info = check(graph.source, require_fixed_input_sizes=False)
    taken = {node.output[0] for group in info.supported_groups for node in group}
    return {op for op in graph.ops if op.outputs[0].name in taken}


def onnxruntime_cuts(graph: Graph, delegated: Collection[Op]) -> list[list[Op]]:
    """Pieces in which ONNX Runtime would give `delegated` to an execution provider, as its checker cuts them."""
    ops = {op.outputs[0].name: op for op in delegated}

    class Chosen:
        def is_op_supported(self, node: Any) -> bool:
            return node.output[0] in ops

    info = _usability_checker().check_partitioning(graph.source.graph, Chosen(), require_fixed_input_sizes=False)
    return [[ops[node.output[0]] for node in group] for group in info.supported_groups]


def _usability_checker() -> Any:
    try:
        from onnxruntime.tools.mobile_helpers import usability_checker
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    return usability_checker


def tflite_analyzer(path: Path) -> dict[int, str]:
    """What TensorFlow Lite's model analyzer warns of on GPUs: index of the op -> why.

    The analyzer of `tf.lite.experimental.Analyzer` comes with ai-edge-litert too, so that TensorFlow is not needed. It
    judges by the GPU delegate of before ML Drift, and the wheels of ai-edge-litert 2.3 and TensorFlow 2.21 are built
    without its check: they call every file compatible. So its warnings count, its silence does not.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import _pywrap_analyzer_wrapper as analyzer  # LiteRT has no public name for it
    except ImportError as error:
        raise MissingExtraError("ai-edge-litert", "tflite") from error
    return analyzer_warnings(analyzer.ModelAnalyzer(str(path), True, True))


def analyzer_warnings(report: str) -> dict[int, str]:
    """The analyzer's warnings in its report: each stands in the line after its op."""
    found = re.findall(r"Op#(\d+) .*\nGPU COMPATIBILITY WARNING: (.*)", report)
    return {int(index): why.strip() for index, why in found}
