"""Before exporting: what will not run on which delegate, where in the network, and the rewrite that cures it.

`lint_file` looks at anybody's exported file, `lint_checkpoint` at what a network of ours would become. Rules stand in
tables, one a delegate, in `rules/`; docs/delegates.md says where they come from and how often they were right.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgestyle.errors import UnknownNameError, UsageError
from edgestyle.lint import checkers
from edgestyle.lint.graph import Graph
from edgestyle.lint.table import Format, Table, tables
from edgestyle.lint.verdict import Finding, Verdict, judge

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.target import Size, Target

__all__ = ["SUFFIXES", "Finding", "Verdict", "delegates", "lint_checkpoint", "lint_file", "table_for"]

SUFFIXES: Mapping[str, Format] = {".tflite": "tflite", ".onnx": "onnx", ".mlpackage": "coreml"}
"""Files that can be looked at."""


def delegates(format: Format | None = None) -> list[str]:  # noqa: A002
    """Names of the delegates that there are rules for; of one format only, if it is given."""
    return [runner for table in tables() if format in (None, table.format) for runner in table.runners]


def table_for(delegate: str) -> Table:
    """The rules of a delegate.

    Raises:
        UnknownNameError: There are none.
    """
    for table in tables():
        if delegate in table.runners:
            return table
    raise UnknownNameError("delegate", delegate, delegates())


def lint_file(path: Path) -> list[Verdict]:
    """What each delegate for its format would do with an exported file.

    Raises:
        UsageError: It is no such file.
        ConfigError: It is not what its name says.
        MissingExtraError: What reads it is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} is not an exported network; these can be looked at: {', '.join(SUFFIXES)}")
    if not path.exists():
        raise UsageError(f"there is no {path}")
    graph = _read(path)
    return [_judge(table, graph, path) for table in tables() if table.format == SUFFIXES[path.suffix]]


def lint_checkpoint(checkpoint: Checkpoint, target: Target, size: Size) -> list[Verdict]:
    """What each delegate would do with a network once it is exported. The file is written, looked at and dropped.

    Raises:
        UsageError: The target does not serve this size.
        MissingExtraError: The target's converter is not installed.
    """
    from edgestyle import exporting, parts

    part = parts.of(checkpoint, target)[-1]  # of a pair the transformer, which runs on each frame
    net = part.net
    exporting.check_size(target, size, part.stride)
    modules = {name.replace(".", "_"): name for name, _ in net.named_modules()}
    contract = exporting.contract_for(checkpoint, target, target.default_scheme, size, part.stride, part=part)
    with tempfile.TemporaryDirectory(prefix="edgestyle-") as folder:
        path = Path(folder) / f"{checkpoint.name}{target.suffix}"
        target.write(net, contract, path)
        return [_renamed(verdict, modules) for verdict in lint_file(path)]


def _read(path: Path) -> Graph:
    from edgestyle.lint import read_coreml, read_onnx, read_tflite

    readers = {"tflite": read_tflite.read, "onnx": read_onnx.read, "coreml": read_coreml.read}
    return readers[SUFFIXES[path.suffix]](path)


def _judge(table: Table, graph: Graph, path: Path) -> Verdict:
    """Ask the table, and whoever else knows something of the delegate."""
    if table.format == "onnx":
        taken = None if table.supported else checkers.onnxruntime_takes(table.name, graph)
        return judge(table, graph, taken, checkers.onnxruntime_cuts)
    verdict = judge(table, graph)
    if table.name == "litert-gpu":
        return _with_analyzer(verdict, graph, path)
    return verdict


def _with_analyzer(verdict: Verdict, graph: Graph, path: Path) -> Verdict:
    """Add what TensorFlow Lite's analyzer warns of."""
    places = graph.places()
    warned = tuple(
        Finding(
            severity="slow",
            ops=(graph.ops[index].type,),
            where=(places[graph.ops[index]],),
            why=f"TensorFlow Lite's analyzer: {why} (on the GPU delegate of before ML Drift, in older apps)",
            rewrite="newer apps run it; for older ones avoid the op",
            source=checkers.ANALYZER_SOURCE,
        )
        for index, why in checkers.tflite_analyzer(path).items()
    )
    return replace(verdict, findings=(*verdict.findings, *warned))


def _renamed(verdict: Verdict, modules: Mapping[str, str]) -> Verdict:
    """Give layers back the dots that Core ML's names lack."""
    findings = tuple(
        replace(finding, where=tuple(modules.get(place, place) for place in finding.where))
        for finding in verdict.findings
    )
    return replace(verdict, findings=findings)
