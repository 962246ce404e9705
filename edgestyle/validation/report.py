"""The results of a validation as JSON, as a report and as cases for a CI system."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from edgestyle import gates
from edgestyle.coreml_trace import Row
from edgestyle.exporting import size_text
from edgestyle.gates import Gate
from edgestyle.images import Image
from edgestyle.latency.machine import describe
from edgestyle.manifest import Status
from edgestyle.metrics import Metrics
from edgestyle.report.document import Case, Cell, Column, Document, Figure, Section, Strip, Table
from edgestyle.validation import Result

Traces = Mapping[Path, Sequence[Row]]
"""Core ML package -> its operations."""

AMPLIFIED = 10
"""Differences are shown this many times as large, on middle grey."""
EXAMPLE_SIDE = 512
"""Larger examples are cropped to this, not scaled: scaling hides differences."""

_METRICS = {
    "psnr_db": Column("PSNR", numeric=True, hint="Error of the pixels in dB, the worst photo; higher is better."),
    "ssim": Column("SSIM", numeric=True, hint="Structure; 1 is equal."),
    "style_drift": Column("style", numeric=True, hint="Drift of the texture; 0 is equal."),
    "content_drift": Column("content", numeric=True, hint="Drift of what is shown; 0 is equal."),
    "delta_e": Column("ΔE", numeric=True, hint="Colour difference CIEDE2000; 1 is about what an eye just sees."),
    "border": Column("border", numeric=True, hint="By how many dB the outer 16 px are worse than the middle."),
    "worst_tile": Column("worst tile", numeric=True, hint="PSNR in dB of the worst 32x32 px."),
    "perceptual": Column("perceptual", numeric=True, hint="What an eye makes of the difference; 0 is equal."),
}
_MORE = {
    "flicker": Column(
        "flicker", numeric=True, hint="How much more a film flickers, rms of values in [0, 1]; 0 is none."
    ),
    "lpips": Column("LPIPS", numeric=True, hint="Learned perceptual distance, the worst photo; 0 is equal."),
}
_DIGITS = {"psnr_db": 1, "ssim": 4, "delta_e": 2, "border": 1, "worst_tile": 1}
_STATUS: dict[Status, str] = {"passed": "passed", "failed": "failed", "could not run": "could not run here"}


def passed(results: Iterable[Result]) -> bool:
    """Whether nothing failed. What could not run here is no failure unless it was required."""
    return all(result.status != "failed" for result in results)


def as_json(results: Sequence[Result], traces: Traces | None = None) -> dict[str, Any]:
    """What `--json` prints; with traces also each of them, by artifact."""
    found = {str(path): [dataclasses.asdict(row) for row in rows] for path, rows in (traces or {}).items()}
    return {
        "results": [_row(result) for result in results],
        **({} if traces is None else {"traces": found}),
        "passed": passed(results),
    }


def _row(result: Result) -> dict[str, Any]:
    return {
        "artifact": str(result.artifact),
        "target": result.target,
        "scheme": result.scheme,
        "delegate": result.delegate,
        "emulated": result.emulated,
        "status": result.status,
        "reason": result.reason,
        "metrics": {**dataclasses.asdict(result.metrics), **result.more} if result.metrics else None,
        "placement": dataclasses.asdict(result.placement) if result.placement else None,
    }


def cases(results: Sequence[Result]) -> list[Case]:
    """One case a result, a suite a file."""
    return [
        Case(str(r.artifact), f"validate on {r.delegate}" if r.delegate else "validate", r.status, r.reason, r.seconds)
        for r in results
    ]


def summary(results: Sequence[Result]) -> str:
    """How it went, in a sentence."""
    count = Counter(result.status for result in results)
    files, delegates = ({getattr(r, key) for r in results} - {None} for key in ("artifact", "delegate"))
    parts = [f"{count[status]} {text}" for status, text in _STATUS.items() if count[status]]
    return f"{_many(len(files), 'file')}, {_many(len(delegates), 'delegate')}: {', '.join(parts)}."


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def document(results: Sequence[Result], traces: Traces | None = None) -> Document:
    """The report."""
    machine = describe()
    traced = [] if traces is None else [Section("Trace", _TRACE, [_trace(path, rows) for path, rows in traces.items()])]
    return Document(
        title="Validation",
        passed=passed(results) if any(result.status != "could not run" for result in results) else None,
        lead=summary(results),
        sections=[
            Section("Overview", _OVERVIEW, list(_overviews(results))),
            Section("Results", _about(results), [_table(results)]),
            Section("Metrics", _EACH, [_all_metrics(results)]),
            Section("Pictures", _PICTURES, list(_strips(results))),
            *traced,
            Section("Gates", _GATES, [_gates(results)]),
        ],
        facts=[
            ("Machine", f"{machine.cpu}, {machine.system} {machine.architecture}"),
            ("Versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
            ("Date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ],
    )


# Tables -------------------------------------------------------------------------------------------------------------

_OVERVIEW = "PSNR in dB against the float network. Higher is better; from about 45 dB on nobody sees a difference."


def _overviews(results: Sequence[Result]) -> Iterator[Table]:
    """For each network a table: a row a delegate, a column a variant."""
    by_model: dict[str, dict[str, dict[str, Result]]] = {}
    for result in sorted(results, key=_variant_order):
        if result.delegate:
            model, variant = _model_and_variant(result)
            by_model.setdefault(model, {}).setdefault(_delegate(result), {})[variant] = result
    for model, rows in by_model.items():
        variants = list(dict.fromkeys(variant for row in rows.values() for variant in row))
        columns = [Column("delegate"), *(Column(variant, numeric=True) for variant in variants)]
        cells = [[Cell(name), *(_overview_cell(row.get(v)) for v in variants)] for name, row in rows.items()]
        yield Table(columns, cells, title=model)


def _model_and_variant(result: Result) -> tuple[str, str]:
    contract = result.contract
    return (contract.model, f"{contract.scheme} {size_text(contract.size)}") if contract else (result.artifact.name, "")


def _variant_order(result: Result) -> tuple[int, int]:
    """By number format, then by size. Python's sort leaves the rest as it was."""
    height, width = (result.subject.size if result.subject else None) or (0, 0)
    return _format_order(result.scheme), height * width


def _overview_cell(result: Result | None) -> Cell:
    if result is None:
        return Cell("")
    if result.metrics is None:
        return Cell(_STATUS[result.status], status=result.status)
    return Cell(f"{result.metrics.psnr_db:.1f}", result.metrics.psnr_db, result.status)


def _delegate(result: Result) -> str:
    return f"{result.delegate or 'any delegate'}{' (emulated)' if result.emulated else ''}"


def _table(results: Sequence[Result]) -> Table:
    columns = [
        Column("file"),
        Column("delegate"),
        Column("result"),
        _METRICS["psnr_db"],
        Column("gate", numeric=True, hint="Smallest PSNR that passes."),
        Column("on the delegate", numeric=True, hint="Operations that ran where they should, of all operations."),
        Column("pieces", numeric=True, hint="Parts of the graph that the delegate was given; 1 is best."),
        Column("photos", numeric=True),
        Column("remark"),
    ]
    return Table(columns, [[*_cells(result)] for result in results])


def _cells(result: Result) -> Iterator[Cell]:
    placement = result.placement
    yield Cell(result.artifact.name)
    yield Cell(_delegate(result))
    yield Cell(_STATUS[result.status], status=result.status)
    yield _number(result.metrics.psnr_db if result.metrics else None, 1)
    yield _number(result.gate.psnr_db if result.gate else None, 0)
    share = placement.delegated / max(1, placement.total) if placement else None
    yield Cell(f"{placement.delegated} of {placement.total}" if placement else "", share)
    yield _number(placement.partitions if placement else None, 0)
    yield _number(result.photos or None, 0)
    yield Cell(result.reason)


def _all_metrics(results: Sequence[Result]) -> Table:
    asked = [name for name in _MORE if any(name in result.more for result in results)]
    rows = [
        [
            Cell(result.artifact.name),
            Cell(_delegate(result)),
            *(_number(getattr(result.metrics, name), _DIGITS.get(name, 4)) for name in _METRICS),
            *(_number(result.more.get(name), 4) for name in asked),
        ]
        for result in results
        if result.metrics
    ]
    return Table([Column("file"), Column("delegate"), *_METRICS.values(), *(_MORE[name] for name in asked)], rows)


def _number(value: float | None, digits: int) -> Cell:
    return Cell("" if value is None else f"{value:.{digits}f}", value)


_EACH = "Each number sees something that the others do not: docs/metrics.md shows it with pictures."


def _about(results: Sequence[Result]) -> str:
    """What was compared with what."""
    references = dict.fromkeys(r.reference.title for r in results if r.reference)
    names = dict.fromkeys(pair.name for r in results if r.reference for pair in r.reference.pairs)
    text = f"Compared with {', '.join(references) or 'nothing'}, on {_many(len(names), 'photo')}: {', '.join(names)}. "
    text += "The worst photo counts. Delegates that promise to run everything, GPU and NPU, fail where they do not."
    if any(result.emulated for result in results):
        text += (
            "\n\nEmulated delegates stand in for hardware that is not here: their numbers are those of the hardware, "
            "their speed is not. They got fewer photos, those of least contrast; the table says how many."
        )
    return text


_GATES = "What a file must reach on the worst photo. edgestyle.toml can ask for something else."


def _gates(results: Sequence[Result]) -> Table:
    """A row for each gate, with the delegates that share it."""
    delegates: dict[tuple[str, Gate], list[str]] = {}
    for result in results:
        if result.gate:
            delegates.setdefault((result.scheme or "unknown", result.gate), []).append(_delegate(result))
    rows = [
        [
            Cell(scheme),
            _number(gate.psnr_db, 0),
            _number(gate.ssim, 3),
            Cell("all" if gate.resident else "any share"),
            Cell(", ".join(dict.fromkeys(names))),
            Cell(gate.reason),
        ]
        for (scheme, gate), names in sorted(delegates.items(), key=lambda item: _gate_order(*item[0]))
    ]
    numbers = [Column("PSNR", numeric=True), Column("SSIM", numeric=True)]
    return Table([Column("scheme"), *numbers, Column("must run on it"), Column("delegates"), Column("why")], rows)


def _gate_order(scheme: str, gate: Gate) -> tuple[int, float]:
    """As in the table of gates, strict ones first."""
    return _format_order(scheme), -gate.psnr_db


def _format_order(scheme: str | None) -> int:
    known = list(gates.FORMATS)
    return known.index(scheme) if scheme in known else len(known)


_TRACE = """Each operation in fp16 beside the same in fp32, on one photo, in the order in which they are computed.

Where "alone" is low, drift starts: it is the operation's own signal-to-noise ratio, given exact values."""


def _trace(path: Path, rows: Sequence[Row]) -> Table:
    columns = [
        Column("operation"),
        Column("type"),
        Column("shape"),
        Column("alone", numeric=True, hint="Signal-to-noise ratio in dB, the operation alone in fp16; 200 is exact."),
        Column("so far", numeric=True, hint="The same, with everything before it in fp16 too."),
        Column("largest", numeric=True, hint="Largest value; fp16 ends at 65504."),
        Column("overflow", numeric=True, hint="Share of values that pass 65504."),
        Column("subnormal", numeric=True, hint="Share of values so small that fp16 has fewer digits for them."),
    ]
    cells = [
        [
            Cell(row.name),
            Cell(row.type),
            Cell("x".join(map(str, row.shape))),
            _number(row.own_db, 1),
            _number(row.snr_db, 1),
            Cell(f"{row.peak:.3g}", row.peak),
            Cell(f"{row.overflow:.2%}", row.overflow),
            Cell(f"{row.subnormal:.2%}", row.subnormal),
        ]
        for row in rows
    ]
    return Table(columns, cells, title=str(path))


# Pictures -----------------------------------------------------------------------------------------------------------

_PICTURES = f"The photo of least contrast. A difference is shown {AMPLIFIED} times as large, on grey: grey is equal."


def _strips(results: Sequence[Result]) -> Iterator[Strip]:
    """For each file: photo, float, and what each delegate made of it, with the difference."""
    for artifact in dict.fromkeys(result.artifact for result in results):
        seen = [(r, r.example) for r in results if r.artifact == artifact and r.example]
        if not seen:
            continue
        pair, reference = seen[0][1].pair, seen[0][0].reference
        figures = [
            Figure(_shown(pair.photo), f"photo ({pair.name})"),
            Figure(_shown(pair.expected), reference.title if reference else "float"),
        ]
        for result, example in seen:
            figures.append(Figure(_shown(example.actual), f"{_delegate(result)}: {_verdict(result.metrics)}"))
            difference = (example.actual - example.pair.expected) * AMPLIFIED + 0.5
            figures.append(Figure(_shown(difference), f"difference x{AMPLIFIED}, {result.delegate}"))
        yield Strip(str(artifact), figures)


def _verdict(metrics: Metrics | None) -> str:
    return f"{metrics.psnr_db:.1f} dB" if metrics else "not measured"


def _shown(picture: Image) -> Image:
    """What can be shown of a picture: at most 512 pixels a side from the middle, NaN as black."""
    height, width = picture.shape[2:]
    top, left = (max(0, (side - EXAMPLE_SIDE) // 2) for side in (height, width))
    cropped = picture[:, :, top : top + EXAMPLE_SIDE, left : left + EXAMPLE_SIDE]
    return np.nan_to_num(cropped, nan=0, posinf=1, neginf=0).clip(0, 1)
