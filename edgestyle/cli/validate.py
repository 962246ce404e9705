"""`edgestyle validate`: whether exported files still look right, and run where they should."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import interrupts, output

if TYPE_CHECKING:
    from edgestyle.coreml_trace import Row
    from edgestyle.images import Image
    from edgestyle.validation import Result

EPILOG = """\
examples:
  edgestyle validate build/ --report build/report
  edgestyle validate build/*.onnx --delegate onnxruntime-cpu --delegate onnxruntime-qnn
  edgestyle validate build/ --require litert-gpu --json
  edgestyle validate theirs.onnx --reference ours.onnx
  edgestyle validate build/great_wave-512.mlpackage --trace
  edgestyle validate build/great_wave-512.tflite --flicker --lpips alexnet-owt-7be5be79.pth alex.pth

Each file is run on every delegate of this machine ('edgestyle doctor' lists them), and its pictures are compared with
the float network's. A file fails where it drifts beyond its gate, and on a GPU or NPU also where operations fall back
to the CPU; the exit code is then 1. What could not run here is said, and is no failure unless it was required.

edgestyle.toml in the current folder can change gates:

  [gate.any.int8]          # gate.DELEGATE.SCHEME
  psnr_db = 38
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "validate",
        help="whether exported files still look right, on every delegate of this machine",
        description="Compare exported files with the float network, on every delegate that runs here.",
        epilog=EPILOG,
    )
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="exported files, folders of them, or globs")
    parser.add_argument(
        "--delegate", action="append", default=[], metavar="NAME", help="only this one; may be given several times"
    )
    parser.add_argument(
        "--require", action="append", default=[], metavar="NAME", help="a delegate that must run here, else it fails"
    )
    parser.add_argument(
        "--photos", nargs="+", metavar="PHOTO", help="photos, folders or globs; default: four that come with it"
    )
    parser.add_argument(
        "--reference",
        metavar="NAME|FILE|FOLDER",
        help="compare with this zoo name, checkpoint or exported file; default: the checkpoint each file was made from",
    )
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write index.html, report.md, .json, junit.xml")
    parser.add_argument(
        "--flicker", action="store_true", help="also paint a film on real delegates, and measure how restless it is"
    )
    parser.add_argument(
        "--lpips",
        nargs=2,
        metavar=("BACKBONE", "HEADS"),
        help="also measure LPIPS, by torchvision's weights of AlexNet, VGG-16 or SqueezeNet 1.1 and LPIPS's own heads",
    )
    parser.add_argument(
        "--trace", action="store_true", help="also compare each operation of Core ML packages in fp16 and in fp32"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: edgestyle.toml in the current folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Validate every file; 0 if nothing failed, else 1."""
    from edgestyle import artifacts, settings, validation
    from edgestyle.errors import UsageError
    from edgestyle.files import make_folder
    from edgestyle.report import write
    from edgestyle.validation import more, report

    paths, gate = artifacts.find(args.artifacts), settings.load(args.config).gate
    if args.trace and not any(path.suffix == ".mlpackage" for path in paths):
        raise UsageError("--trace is for Core ML packages (.mlpackage); there is none among these files")
    if args.report:
        make_folder(args.report)  # before the long work, not after it
    request = validation.Request(
        photos=_photos(args.photos),
        reference=args.reference,
        delegates=tuple(args.delegate),
        required=tuple(args.require),
        gate=gate,
        flicker=args.flicker,
        lpips=more.load_lpips(*args.lpips) if args.lpips else None,
    )
    results = list(validation.validate(paths, request, interrupts.progress))
    traces = validation.trace(results, interrupts.progress) if args.trace else None
    result = report.as_json(results, traces)
    if args.report:
        write.write(args.report, report.document(results, traces), result, report.cases(results))
    if args.json:
        output.print_json(result)
    else:
        _print(results)
        for path, rows in (traces or {}).items():
            _print_trace(path, rows)
        output.say(f"\n{report.summary(results)}")
        if args.report:
            output.say(f"{args.report / 'index.html'}")
    return 0 if result["passed"] else 1


def _photos(arguments: list[str] | None) -> dict[str, Image]:
    """Photos by name; numbered where two names are alike."""
    from edgestyle import images

    if arguments is None:
        return images.sample_photos()
    photos: dict[str, Image] = {}
    for path in images.find(arguments):
        name, number = path.stem, 2
        while name in photos:
            name, number = f"{path.stem}-{number}", number + 1
        photos[name] = images.read(path)
    return photos


def _print(results: list[Result]) -> None:
    rows = [
        (
            str(result.artifact),
            (result.delegate or "") + (" (emulated)" if result.emulated else ""),
            result.status,
            f"{result.metrics.psnr_db:.1f}" if result.metrics else "",
            f"{result.gate.psnr_db:g}" if result.gate else "",
            f"{result.metrics.ssim:.4f}" if result.metrics else "",
            f"{result.placement.delegated}/{result.placement.total}" if result.placement else "",
            result.reason,
        )
        for result in results
    ]
    numbers = ("PSNR", "gate", "SSIM", "on it")
    output.table(("file", "delegate", "result", *numbers, ""), rows, right=numbers)


def _print_trace(path: Path, rows: Sequence[Row], worst: int = 10) -> None:
    output.say(f"\n{path}: where drift starts, the {worst} operations that lose most when they alone are in fp16 (dB)")
    lossy = sorted(rows, key=lambda row: row.own_db)[:worst]
    cells = [
        (row.name, row.type, "x".join(map(str, row.shape)), f"{row.own_db:.1f}", f"{row.snr_db:.1f}", f"{row.peak:.3g}")
        for row in lossy
    ]
    numbers = ("alone", "so far", "largest")
    output.table(("operation", "type", "shape", *numbers), cells, right=numbers)
