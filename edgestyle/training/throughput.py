"""How many photos a second training learns from, by one process and by several that share the machine's cores.

    python -m edgestyle.training.throughput [--processes 1 2] [--steps 10] [--rounds 3]

Each way is measured in a process group of its own, in turn, several rounds; the median counts. Every process gets an
equal share of the cores as its threads. Photos a second of CPU time say the same where other work shares the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from edgestyle import processors

WARM_UP = 2
"""Steps before time is taken."""


def work(steps: int) -> dict[str, float]:
    """Train for a few steps with the default settings, in every process of the group; what the first measured."""
    import torch

    from edgestyle.losses import PerceptualLoss
    from edgestyle.perceptual import student
    from edgestyle.training import devices
    from edgestyle.training.loop import Run, TrainConfig
    from edgestyle.training.photos import Photos

    config, photos = TrainConfig(), Photos.samples()
    fabric = devices.start("auto", config.precision)
    run = Run(config, fabric=fabric)
    painting = photos.crops(1, config.style_size, (640, 640), torch.Generator().manual_seed(0))
    loss = PerceptualLoss(student().to(fabric.device), painting.to(fabric.device), config.loss)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            fabric.barrier()
            began, cpu = time.perf_counter(), time.process_time()
        run.advance(photos.crops(config.batch, config.view.side, config.scales, run.generator), loss)
    fabric.barrier()
    count = steps * config.batch
    return {
        "photos_per_second": count * fabric.world_size / (time.perf_counter() - began),
        "photos_per_cpu_second": count / (time.process_time() - cpu),
    }


def measure(processes: int, threads: int, steps: int) -> dict[str, float]:
    """`work` in so many processes of so many threads each."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launch, "-m", "edgestyle.training.throughput", "--worker", "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(f"{processes} process(es) failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m edgestyle.training.throughput", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="to measure; default 10")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        numbers = work(args.steps)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(numbers))  # noqa: T201  # to the process that measures
        return
    cores = processors.usable()
    found: dict[int, list[dict[str, float]]] = {}
    for _ in range(args.rounds):
        for processes in args.processes:
            found.setdefault(processes, []).append(measure(processes, max(1, cores // processes), args.steps))
    print(table(found, cores))  # noqa: T201


def table(found: dict[int, list[dict[str, Any]]], cores: int) -> str:
    """Markdown: medians of the rounds, and how many times the first way's speed."""
    keys = ("photos_per_second", "photos_per_cpu_second")
    medians = {processes: [median(row[key] for row in rows) for key in keys] for processes, rows in found.items()}
    first = next(iter(medians.values()))[0]
    lines = [
        "| processes | threads each | photos/s | times | photos per CPU-second |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for processes, (speed, per_cpu) in medians.items():
        threads = max(1, cores // processes)
        lines.append(f"| {processes} | {threads} | {speed:.2f} | {speed / first:.2f} | {per_cpu:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
