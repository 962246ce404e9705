"""Results as a document, as JUnit cases, and for github-action-benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator

from edgestyle.latency.results import Report, Result
from edgestyle.latency.stats import runs_needed
from edgestyle.manifest import Status
from edgestyle.report import plots
from edgestyle.report.document import Case, Cell, Column, Document, Plot, Section, Table

BENCHMARK = "benchmark.json"
"""Name of the file for github-action-benchmark (its tool `customSmallerIsBetter`) in a report's folder."""
_LAYERS = 12
"""Layers listed of each artifact: the dearest."""


def document(report: Report, threshold: float) -> Document:
    """The report for people.

    Args:
        report: What was found.
        threshold: Smallest change that matters, as a fraction.
    """
    parts = (_latency, _emulated, _comparisons, _budgets, _scaling, _limits, _layers, _unmeasured)
    sections = [Section("Notes", "\n\n".join(report.notes))] if report.notes else []
    for part in parts:
        sections += part(report, threshold)
    return Document("Latency", report.passed, summary(report), sections, facts(report))


def summary(report: Report) -> str:
    """How it went, in a sentence or two."""
    measured = [result for result in report.results if result.measured]
    regressed = [comparison.a for comparison in report.comparisons if comparison.regressed]
    statuses = [*(result.status for result in report.results), *(check.status for check in report.budgets)]
    parts = [f"{len(measured)} of {len(report.results)} results could be measured here"]
    if report.comparisons:
        verdicts = [comparison.verdict for comparison in report.comparisons]
        counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)]
        told = f"of {len(verdicts)} comparisons: {', '.join(counts)}" if len(verdicts) > 1 else verdicts[0]
        parts.append(told)
    if regressed:
        parts.append(f"slower than before: {', '.join(regressed)}")
    if "failed" in statuses:
        parts.append(f"{statuses.count('failed')} failed")
    return f"{'; '.join(parts)}."


def cases(report: Report) -> list[Case]:
    """The checks, for JUnit XML: that everything could be measured, gated comparisons and budgets."""
    found = [
        Case("latency", _name(result), result.status, result.reason, sum(result.samples_ms) / 1e3)
        for result in report.results
    ]
    for comparison in report.comparisons:
        if comparison.gated:
            low, high = comparison.ci95
            status: Status = "failed" if comparison.regressed else "passed"
            reason = f"{comparison.ratio:.2f} times the time of {comparison.b} (95 % interval {low:.2f} to {high:.2f})"
            found.append(Case("regression", comparison.a, status, reason))
    return found + [Case("budget", check.name, check.status, check.reason) for check in report.budgets]


def benchmark(report: Report) -> str:
    """Medians, sizes and peak memory, in the form of github-action-benchmark's `customSmallerIsBetter`."""
    entries: list[dict[str, object]] = []
    for result in report.results:
        if result.emulated or result.p50_ms is None:
            continue
        name = _name(result)
        p90 = f", p90 {result.p90_ms:.4g} ms" if result.p90_ms is not None else ""
        extra = f"median of {result.runs} runs{p90}, minimum {result.min_ms:.4g} ms"
        spread = {} if result.mad_ms is None else {"range": f"± {result.mad_ms:.4g}"}
        entries.append({"name": name, "unit": "ms", "value": result.p50_ms, **spread, "extra": extra})
        if result.peak_mb is not None:
            entries.append({"name": f"{name}, peak memory", "unit": "MB", "value": result.peak_mb})
    for artifact, count in {result.artifact: result.bytes for result in report.results}.items():
        entries.append({"name": f"{artifact}, size", "unit": "bytes", "value": count})
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


# Sections -----------------------------------------------------------------------------------------------------------

_TIMES = (
    Column("artifact"),
    Column("delegate"),
    Column("size", numeric=True, hint="Width and height of the picture in pixels."),
    Column(
        "p50 ms", numeric=True, hint="Median time of a run, upload of the picture and readback of the result in it."
    ),
    Column("p90 ms", numeric=True, hint=f"90th percentile; needs {runs_needed(90)} runs."),
    Column("p99 ms", numeric=True, hint=f"99th percentile; needs {runs_needed(99)} runs."),
    Column("min ms", numeric=True),
    Column("MAD ms", numeric=True, hint="Median absolute deviation from the median."),
    Column("runs", numeric=True),
    Column("init ms", numeric=True, hint="From the file on disk to ready to run."),
    Column("first ms", numeric=True, hint="First run, which allocates, packs weights and compiles shaders."),
    Column("peak MB", numeric=True, hint="Peak memory of a process that does nothing else, Python (60 MB) in it."),
    Column("file kB", numeric=True),
    Column("on it", hint="Operations that ran on the delegate, of all."),
    Column("", hint="hot: the last quarter of the runs was slower than the first, so the device may have throttled."),
)


def _latency(report: Report, _threshold: float) -> Iterator[Section]:
    real = [result for result in report.results if result.measured and not result.emulated]
    rows = [plots.Runs(_name(r), r.samples_ms, r.p50_ms, r.p90_ms) for r in real if r.samples_ms and r.p50_ms]
    if real:
        drawing: list[Plot] = [plots.distribution(rows)] if rows else []
        yield Section("Time of a run", "", [Table(_TIMES, [_times(result) for result in real]), *drawing])


def _emulated(report: Report, _threshold: float) -> Iterator[Section]:
    rows = [_times(result) for result in report.results if result.measured and result.emulated]
    if rows:
        text = (
            "These stand in for hardware that is not here. Their times say nothing of it and are compared with nothing."
        )
        yield Section("Emulated delegates", text, [Table(_TIMES, rows)])


def _times(result: Result) -> list[Cell]:
    times = [result.p50_ms, result.p90_ms, result.p99_ms, result.min_ms, result.mad_ms]
    flags = ["hot"] * result.hot + [f"tiles of {result.tile}"] * (result.tile is not None)
    flags += [result.reason] * bool(result.reason)
    ran = f"{result.delegated[0]}/{result.delegated[1]}" if result.delegated else ""
    return [
        Cell(result.artifact),
        Cell(f"{result.delegate} on {result.device}" if result.device else result.delegate),
        Cell(size_text(result), result.megapixels),
        *(Cell(number(value), value) for value in times),
        Cell(str(result.runs), result.runs),
        *(Cell(number(value), value) for value in (result.init_ms, result.first_ms, result.peak_mb)),
        Cell(f"{result.bytes / 1e3:,.1f}", result.bytes),
        Cell(ran),
        Cell(", ".join(flags)),
    ]


def _comparisons(report: Report, threshold: float) -> Iterator[Section]:
    if not report.comparisons:
        return
    ratio = Column("ratio", numeric=True, hint="How many times longer the first takes: above 1 is slower.")
    columns = (Column("this"), Column("against"), ratio, Column("95 % interval"), Column("how"), Column("verdict"))
    rows = []
    for comparison in report.comparisons:
        status: Status | None = ("failed" if comparison.regressed else "passed") if comparison.gated else None
        low, high = comparison.ci95
        rows.append(
            [
                Cell(comparison.a),
                Cell(comparison.b),
                Cell(f"{comparison.ratio:.3f}", comparison.ratio),
                Cell(f"{low:.3f} to {high:.3f}"),
                Cell("in turn" if comparison.interleaved else "at another time"),
                Cell(comparison.verdict, status=status),
            ]
        )
    ratios = [plots.Ratio(c.a, c.ratio, *c.ci95, c.verdict) for c in report.comparisons]
    text = (
        f"Slower or faster is only what is proven (the interval excludes 1) and matters (over {threshold:.0%}). "
        "The interval of what ran at another time does not know what else the machine did then."
    )
    yield Section("Comparisons", text, [Table(columns, rows), plots.against_baseline(ratios, threshold)])


def _budgets(report: Report, _threshold: float) -> Iterator[Section]:
    if report.budgets:
        rows = [[Cell(c.name), Cell(c.status, status=c.status), Cell(c.reason)] for c in report.budgets]
        yield Section("Budgets", "", [Table((Column("budget"), Column("result"), Column("")), rows)])


def _scaling(report: Report, _threshold: float) -> Iterator[Section]:
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in report.results:
        if result.samples_ms and not result.emulated:
            key = (result.model, result.target, result.scheme, result.delegate, result.device)
            groups.setdefault(key, []).append(result)
    lines = {
        " ".join(dict.fromkeys(filter(None, key))): sorted(group, key=lambda result: result.megapixels)
        for key, group in groups.items()
        if len({result.size for result in group}) > 1
    }
    if not lines:
        return
    titles = ("megapixels", "ms", "ms / megapixel", "peak MB")
    columns = (Column("network"), Column("size"), *(Column(t, numeric=True) for t in titles), Column(""))
    rows = []
    for label, group in lines.items():
        for result in group:
            values = (result.megapixels, result.p50_ms, (result.p50_ms or 0) / result.megapixels, result.peak_mb)
            tiles = f"in tiles of {result.tile}" if result.tile else ""
            cells = [Cell(number(value), value) for value in values]
            rows.append([Cell(label), Cell(size_text(result), result.megapixels), *cells, Cell(tiles)])
    costs = {
        label: [plots.Work(result.megapixels, result.p50_ms or 0, result.peak_mb) for result in group]
        for label, group in lines.items()
    }
    yield Section("Cost by size", "", [Table(columns, rows), plots.scaling(costs)])


def _limits(report: Report, _threshold: float) -> Iterator[Section]:
    counted = [result for result in report.results if result.gflops and not result.emulated and not result.device]
    if not counted or report.peak is None:
        return
    columns = (
        Column("artifact"),
        Column("delegate"),
        Column("GMAC", numeric=True, hint="Billions of multiplications, each with its addition."),
        Column("weights", numeric=True),
        Column("MB moved", numeric=True, hint="Inputs, weights and outputs of every layer, each once."),
        Column("GFLOP/s", numeric=True, hint="Achieved at the median time."),
        Column(
            "of the fp32 roofline",
            numeric=True,
            hint="GFLOP/s as a share of what the machine can do at so many a byte.",
        ),
    )
    rows = []
    for result in counted:
        values = (result.gmac, result.params, result.moved_mb, result.gflops)
        cells = [Cell(number(value), value) for value in values]
        share = Cell(f"{result.roofline:.0%}" if result.roofline else "", result.roofline)
        rows.append([Cell(result.artifact), Cell(result.delegate), *cells, share])
    points = [
        plots.Achieved(_name(r), 2e3 * r.gmac / r.moved_mb, r.gflops)
        for r in counted
        if r.gmac and r.moved_mb and r.gflops
    ]
    drawing: list[Plot] = [plots.roofline(points, report.peak.gflops, report.peak.gb_s)] if points else []
    text = (
        f"This machine was seen to do {report.peak.gflops:.0f} GFLOP/s in 32-bit floats (a product of matrices) and "
        f"to move {report.peak.gb_s:.1f} GB/s (a copy), with {report.peak.threads} threads. Files in 8-bit integers "
        "can pass that peak, and runtimes that fuse layers move less than is counted."
    )
    yield Section("How far from the machine's limits", text, [Table(columns, rows), *drawing])


def _layers(report: Report, _threshold: float) -> Iterator[Section]:
    tables = []
    columns = (
        Column("layer"),
        Column("operation"),
        *(Column(t, numeric=True) for t in ("MMAC", "weights", "MB moved")),
    )
    for artifact, layers in report.layers.items():
        dearest = sorted(layers, key=lambda layer: layer[2:], reverse=True)[:_LAYERS]
        rows = []
        for name, op, macs, params, moved in dearest:
            values = (macs / 1e6, params, moved / 1e6)
            short = name if len(name) < 40 else f"…{name[-38:]}"
            rows.append([Cell(short), Cell(op), *(Cell(number(value), value) for value in values)])
        tables.append(Table(columns, rows, f"{artifact}: the {len(rows)} dearest of {len(layers)} layers"))
    if tables:
        yield Section("Layers", "All layers are in report.json.", tables)


def _unmeasured(report: Report, _threshold: float) -> Iterator[Section]:
    rows = [
        [Cell(result.artifact), Cell(result.delegate), Cell(result.status, status=result.status), Cell(result.reason)]
        for result in report.results
        if not result.measured
    ]
    if rows:
        columns = [Column(title) for title in ("artifact", "delegate", "result", "why")]
        yield Section("Not measured", "", [Table(columns, rows)])


def facts(report: Report) -> list[tuple[str, str]]:
    """The machine, for the end of a document."""
    machine = report.machine
    return [
        ("Machine", f"{machine.cpu}, {machine.threads} threads, {machine.system} {machine.architecture}"),
        ("Memory", f"{machine.memory_mb:,} MB" if machine.memory_mb else "not told"),
        ("Governor", machine.governor or "not told"),
        ("Load before", "not told" if machine.load is None else f"{machine.load}{' (busy)' if machine.busy else ''}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
    ]


def size_text(result: Result) -> str:
    """Width x height."""
    return f"{result.size[1]}x{result.size[0]}" if result.size else ""


def _name(result: Result) -> str:
    """What a result is, unique in the report."""
    return f"{result.label}, {size_text(result)}" if result.size else result.label


def number(value: float | None) -> str:
    """Three digits; nothing for what was not measured."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value >= 0.01 else f"{value:.1g}"
