"""`edgestyle quantize`: which number format, and which layers, before an app is built on one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import interrupts, output, styles
from edgestyle.cli.export import parse_size, targets

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.parts import Part
    from edgestyle.quantization.calibration import Calibration
    from edgestyle.quantization.judging import Judge
    from edgestyle.quantization.sensitivity import Sensitivity
    from edgestyle.quantization.simulation import Simulation
    from edgestyle.quantization.sweep import Row
    from edgestyle.target import Size

EPILOG = """\
examples:
  edgestyle quantize great_wave --sweep --report build/sweep
  edgestyle quantize great_wave --sweep --target tflite --calibration photos/
  edgestyle quantize great_wave --sensitivity
  edgestyle quantize runs/mine --mixed
  edgestyle quantize adain --style painting.jpg --sweep         # with this painting folded in

--sweep writes every number format for every target, verifies each file, times it in turn with the target's float file,
and says which to take on which delegate. The same command again goes on where it stopped.

--sensitivity computes one layer at a time in 8 bits, all others in floats, in torch and with the ranges that files
have, and ranks the layers by what that does to the picture.

--mixed finds the fewest layers that must stay in floats for an int8 file to pass its gate, and leaves writing the file
to 'edgestyle export --quantize int8 --mixed'.
"""


_ONE_PHOTO = "calibrated on one photo; other photos may pass its ranges, give a dozen"


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "quantize",
        help="which number format, and which layers: size, drift and speed of each",
        description="Compare number formats on every target, and find the layers that 8 bits hurt.",
        epilog=EPILOG,
    )
    parser.add_argument("model", metavar="NAME|FOLDER", help="a zoo name, or a checkpoint folder")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--sweep", action="store_true", help="every number format on every target")
    mode.add_argument("--sensitivity", action="store_true", help="rank the layers by the harm that 8 bits do")
    mode.add_argument("--mixed", action="store_true", help="the fewest layers that must stay in floats")
    parser.add_argument("--target", default="all", metavar="TARGET", help="onnx, coreml, tflite, or all (default)")
    parser.add_argument(
        "--scheme", action="append", default=[], metavar="SCHEME", help="only this one; may be given several times"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FOLDER",
        help="photos on which ranges are found; default: some that come with scikit-image",
    )
    parser.add_argument("--size", default="512", metavar="SIZE", help="pixels: 512 (default), or 768x512")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write index.html, report.md, .json and junit.xml; default of --sweep: build/sweep-MODEL-SIZE",
    )
    styles.add(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweep, rank or choose; 0 if that could be done (--mixed: and the gate can be met)."""
    from edgestyle import checkpoint, exporting, parts, runner
    from edgestyle.errors import UsageError

    if Path(args.model).suffix in runner.suffixes():
        raise UsageError(
            f"{args.model} is an exported file; name the network that it was made from, to quantize it anew"
        )
    size = parse_size(args.size)
    if size == "dynamic":
        raise UsageError("--size dynamic cannot be compared: ranges and times are those of one size; give one")
    found = checkpoint.find(args.model)
    _check_schemes(args)
    for target in targets(args.target):
        exporting.check_request(target, size, None)
    part = parts.single(found, targets(args.target)[0], *styles.painting(args, found))
    if args.sweep:
        return _sweep(args, found, part, size)
    return _sensitivity(args, part, size) if args.sensitivity else _mixed(args, part, size)


def _check_schemes(args: argparse.Namespace) -> None:
    """Refuse a scheme that none of the targets serves."""
    from edgestyle import exporting, registry
    from edgestyle.errors import UnknownNameError, UsageError

    served = {target.title: exporting.schemes(target) for target in targets(args.target)}
    every = {scheme for schemes in served.values() for scheme in schemes}
    for scheme in args.scheme:
        if scheme not in {*every, *registry.names(registry.SCHEMES)}:
            raise UnknownNameError("scheme", scheme, every)
        if scheme not in every:
            title, schemes = next(iter(served.items()))
            raise UsageError(f"{title} does not serve scheme '{scheme}'; it serves {', '.join(schemes)}")
    if args.mixed and set(args.scheme) - {"int8"}:
        raise UsageError("--mixed is for int8: no other format rounds what the layers compute to 8 bits")


def calibrate(part: Part, size: Size, folder: Path | None) -> Calibration:
    """The ranges of a network at one size, with a note if they stand on a single photo."""
    from edgestyle import exporting

    with output.progress(f"finding the ranges of {part.name}"):
        calibration = exporting.calibrate(part, size, folder)
    if calibration.photos == 1:
        output.note(_ONE_PHOTO)
    return calibration


# --sweep ------------------------------------------------------------------------------------------------------------


def _sweep(args: argparse.Namespace, found: Checkpoint, part: Part, size: tuple[int, int]) -> int:
    from edgestyle import images, settings
    from edgestyle.exporting import size_text
    from edgestyle.quantization import sweep, sweep_report
    from edgestyle.report import write

    if args.calibration and len(images.find([args.calibration])) == 1:
        output.note(_ONE_PHOTO)
    folder = args.report or Path("build") / f"sweep-{part.name}-{size_text(size)}"
    wanted = sweep.Sweep(
        found,
        part,
        tuple(targets(args.target)),
        size,
        folder,
        args.calibration,
        tuple(args.scheme),
        settings.load().gate,
    )
    rows = list(sweep.run(wanted, interrupts.progress))
    result = sweep_report.as_json(rows)
    write.write(folder, sweep_report.document(part.name, size, rows, folder), result, sweep_report.cases(rows))
    if args.json:
        output.print_json(result)
        return 0
    _print_rows(rows)
    output.say()
    for advice in sweep_report.advise(rows):
        output.say(f"{advice.delegate}: {advice.take}. {advice.why}")
    output.say(f"\n{folder / 'index.html'}")
    return 0


def _print_rows(rows: Sequence[Row]) -> None:
    from edgestyle.quantization.sweep_report import cells, titles

    numbers = titles()[3:-1]
    output.table(titles(), [[cell.text for cell in cells(row, rows)] for row in rows], right=numbers)


# --sensitivity and --mixed ------------------------------------------------------------------------------------------


def _prepare(part: Part, size: Size, calibration: Calibration) -> tuple[Simulation, Judge]:
    from edgestyle import exporting
    from edgestyle.quantization.judging import Judge
    from edgestyle.quantization.simulation import Simulation

    return Simulation(part.net, calibration), Judge(part.net, exporting.check_photos(size))


def _rank(simulation: Simulation, judge: Judge) -> list[Sensitivity]:
    """Every layer, the most harmful first, with a progress bar."""
    from edgestyle.quantization import sensitivity

    ranked = []
    with output.steps("one layer at a time", len(simulation.layers)) as update:
        for layer in sensitivity.rank(simulation, judge):
            interrupts.check()
            ranked.append(layer)
            update(len(ranked), layer.layer)
    return sensitivity.by_harm(ranked)


def _sensitivity(args: argparse.Namespace, part: Part, size: tuple[int, int]) -> int:
    from edgestyle.quantization import sensitivity, sensitivity_report
    from edgestyle.report import write

    simulation, judge = _prepare(part, size, calibrate(part, size, args.calibration))
    ranked = _rank(simulation, judge)
    paint = sensitivity.painter(simulation)
    whole = judge.harm([paint(photo) for photo in judge.photos])
    result = sensitivity_report.as_json(ranked, whole)
    if args.report:
        document = sensitivity_report.document(part.name, size, ranked, whole)
        write.write(args.report, document, result, ())
    if args.json:
        output.print_json(result)
        return 0
    table = sensitivity_report.table(ranked, whole)
    columns = [column.title for column in table.columns]
    output.table(columns, [[cell.text for cell in row] for row in table.rows], right=columns[1:])
    return 0


def _mixed(args: argparse.Namespace, part: Part, size: tuple[int, int]) -> int:
    calibration = calibrate(part, size, args.calibration)
    floats = mixed(part, size, calibration, "int8")
    shown = [layer or "(the network itself)" for layer in floats]
    if args.json:
        output.print_json({"scheme": "int8", "float_layers": list(floats), "layers": len(calibration.layers)})
        return 0
    output.say(f"in floats, of {len(calibration.layers)} layers: {', '.join(shown) or 'none is needed'}")
    model, sides = shlex.quote(args.model), shlex.quote(args.size)
    photos = f" --calibration {shlex.quote(str(args.calibration))}" if args.calibration else ""
    output.say(
        f"\nnext:\n  edgestyle export --model {model} --target {args.target} --size {sides} --quantize int8"
        f"{' --mixed' if floats else ''}{photos}{styles.again(args)}"
    )
    return 0


def mixed(part: Part, size: Size, calibration: Calibration, scheme: str) -> tuple[str, ...]:
    """The fewest layers that must stay in floats for a file of 8-bit integers to pass its gate on a CPU."""
    from edgestyle import gates, registry, settings
    from edgestyle.quantization import sensitivity

    simulation, judge = _prepare(part, size, calibration)
    order = [layer.layer for layer in _rank(simulation, judge)]
    gate = gates.find(scheme, registry.load(registry.RUNNERS, "litert-cpu"), settings.load().gate)

    def report(choice: sensitivity.Choice) -> None:
        interrupts.check()
        output.note(f"{len(choice.floats)} in floats: PSNR {choice.psnr_db:.1f} dB, SSIM {choice.ssim:.4f}")

    return sensitivity.fewest_floats(simulation, judge, gate, order, report).floats
