"""The rows of a sweep as a table, as advice for each delegate, and as a report with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgestyle import gates, images, registry
from edgestyle.exporting import size_text
from edgestyle.latency.machine import describe
from edgestyle.quantization.sweep import Row, picture_path, shown
from edgestyle.report.document import Case, Cell, Column, Document, Figure, Section, Strip, Table
from edgestyle.target import Target

AMPLIFIED = 10
"""Differences are shown this many times as large, on middle grey."""

_COLUMNS = (
    Column("target"),
    Column("scheme", hint="The number format."),
    Column("verdict", hint="Against the gate of its number format (edgestyle/gates.py)."),
    Column("bytes", numeric=True),
    Column("smaller", numeric=True, hint="How many times smaller than the target's float file."),
    Column("PSNR", numeric=True, hint="dB against the float network, the worst photo; higher is better."),
    Column("SSIM", numeric=True, hint="Structure; 1 is equal."),
    Column("style", numeric=True, hint="Drift of the texture; 0 is equal."),
    Column("content", numeric=True, hint="Drift of what is shown; 0 is equal."),
    Column("ms", numeric=True, hint="Median of a run on this machine's CPU."),
    Column("of float", numeric=True, hint="Time of a run over that of the target's float file, both in turn."),
    Column("remark"),
)
_SLOWER = "slower than float"


@dataclass(frozen=True)
class Advice:
    """What to take on a delegate."""

    delegate: str
    take: str
    """Target and scheme."""
    why: str


def titles() -> list[str]:
    """Of the columns."""
    return [column.title for column in _COLUMNS]


def cells(row: Row, rows: Sequence[Row] = ()) -> list[Cell]:
    """A row as it is shown; with all rows, also how much smaller it is than its target's float file."""
    floats = _floats(rows, row.target)
    smaller = floats.bytes / row.bytes if floats and floats.bytes and row.bytes else None
    return [
        Cell(row.target),
        Cell(row.scheme),
        Cell(row.status, status=row.status),
        Cell(f"{row.bytes:,}" if row.bytes else "", row.bytes),
        _number(smaller, 2),
        _number(row.psnr_db, 1),
        _number(row.ssim, 4),
        _number(row.style_drift, 4),
        _number(row.content_drift, 4),
        _number(row.ms, 1),
        _number(row.ratio, 2),
        Cell("; ".join(filter(None, (_SLOWER if row.slower else "", row.reason, _emulated(row))))),
    ]


def _emulated(row: Row) -> str:
    return "numerics only: a stand-in, not timed" if row.emulated else ""


def _number(value: float | None, digits: int) -> Cell:
    return Cell("" if value is None else f"{value:.{digits}f}", value)


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "rows": [{**row.model_dump(mode="json"), "slower_than_float": row.slower} for row in rows],
        "advice": [vars(advice) for advice in advise(rows)],
    }


def cases(rows: Sequence[Row]) -> list[Case]:
    """One case a row, a suite a target."""
    return [Case(row.target, row.scheme, row.status, row.reason) for row in rows]


# Advice -------------------------------------------------------------------------------------------------------------


def advise(rows: Sequence[Row]) -> list[Advice]:
    """What to take on each kind of delegate, of what was measured and passed its gate."""
    found = [
        _fastest(rows, "onnx", "CPU with ONNX Runtime (Android, iOS, web on WebAssembly, desktop)"),
        _fastest(rows, "tflite", "CPU with LiteRT (Android)"),
        _first(rows, "tflite", "GPU with LiteRT (Android)", ("fp16", "fp32"), "GPUs compute in fp16 in any case"),
        _first(rows, "onnx", "GPU with WebGPU (web)", ("fp16", "fp32"), "GPUs have no use for integers"),
        _first(
            rows, "onnx", "NPU with QNN (Hexagon)", ("int8", "int8-a16", "fp16"), "NPUs are built for integers", "npu"
        ),
        _first(rows, "tflite", "NPU with LiteRT", ("int8", "int8-a16", "fp16"), "NPUs are built for integers", "npu"),
        _first(rows, "coreml", "Neural Engine from A17 Pro and M4 on", ("int8", "fp16"), "they compute in integers"),
        _first(rows, "coreml", "Older iPhones, iPads and Macs", ("fp16", "fp32"), "they compute in fp16 in any case"),
        *(_smallest(rows, target) for target in dict.fromkeys(row.target for row in rows)),
    ]
    return [advice for advice in found if advice]


def _passed(rows: Sequence[Row], target: str) -> list[Row]:
    return [row for row in rows if row.target == target and row.status == "passed"]


def _floats(rows: Sequence[Row], target: str) -> Row | None:
    """The float file of a target, with which the others are compared."""
    default = next((t.default_scheme for t in _targets() if t.name == target), "")
    return next((row for row in rows if (row.target, row.scheme) == (target, default)), None)


def _targets() -> list[Target]:
    return registry.load_all(registry.TARGETS)


def _fastest(rows: Sequence[Row], target: str, delegate: str) -> Advice | None:
    """Of those proven to be faster than floats the fastest, else floats."""
    timed = [row for row in _passed(rows, target) if row.faster]
    floats = _floats(rows, target)
    if timed:
        best = min(timed, key=lambda row: row.ratio or 1)
        faster = f"{1 / (best.ratio or 1):.1f} times as fast as {floats.scheme if floats else 'float'}"
        return Advice(delegate, f"{target} {best.scheme}", f"{faster}, {_quality(best)}")
    if floats and floats.status == "passed":
        return Advice(delegate, f"{target} {floats.scheme}", "no number format that passes its gate is faster here")
    return None


def _first(
    rows: Sequence[Row], target: str, delegate: str, order: Sequence[str], why: str, hardware: str = ""
) -> Advice | None:
    """The first scheme of `order` that passed, on an NPU by that one's own gate."""
    passed = {row.scheme: row for row in _passed(rows, target)}
    for scheme in order:
        if row := passed.get(scheme):
            return Advice(delegate, f"{target} {scheme}", f"{why}; {_quality(row)}{_npu_gate(scheme, hardware)}")
    return None


def _npu_gate(scheme: str, hardware: str) -> str:
    if not hardware:
        return ""
    return f" (CPU numerics; validate it on the NPU, gate {gates.FORMATS[scheme].reached[hardware][0]:g} dB)"


def _smallest(rows: Sequence[Row], target: str) -> Advice | None:
    passed = [row for row in _passed(rows, target) if row.bytes]
    if not passed:
        return None
    best = min(passed, key=lambda row: row.bytes or 0)
    slower = f", but {_SLOWER} ({best.ratio:.1f} times the time)" if best.slower else ""
    why = f"the smallest that passes its gate, {best.bytes:,} bytes, {_quality(best)}{slower}"
    return Advice(f"Smallest download, {target}", f"{target} {best.scheme}", why)


def _quality(row: Row) -> str:
    return f"{row.psnr_db:.1f} dB, SSIM {row.ssim:.3f}"


# Report -------------------------------------------------------------------------------------------------------------


def document(model: str, size: tuple[int, int], rows: Sequence[Row], folder: Path) -> Document:
    """The report; pictures are read from its folder."""
    machine = describe()
    failed = sum(row.status == "failed" for row in rows)
    advice = [[Cell(a.delegate), Cell(a.take), Cell(a.why)] for a in advise(rows)]
    return Document(
        title=f"Number formats of {model}",
        passed=None,
        lead=f"{len(rows)} files at {size_text(size)}, {failed} beyond their gates.",
        sections=[
            Section("What to take", _ADVICE, [Table([Column("delegate"), Column("take"), Column("why")], advice)]),
            Section("Every number format", _ROWS, [Table(_COLUMNS, [cells(row, rows) for row in rows])]),
            Section("Pictures", _PICTURES, list(_strips(rows, folder))),
        ],
        facts=[
            ("Machine", f"{machine.cpu}, {machine.system} {machine.architecture}"),
            ("Load", f"{machine.load} on {machine.threads} threads"),
            ("Versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
            ("Date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ],
    )


_ADVICE = "Of what was measured here and passed its gate."
_ROWS = (
    "Drift is the worst of the photos of the export's check, on which no range was found. Times are of this machine's "
    "CPU, each file in turn with the float file of its target; other load falls out of the ratio, not of the ms."
)
_PICTURES = f"One photo. A difference is shown {AMPLIFIED} times as large, on grey: grey is equal."


def _strips(rows: Sequence[Row], folder: Path) -> Iterator[Strip]:
    """For each target: photo, float, and what each file made of it, with the difference."""
    reference = {name: images.read(path) for name, path in shown(folder).items() if path.exists()}
    for target in dict.fromkeys(row.target for row in rows):
        painted = [row for row in rows if row.target == target and picture_path(folder, row).exists()]
        if not painted or "float" not in reference:
            continue
        figures = [Figure(picture, name) for name, picture in reference.items()]
        for row in painted:
            picture = images.read(picture_path(folder, row))
            difference = ((picture - reference["float"]) * AMPLIFIED + 0.5).clip(0, 1)
            figures.append(Figure(picture, f"{row.scheme}: {row.psnr_db:.1f} dB"))
            figures.append(Figure(difference, f"difference x{AMPLIFIED}, {row.scheme}"))
        yield Strip(target, figures)
