"""The results of a validation as JSON, as a report and as cases for a CI system."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from edgestyle import __version__, gates
from edgestyle.exporting import size_text
from edgestyle.images import Image
from edgestyle.manifest import Status
from edgestyle.metrics import Metrics
from edgestyle.report.document import Case, Cell, Column, Document, Figure, Section, Strip, Table
from edgestyle.validation import EMULATED_PIXELS, Result

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
_DIGITS = {"psnr_db": 1, "ssim": 4, "delta_e": 2, "border": 1, "worst_tile": 1}
_STATUS: dict[Status, str] = {"passed": "passed", "failed": "failed", "could not run": "could not run here"}


def passed(results: Iterable[Result]) -> bool:
    """Whether nothing failed. What could not run here is no failure unless it was required."""
    return all(result.status != "failed" for result in results)


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """What `--json` prints."""
    return {"results": [_row(result) for result in results], "passed": passed(results)}


def _row(result: Result) -> dict[str, Any]:
    return {
        "artifact": str(result.artifact),
        "target": result.target,
        "scheme": result.scheme,
        "delegate": result.delegate,
        "emulated": result.emulated,
        "status": result.status,
        "reason": result.reason,
        "metrics": dataclasses.asdict(result.metrics) if result.metrics else None,
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


def document(results: Sequence[Result]) -> Document:
    """The report."""
    return Document(
        title="Validation",
        passed=passed(results),
        lead=summary(results),
        sections=[
            Section("Overview", _OVERVIEW, list(_overviews(results))),
            Section("Results", _about(results), [_table(results)]),
            Section("Pictures", _PICTURES, list(_strips(results))),
            Section("Gates", _GATES, [_gates(results)]),
        ],
        facts=[
            ("edgestyle", __version__),
            ("machine", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
            ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ],
    )


# Tables -------------------------------------------------------------------------------------------------------------

_OVERVIEW = "PSNR in dB of each file against the float network, on each delegate that runs here."


def _overviews(results: Sequence[Result]) -> Iterator[Table]:
    """For each network a table: a row a delegate, a column a variant."""
    by_model: dict[str, dict[str, dict[str, Result]]] = {}
    for result in results:
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
        Column("result", hint="passed, failed, or could not run here."),
        Column("gate", numeric=True, hint="Smallest PSNR in dB that passes."),
        *_METRICS.values(),
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
    yield _number(result.gate.psnr_db if result.gate else None, 0)
    for name in _METRICS:
        yield _number(getattr(result.metrics, name, None), _DIGITS.get(name, 4))
    share = placement.delegated / max(1, placement.total) if placement else None
    yield Cell(f"{placement.delegated} of {placement.total}" if placement else "", share)
    yield _number(placement.partitions if placement else None, 0)
    yield _number(result.photos or None, 0)
    yield Cell(result.reason)


def _number(value: float | None, digits: int) -> Cell:
    return Cell("" if value is None else f"{value:.{digits}f}", value)


def _about(results: Sequence[Result]) -> str:
    """What was compared with what."""
    references = dict.fromkeys(r.reference.title for r in results if r.reference)
    names = dict.fromkeys(pair.name for r in results if r.reference for pair in r.reference.pairs)
    text = f"Compared with {', '.join(references) or 'nothing'}, on {_many(len(names), 'photo')}: {', '.join(names)}. "
    text += "The worst photo counts. Delegates that promise to run everything, GPU and NPU, fail where they do not."
    if any(result.emulated for result in results):
        text += (
            "\n\nEmulated delegates stand in for hardware that is not here: their numbers are those of the hardware, "
            f"their speed is not. They got only as many photos as fill {EMULATED_PIXELS:,} pixels, at least one."
        )
    return text


_GATES = "What a file must reach on the worst photo. edgestyle.toml can ask for something else."


def _gates(results: Sequence[Result]) -> Table:
    used = {(r.scheme or "unknown", _delegate(r)): r.gate for r in results if r.gate}
    columns = [Column("scheme"), Column("delegate"), Column("PSNR", numeric=True), Column("SSIM", numeric=True)]
    rows = [
        [
            Cell(scheme),
            Cell(delegate),
            _number(gate.psnr_db, 0),
            _number(gate.ssim, 3),
            Cell("all" if gate.resident else "any share"),
            Cell(gate.reason),
        ]
        for (scheme, delegate), gate in sorted(used.items(), key=lambda item: _gate_order(item[0]))
    ]
    return Table([*columns, Column("on the delegate"), Column("why")], rows)


def _gate_order(key: tuple[str, str]) -> tuple[int, str]:
    scheme, delegate = key
    known = list(gates.FORMATS)
    return known.index(scheme) if scheme in known else len(known), delegate


# Pictures -----------------------------------------------------------------------------------------------------------

_PICTURES = f"The first photo. A difference is shown {AMPLIFIED} times as large, on grey: grey means equal."


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
