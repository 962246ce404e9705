"""Make the tables of docs/quantization.md: every number format, observer and layer, for each network of the zoo.

    python docs/make_quantization.py [MODEL...] [--size 512] [--folder build/quantization]

It goes on where it was interrupted. On two free cores it takes about a quarter of an hour for each network.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import torch

from edgestyle import checkpoint, exporting, images, parts, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import output
from edgestyle.drift import Drift, measure, worst
from edgestyle.latency.machine import describe
from edgestyle.parts import Part
from edgestyle.quantization import photos, sensitivity, sensitivity_report, sweep, sweep_report
from edgestyle.quantization.calibration import calibrate
from edgestyle.quantization.judging import Judge
from edgestyle.quantization.observers import OBSERVERS
from edgestyle.quantization.simulation import Simulation
from edgestyle.quantization.sweep import Row, Sweep
from edgestyle.report import markdown
from edgestyle.report.document import Cell, Column, Document, Section, Table
from edgestyle.target import Target

PAGE = Path(__file__).with_name("quantization.md")
WORST_LAYERS = 8
"""Of a network, in the table of layers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--target", nargs="+", default=registry.names(registry.TARGETS))
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--folder", type=Path, default=Path("build/quantization"))
    args = parser.parse_args()
    size = (args.size, args.size)
    found = [checkpoint.find(model) for model in args.model] or checkpoint.zoo()
    targets = tuple(registry.load(registry.TARGETS, name) for name in args.target)
    text = "\n".join(part for each in found for part in sections(each, targets, size, args.folder / each.name))
    machine = describe()
    about = f"{args.size}x{args.size}, {machine.cpu}, {machine.threads} threads, load {machine.load}; drift is the worst of four held-out photos."
    page = re.sub(
        r"(<!-- tables -->\n).*?(\n<!-- end -->)",
        lambda parts: f"{parts[1]}\n{about}\n\n{text}{parts[2]}",
        args.page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    args.page.write_text(page, encoding="utf-8")


def sections(found: Checkpoint, targets: tuple[Target, ...], size: tuple[int, int], folder: Path) -> Iterator[str]:
    """What is known of a network, as Markdown; of one that paints by any painting, with a sample photo's style."""
    part = parts.by_example(found, targets[0])
    rows = list(sweep.run(Sweep(found, part, targets, size, folder), output.progress))
    columns = [Column(title, numeric=2 < i < 11) for i, title in enumerate(sweep_report.titles())]
    yield f"### {part.name}\n"
    yield table(columns, [sweep_report.cells(row, rows) for row in rows])
    yield table(
        [Column("delegate"), Column("take"), Column("why")],
        [[Cell(a.delegate), Cell(a.take), Cell(a.why)] for a in sweep_report.advise(rows)],
    )
    yield f"{agreement(rows, size, folder)}\n"
    yield observers(found, part, size)
    yield layers(part, size)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> str:
    """Markdown of one table."""
    section = Section("", blocks=[Table(columns, rows)])
    return markdown.render(Document("", None, "", [section])).partition("## \n")[2].strip() + "\n"


def agreement(rows: Sequence[Row], size: tuple[int, int], folder: Path) -> str:
    """How near the int8 files of any two targets are, worst photo."""
    pictures = {}
    for row in rows:
        if row.scheme == "int8" and row.file:
            session = registry.load(registry.RUNNERS, row.delegate).open(folder / row.file)
            pictures[row.delegate] = [session.run(photo) for photo in exporting.check_photos(size)]
    pairs = [
        f"{a} and {b} {worst(map(measure, pictures[a], pictures[b])).psnr_db:.1f} dB"
        for a, b in combinations(pictures, 2)
    ]
    return f"The same int8 network on two runtimes: {', '.join(pairs)}." if pairs else ""


def observers(found: Checkpoint, part: Part, size: tuple[int, int]) -> str:
    """What each observer's ranges leave of the int8 ONNX file's pictures."""
    columns = [Column("observer"), *(Column(title, True) for title in ("PSNR, worst", "PSNR, mean", "SSIM, worst"))]
    cells = []
    for observer, drifts in compare(found, part, size).items():
        least, mean = worst(drifts), sum(drift.psnr_db for drift in drifts) / len(drifts)
        cells.append([Cell(observer), *map(Cell, (f"{least.psnr_db:.1f}", f"{mean:.1f}", f"{least.ssim:.4f}"))])
    return table(columns, cells)


def compare(found: Checkpoint, part: Part, size: tuple[int, int]) -> dict[str, list[Drift]]:
    """The drift of each held-out photo, by observer."""
    target = registry.load(registry.TARGETS, "onnx")
    quantize = registry.load(registry.SCHEMES, "int8").calibrated["onnx"]
    runner = registry.load(registry.RUNNERS, "onnxruntime-cpu")
    seen, held_out = photos.load(None, size), exporting.check_photos(size)
    with torch.inference_mode():
        expected = [part.net(torch.from_numpy(photo)).numpy() for photo in held_out]
    result: dict[str, list[Drift]] = {}
    with tempfile.TemporaryDirectory() as folder:
        floats, path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        contract = exporting.contract_for(found, target, "int8", size, part.stride, part=part)
        target.write(part.net, contract, floats)
        for observer in OBSERVERS:
            shutil.copyfile(floats, path)
            quantize(path, calibrate(part.net, seen, observer))
            session = runner.open(path)
            painted: list[images.Image] = [session.run(photo) for photo in held_out]
            result[observer] = list(map(measure, painted, expected))
    return result


def layers(part: Part, size: tuple[int, int]) -> str:
    """The layers that 8 bits hurt most, each alone."""
    simulation = Simulation(part.net, exporting.calibrate(part, size))
    judge = Judge(part.net, exporting.check_photos(size))
    ranked = sensitivity.by_harm(list(sensitivity.rank(simulation, judge)))
    paint = sensitivity.painter(simulation)
    whole = sensitivity_report.table(ranked[:WORST_LAYERS], judge.harm([paint(photo) for photo in judge.photos]))
    return table(whole.columns, whole.rows)


if __name__ == "__main__":
    main()
