"""`edgestyle bench`: how long exported files take, here or on any phone, and whether that has changed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import interrupts, output

if TYPE_CHECKING:
    from edgestyle.latency.collect import Findings
    from edgestyle.latency.plan import Job
    from edgestyle.latency.results import Report

EPILOG = """\
examples:
  edgestyle bench build/ --report build/latency
  edgestyle bench ours.onnx --against theirs.onnx
  edgestyle bench build/ --baseline last.json               # an earlier report of this machine
  edgestyle bench build/ --baseline base_build/             # in CI: the base branch's files, in the same job
  edgestyle bench great_wave --sizes 256,512,1024,2048,4096
  edgestyle bench build/ --browser --lan                    # any phone: scan the code, tap start
  edgestyle bench build/*.tflite --android --benchmark-model benchmark_model

Each file is timed on every delegate of this machine in a process of its own; upload of the picture and readback of the
result are in the times. --against and a folder as --baseline run the two sides in turn, so that other load falls out.
Slower or faster is what is proven (the 95 % interval of the ratio excludes 1) and matters (over the threshold); with
--baseline, slower is a failure, and the exit code is then 1. So is a broken budget of edgestyle.toml:

  [budget.great_wave]      # the network's name, or a file's without its suffix
  p90_ms = 20
  bytes = 800_000
  psnr_db = 60             # against the float network, by the manifest
"""

_MOST_RUNS = 10_000


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="how long exported files take, and whether that has changed",
        description="Time exported files on every delegate that runs here, in browsers on any device, or on a phone.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "artifacts",
        nargs="+",
        metavar="ARTIFACT",
        help="exported files, folders of them, globs, checkpoints, zoo names",
    )
    parser.add_argument(
        "--delegate",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one, emulated ones too; may be given several times; default: all that are real",
    )
    parser.add_argument("--against", metavar="ARTIFACT", help="compare with this file, checkpoint or folder, in turn")
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE|FOLDER", help="fail if slower than this report.json, or these files"
    )
    parser.add_argument(
        "--threshold", type=_percent, default=10.0, metavar="PERCENT", help="smallest change that matters; default: 10"
    )
    parser.add_argument(
        "--sizes", type=_sizes, default=(), metavar="N,N", help="pixels, for what takes any: 256,512 or 1280x720"
    )
    parser.add_argument(
        "--memory", type=_megabytes, metavar="MB", help="what a picture may take, for --sizes; default: what is free"
    )
    parser.add_argument("--runs", type=_runs, default=100, metavar="N", help="most timed runs of each; default: 100")
    browser = parser.add_argument_group("in browsers")
    browser.add_argument("--browser", action="store_true", help="serve a page that times the files on what opens it")
    browser.add_argument("--lan", action="store_true", help="to the local network, not to this machine alone")
    browser.add_argument("--port", type=_port, metavar="N", help="default: any that is free")
    browser.add_argument("--devices", type=_count, metavar="N", help="end after so many; default: 1")
    android = parser.add_argument_group("on an Android phone")
    android.add_argument(
        "--android", nargs="?", const="", metavar="SERIAL", help="over adb; the serial number if there are several"
    )
    android.add_argument(
        "--benchmark-model", type=Path, metavar="FILE", help="LiteRT's benchmark_model for the phone's processor"
    )
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write index.html, report.md, .json, junit.xml")
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: edgestyle.toml in the current folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure; 0 if nothing failed, regressed or broke its budget, else 1. On Ctrl-C, what was measured is kept."""
    from edgestyle import settings
    from edgestyle.files import make_folder
    from edgestyle.latency import baseline, collect
    from edgestyle.latency.measure import Effort

    budgets = settings.load(args.config)
    if args.report:
        make_folder(args.report)  # before the long work, not after it
    findings = collect.Findings(Effort(runs=args.runs), args.threshold / 100, args.memory, interrupts.progress)
    interrupted = None
    try:
        jobs = _measuring(args)(args, findings)
        findings.budgets += baseline.check_budgets(findings.results, collect.drifts(jobs), budgets)
    except KeyboardInterrupt as error:
        interrupted = error
        findings.notes.append("It was interrupted: only what was measured until then is here.")
        if not findings.results:
            raise
    report = findings.report()
    _write(args, report)
    if interrupted:
        output.note(f"kept what was measured: {len(report.results)} results")
        return 128 + (interrupted.args[-1] if interrupted.args else 2)
    return 0 if report.passed else 1


# Measuring ----------------------------------------------------------------------------------------------------------


def _measuring(args: argparse.Namespace) -> Callable[[argparse.Namespace, Findings], list[Job]]:
    """Where to measure."""
    from edgestyle.errors import UsageError

    if not args.browser and (args.lan or args.port or args.devices):
        raise UsageError("--lan, --port and --devices are for --browser; add it, or leave them out")
    if args.android is None and args.benchmark_model:
        raise UsageError("--benchmark-model is for --android; add it, or leave that out")
    if args.android is None and not args.browser:
        return _measure_here
    if args.against or args.baseline or (args.android is not None and args.browser):
        raise UsageError("--browser and --android cannot be combined with each other, --against or --baseline")
    return _measure_in_browsers if args.browser else _measure_on_android


def _measure_here(args: argparse.Namespace, findings: Findings) -> list[Job]:
    """On this machine."""
    from edgestyle.latency import baseline, plan

    jobs = plan.jobs(args.artifacts, args.delegate)
    others = plan.jobs([args.against], args.delegate) if args.against else []
    pairs = plan.against(jobs, others) if others else []
    base, earlier = _read_baseline(args, findings, jobs)
    findings.measure_machine()
    findings.measure([*jobs, *others], args.sizes)
    findings.compare(pairs, gated=False)
    findings.compare(base, gated=True)
    if earlier:
        comparisons, notes = baseline.compare(findings.results, earlier, findings.threshold)
        findings.comparisons += comparisons
        findings.notes += notes
    return [*jobs, *others]


def _read_baseline(args: argparse.Namespace, findings: Findings, jobs: list[Job]) -> tuple[list[Any], tuple[Any, ...]]:
    """What is to be run in turn with a folder of earlier files, or the results of an earlier report."""
    from edgestyle.latency import baseline, plan

    if args.baseline is None:
        return [], ()
    if args.baseline.is_dir():
        pairs, notes = plan.pairs(jobs, plan.jobs([str(args.baseline)], args.delegate))
        findings.notes += notes
        return pairs, ()
    earlier, why_not = baseline.read(args.baseline, findings.machine)
    findings.notes += [why_not] if why_not else []
    return [], earlier


def _measure_in_browsers(args: argparse.Namespace, findings: Findings) -> list[Job]:
    """On every device that opens the page."""
    from edgestyle import browser
    from edgestyle.errors import UsageError
    from edgestyle.latency import browsers, plan

    if args.delegate:
        raise UsageError("--browser measures what the browser has; --delegate cannot choose")

    def take(measurement: browser.Measurement) -> None:
        result = browsers.result(measurement)
        findings.results.append(result)
        output.note(f"{result.label}: {f'{_short(result.p50_ms)} ms' if result.p50_ms else result.status}")

    jobs = plan.jobs(args.artifacts)
    files = browsers.files(jobs)
    browser.measure(
        files,
        size=args.sizes[0] if args.sizes else (512, 512),
        samples=args.runs,
        lan=args.lan,
        port=args.port or 0,
        devices=args.devices or 1,
        on_url=_show_url,
        on_result=take,
    )
    return jobs


def _measure_on_android(args: argparse.Namespace, findings: Findings) -> list[Job]:
    """On a phone."""
    from edgestyle.errors import UsageError
    from edgestyle.latency import android, plan

    if args.benchmark_model is None:
        raise UsageError(
            "--android needs LiteRT's benchmark_model for the phone's processor: --benchmark-model FILE (docs/bench.md "
            "says where it is from); without it, --browser --lan measures in the phone's browser"
        )
    if args.sizes:
        raise UsageError("benchmark_model runs each file at its own size; --sizes cannot choose")
    jobs = plan.jobs(args.artifacts)
    options = (args.benchmark_model, args.android, args.delegate, findings.effort)
    android.measure(jobs, *options, progress=findings.progress, found=findings.results.append)
    return jobs


def _show_url(url: str) -> None:
    from edgestyle.browser.measuring import qr

    output.note(f"{qr(url)}\nopen {url} on the device, and keep this command running; Ctrl-C ends it")


# Results ------------------------------------------------------------------------------------------------------------


def _write(args: argparse.Namespace, report: Report) -> None:
    """To the folder, and to the terminal or as JSON."""
    result = report.model_dump(mode="json")
    if args.report:
        from edgestyle.latency import report as render
        from edgestyle.report import write

        document = render.document(report, args.threshold / 100)
        write.write(args.report, document, result, render.cases(report), {render.BENCHMARK: render.benchmark(report)})
    if args.json:
        output.print_json(result)
        return
    _print(report)
    if args.report:
        output.say(f"\n{args.report / 'index.html'}")


def _print(report: Report) -> None:
    from edgestyle.latency.report import size_text, summary

    numbers = ("size", "p50 ms", "p90 ms", "min ms", "init ms", "first ms", "peak MB", "file", "GFLOP/s")
    rows = []
    for result in report.results:
        where = f"{result.delegate}{f' on {result.device}' if result.device else ''}"
        times = (result.p50_ms, result.p90_ms, result.min_ms, result.init_ms, result.first_ms, result.peak_mb)
        remarks = ["emulated"] * result.emulated + ["hot"] * result.hot
        remarks += [f"tiles of {result.tile}"] * (result.tile is not None) + [result.reason] * bool(result.reason)
        if result.status != "passed":
            remarks.insert(0, result.status)
        cells = [size_text(result), *map(_short, times), output.file_size(result.bytes), _short(result.gflops)]
        rows.append((result.artifact, where, *cells, ", ".join(remarks)))
    output.table(("artifact", "delegate", *numbers, ""), rows, right=numbers)
    for comparison in report.comparisons:
        low, high = comparison.ci95
        ratio = f"{comparison.ratio:.3f} times ({low:.3f} to {high:.3f})"
        output.say(f"\n{comparison.a}\n  takes {ratio} as long as {comparison.b}: {comparison.verdict}")
    if report.budgets:
        output.say()
        output.table(("budget", "result", ""), [(check.name, check.status, check.reason) for check in report.budgets])
    for note in report.notes:
        output.say(f"\nnote: {note}")
    output.say(f"\n{summary(report)}")


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# Arguments ----------------------------------------------------------------------------------------------------------


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Heights and widths from "256,512" or "1280x720" (width x height)."""
    found = [re.fullmatch(r"([0-9]{1,5})(?:[xX]([0-9]{1,5}))?", part.strip()) for part in text.split(",")]
    if not all(match and int(match[1]) and int(match[2] or 1) for match in found):
        raise argparse.ArgumentTypeError(f"'{text}' are no sizes; write 256,512 or 1280x720 (width x height)")
    return tuple((int(match[2] or match[1]), int(match[1])) for match in found if match)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no count; write a whole number from 1")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port; write a whole number from 1 to 65535, or 0 for any")
    return int(text)


def _runs(text: str) -> int:
    count = _count(text)
    if count > _MOST_RUNS:
        raise argparse.ArgumentTypeError(
            f"{count} runs are too many; at most {_MOST_RUNS:,}, which no percentile needs"
        )
    return count


def _megabytes(text: str) -> int:
    """Bytes."""
    return _count(text) * 10**6


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is no percentage; write a number over 0, such as 10")
    return value
