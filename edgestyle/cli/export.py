"""`edgestyle export`: one trained network to verified ONNX, Core ML and TFLite files."""

from __future__ import annotations

import argparse
import functools
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import interrupts, output, styles
from edgestyle.errors import UsageError

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.exporting import Artifact
    from edgestyle.parts import Part
    from edgestyle.quantization.calibration import Calibration
    from edgestyle.target import Size, Target

EPILOG = """\
examples:
  edgestyle export --model great_wave --target all
  edgestyle export --model great_wave --target coreml --size 512 768x512
  edgestyle export --model runs/mine --target onnx --size dynamic
  edgestyle export --model great_wave --target tflite --quantize int8 --calibration photos/
  edgestyle export --model adain --target all                       # two files: a style encoder and a transformer
  edgestyle export --model adain --target all --style painting.jpg  # one file: the painting folded in

Each file is opened again on a real runtime and compared with the float network on real photos before it gets its name.
A manifest (.json) beside it says how to call it and what was checked; two PNG files are a test for your app.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="a trained network to verified ONNX, Core ML and TFLite files",
        description="Write a trained network as a file for a phone, and verify the file that was written.",
        epilog=EPILOG,
    )
    parser.add_argument("--model", required=True, metavar="NAME|FOLDER", help="a zoo name, or a checkpoint folder")
    parser.add_argument("--target", required=True, metavar="TARGET", help="onnx, coreml, tflite, or all")
    parser.add_argument(
        "--size",
        nargs="+",
        default=["512"],
        metavar="SIZE",
        help="pixels: 512, 768x512 (width x height), several of them, or dynamic (ONNX only); default 512",
    )
    parser.add_argument(
        "--quantize",
        metavar="SCHEME",
        help="number format, such as fp16 or int8; default fp32, for Core ML fp16 (as phones compute)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="photos on which the ranges of int8 activations are found; default: some that come with scikit-image",
    )
    parser.add_argument(
        "--mixed",
        action="store_true",
        help="leave the fewest layers of an int8 file in floats with which it passes its gate (takes minutes)",
    )
    parser.add_argument(
        "--allow-drift",
        action="store_true",
        help="keep a file that drifts beyond its gate; its manifest says so",
    )
    parser.add_argument(
        "--io",
        choices=("float32", "uint8"),
        default="float32",
        help="what pictures an int8 file takes and gives: floats from 0 to 1 (default), or bytes",
    )
    parser.add_argument("--out", type=Path, default=Path("build"), metavar="FOLDER", help="default: build")
    styles.add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export every target at every size; 0 if all were verified, else 1."""
    from edgestyle import checkpoint, exporting, runner, settings
    from edgestyle.errors import CheckError, MissingExtraError

    if Path(args.model).suffix in runner.suffixes():
        raise UsageError(f"{args.model} is an exported file; name the network that it was made from, to export it anew")
    found, overrides = checkpoint.find(args.model), settings.load().gate
    jobs = _plan(args, found)
    calibrate = functools.cache(lambda size: _calibrate(jobs[0][2], size, args))
    rows = []
    for target, size, part in jobs:
        interrupts.check()
        wanted = f"{target.title}, size {exporting.size_text(size)}"
        try:
            calibration = calibrate(size) if exporting.needs_calibration(target, args.quantize) else None
            with output.progress(f"exporting {part.name} to {wanted}"):
                artifact = exporting.export(
                    found,
                    target,
                    size,
                    args.out,
                    args.quantize,
                    overrides,
                    calibration,
                    args.io,
                    args.allow_drift,
                    part,
                )
        except (CheckError, MissingExtraError) as error:
            interrupts.check()
            output.note(f"error: {error}")
            status = "failed" if isinstance(error, CheckError) else "could not run"
            rows.append(_failure(target, size, args.quantize, status, str(error)))
            continue
        rows.append(_row(artifact))
        if not args.json:
            _describe(artifact)
    passed = all(row["verified"] == "passed" or row["beyond_gate"] for row in rows)
    if args.json:
        output.print_json({"artifacts": rows, "passed": passed})
    elif passed:
        _next_commands(rows, found)
    return 0 if passed else 1


def _plan(args: argparse.Namespace, found: Checkpoint) -> list[tuple[Target, Size, Part]]:
    """Every file that is to be made.

    Raises:
        UsageError: Something cannot be made: said before the long work, not in the middle of it.
    """
    from edgestyle import exporting, parts

    sizes, wanted = list(map(parse_size, args.size)), targets(args.target)
    for target in wanted:
        for size in sizes:
            exporting.check_request(target, size, args.quantize, args.io)
    if args.mixed and not any(exporting.needs_calibration(target, args.quantize) for target in wanted):
        raise UsageError(
            "--mixed goes with --quantize int8 or int8-a16: no other format rounds layers that could be left"
        )
    style, code = styles.painting(args, found)
    return [
        (target, size, part)
        for target in wanted
        for part in parts.of(found, target, style, code)
        for size in dict.fromkeys(map(part.size, sizes))
    ]


def _calibrate(part: Part, size: Size, args: argparse.Namespace) -> Calibration:
    """The ranges for one size; they serve all targets, and so do the layers that stay in floats."""
    from edgestyle.cli import quantize

    calibration = quantize.calibrate(part, size, args.calibration)
    if args.mixed:
        floats = quantize.mixed(part, size, calibration, args.quantize)
        output.note(f"in floats: {', '.join(floats) or 'no layer'}")
        return calibration.without(floats)
    return calibration


def parse_size(text: str) -> Size:
    """Height and width from "512" or "768x512" (width x height); "dynamic" as it is.

    Raises:
        UsageError: It is none of these.
    """
    if text == "dynamic":
        return "dynamic"
    found = re.fullmatch(r"(-?[0-9]{1,9})(?:[xX](-?[0-9]{1,9}))?", text)
    if not found:
        raise UsageError(f"--size {text} is not a size; write 512, 768x512 (width x height) or dynamic")
    width, height = found[1], found[2] or found[1]
    return int(height), int(width)


def targets(name: str) -> list[Target]:
    """The target of that name; every one for "all".

    Raises:
        UnknownNameError: There is none.
    """
    from edgestyle import registry
    from edgestyle.errors import UnknownNameError

    known = registry.names(registry.TARGETS)
    if name == "all":
        return registry.load_all(registry.TARGETS)
    if name not in known:
        raise UnknownNameError("target", name, [*known, "all"])
    return [registry.load(registry.TARGETS, name)]


def _row(artifact: Artifact) -> dict[str, Any]:
    """One artifact as the JSON contract has it; the drift is that of the check that every machine can run."""
    from dataclasses import asdict

    manifest = artifact.manifest
    check = manifest.checks[0]
    return {
        "path": str(artifact.path),
        "manifest": str(artifact.path) + ".json",
        "role": manifest.contract.role,
        "target": manifest.contract.target,
        "scheme": manifest.contract.scheme,
        "size": manifest.contract.size,
        "bytes": manifest.bytes,
        "verified": manifest.verified,
        "delegate": check.delegate,
        "drift": asdict(check.drift) if check.drift else None,
        "beyond_gate": manifest.beyond_gate,
    }


def _failure(target: Target, size: Size, scheme: str | None, status: str, reason: str) -> dict[str, Any]:
    """An artifact that was not made, in the same form."""
    return {
        "path": None,
        "manifest": None,
        "target": target.name,
        "scheme": scheme or target.default_scheme,
        "size": size,
        "bytes": None,
        "verified": status,
        "delegate": target.runner,
        "drift": None,
        "beyond_gate": False,
        "reason": reason,
    }


def _describe(artifact: Artifact) -> None:
    """The file, its size, and what each check found."""
    manifest = artifact.manifest
    output.say(f"{artifact.path}  {output.file_size(manifest.bytes)}  {artifact.seconds:.1f} s")
    for check in manifest.checks:
        where = f"on {check.delegate}" + (" (emulated)" if check.emulated else "")
        if check.drift is None:
            output.say(f"  {check.status} {where}: {check.reason}")
        else:
            output.say(
                f"  {check.status} {where}: PSNR {check.drift.psnr_db:.1f} dB (gate {check.min_psnr_db:g}), "
                f"max abs {check.drift.max_abs:.2g}, SSIM {check.drift.ssim:.4f}"
            )
    if manifest.beyond_gate:
        output.say("  beyond its gate, kept because of --allow-drift; its manifest says so")


def _next_commands(rows: list[dict[str, Any]], found: Checkpoint) -> None:
    known = found.config.styles
    how = f"--style-weights {known[0].name}" if known else "--style painting.jpg"
    output.say("\nnext:")
    for row in rows:
        if row["role"] != "encoder":
            style = f" {how}" if row["role"] == "transformer" else ""
            output.say(f"  edgestyle stylize photo.jpg --model {shlex.quote(row['path'])}{style} -o out.png")
