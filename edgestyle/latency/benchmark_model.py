"""LiteRT's command-line tool `benchmark_model`: what to ask of it, and what it prints.

There are two tools of that name. TensorFlow Lite's prints its results as "Inference timings in us: ..." and knows no
`--use_npu`; LiteRT's prints "BENCHMARK RESULTS". Both print a line of statistics ("count=50 first=...") for the warm-up
and one for the runs, newer ones with the median in it. Neither tells the time of each run.

Sources: tflite/tools/benchmark/benchmark_model.cc and litert/tools/benchmark_litert_model.{h,cc} of
https://github.com/google-ai-edge/LiteRT.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgestyle.errors import CheckError, UnavailableError
from edgestyle.latency.measure import Effort

DELEGATES = {
    "android-cpu": ("--num_threads=4",),  # the large cores of most phones
    "android-gpu": ("--use_gpu=true",),
    "android-npu": ("--use_npu=true",),
}
"""What is measured -> the flags that ask for it."""
_CPU = "XNN"
"""In the names of the CPU's own delegate: TfLiteXNNPackDelegate."""
_MIB = 1024**2 / 1e6

_STATISTICS = re.compile(r"count=(\d+)(.*)")
_STATISTIC = re.compile(r"\b(first|curr|min|avg|median)=([\d.e+]+)")
_TFLITE_INIT = re.compile(r"Inference timings in us: Init: ([\d.e+]+)")
_LITERT_INIT = re.compile(r"Model initialization:\s+([\d.]+) ms")
_LITERT_WARMUP = re.compile(r"Warmup \(first\):\s+([\d.]+) ms")
_LITERT_RUNS = re.compile(r"Inference \((avg|min)\):\s+([\d.]+) ms(?: \((\d+) runs\))?")
_MEMORY = re.compile(
    r"(?:Memory footprint delta.*overall=|Peak memory footprint \(MB\):.*overall=|Overall footprint:\s+)([\d.]+)"
)
_REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(([^)]*)\)")
_APPLIED = re.compile(r"Explicitly applied (\w+) delegate, and the model graph will be (completely|partially) executed")
_REFUSED = re.compile(r"Though (\w+) delegate is explicitly applied, the model graph will not be executed")
_IGNORED = re.compile(r"Unconsumed cmdline flags: (.*\S)")


@dataclass(frozen=True)
class Measured:
    """What the tool says of one file; times in ms."""

    runs: int
    init_ms: float
    first_ms: float
    """First run of the warm-up."""
    min_ms: float
    mean_ms: float
    median_ms: float | None
    """None from tools before 2024, which do not print it."""
    memory_mb: float | None
    """By which the tool's process had grown after the last run."""
    delegated: tuple[int, int] | None
    """Operations that the GPU or NPU took, and all; None if the tool does not say, as of the CPU."""
    partial: bool
    """The rest of the operations ran on the CPU."""


def arguments(delegate: str, graph: str, folder: str, effort: Effort) -> list[str]:
    """Flags for a file.

    Args:
        delegate: Of `DELEGATES`.
        graph: The file, on the phone.
        folder: Where the tool's libraries are, on the phone.
        effort: How long to measure.
    """
    libraries = [f"--dispatch_library_path={folder}", f"--compiler_plugin_library_path={folder}"]
    return [
        f"--graph={graph}",
        f"--num_runs={effort.runs}",
        "--min_secs=0",
        f"--max_secs={effort.most_s:g}",
        f"--warmup_runs={effort.warmup_runs}",
        f"--warmup_min_secs={effort.warmup_s:g}",
        *DELEGATES[delegate],
        *(libraries if delegate == "android-npu" else []),
    ]


def parse(text: str, delegate: str) -> Measured:
    """Read what the tool printed.

    Raises:
        UnavailableError: It did not run on the delegate that was asked for.
        CheckError: It printed no result.
    """
    _refuse_fallback(text, delegate)
    count, times = _times(text)
    if not count:
        raise CheckError(f"benchmark_model gave no result: {last_words(text)}")
    memory = _MEMORY.search(text)
    replaced, partial = _taken(text)
    return Measured(
        runs=count,
        init_ms=times["init"],
        first_ms=times["first"],
        min_ms=times["min"],
        mean_ms=times["avg"],
        median_ms=times.get("median"),
        memory_mb=round(float(memory[1]) * _MIB, 1) if memory else None,
        delegated=replaced,
        partial=partial,
    )


def _times(text: str) -> tuple[int, dict[str, float]]:
    """Number of runs and their times in ms; 0 if there are none."""
    statistics = _STATISTICS.findall(text)[-2:]
    tflite, litert, warmup = _TFLITE_INIT.search(text), _LITERT_INIT.search(text), _LITERT_WARMUP.search(text)
    if not (tflite or litert):
        return 0, {}
    times = {"init": float(litert[1]) if litert else float(tflite[1]) / 1e3 if tflite else 0.0}
    if len(statistics) == 2:
        first, runs = ({name: float(us) / 1e3 for name, us in _STATISTIC.findall(rest)} for _, rest in statistics)
        equal = {
            "min": runs["curr"],
            "avg": runs["curr"],
        }  # of one run, or equal ones: "count=1 curr=670083" and no more
        return int(statistics[1][0]), times | equal | runs | {"first": first.get("first", first["curr"])}
    if not warmup:
        return 0, {}
    found = _LITERT_RUNS.findall(text)
    times |= {name: float(ms) for name, ms, _ in found} | {"first": float(warmup[1])}
    return max((int(count or 0) for *_, count in found), default=0), times


def _refuse_fallback(text: str, delegate: str) -> None:
    """A tool that cannot do what was asked measures the CPU instead, and says so in passing at most."""
    ignored = _IGNORED.search(text)
    wanted = {flag.partition("=")[0] for flag in DELEGATES[delegate]}
    missing = wanted & {flag.partition("=")[0] for flag in ignored[1].split()} if ignored else set()
    if missing:
        raise UnavailableError(
            f"this benchmark_model does not know {', '.join(sorted(missing))}; LiteRT's newer one does"
        )
    if delegate == "android-cpu":
        return
    names = [name for _, _, name in _REPLACED.findall(text)]
    on_cpu = bool(names) and all(_CPU in name for name in names) and not _APPLIED.search(text)
    if _REFUSED.search(text) or on_cpu:
        raise UnavailableError(f"the {delegate.removeprefix('android-').upper()} took no operation: all ran on the CPU")


def _taken(text: str) -> tuple[tuple[int, int] | None, bool]:
    """Operations that a GPU or NPU took and all, if told; and whether it is known that it did not take all."""
    for some, of_all, name in _REPLACED.findall(text):
        if _CPU not in name:
            return (int(some), int(of_all)), some != of_all
    applied = _APPLIED.search(text)
    return None, bool(applied and applied[2] == "partially")


def last_words(text: str) -> str:
    """The last line of a log that says anything: for most failures, the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "CANNOT LINK", "Segmentation", "Aborted"))]
    return (errors or lines or ["it printed nothing"])[-1][:300]
