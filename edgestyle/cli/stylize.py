"""`edgestyle stylize`: paint photos with a trained network or with a file that was exported from one."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgestyle.cli import interrupts, optimizing, output, styles
from edgestyle.errors import ImageError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from edgestyle.images import Found
    from edgestyle.styling import Styling
    from edgestyle.stylize import Painter

EPILOG = """\
examples:
  edgestyle stylize photo.jpg --style painting.jpg -o out.jpg
  edgestyle stylize photo.jpg --style painting.jpg --strength 0.6 --preserve-color
  edgestyle stylize photo.jpg --style one.jpg --style two.jpg --style-weights 2,1
  edgestyle stylize photo.jpg --style sky.jpg --mask sky.png --style land.jpg --mask land.png
  edgestyle stylize photo.jpg --model runs/many --style-weights great_wave=2,the_scream=1
  edgestyle stylize photo.jpg --method optimize --style painting.jpg -o out.jpg
  edgestyle stylize photo.jpg --model great_wave
  edgestyle stylize photo.jpg --model great_wave -o painted.jpg --size 1600
  edgestyle stylize holiday/ --model great_wave -o painted/
  edgestyle stylize 'holiday/*.heic' more/*.png --model runs/mine -o painted/
  edgestyle stylize photo.jpg --model build/great_wave-512.onnx --delegate onnxruntime-cpu -o painted.png

Photos may be JPEG, PNG, WebP, TIFF, AVIF, HEIC (with the heif extra), grey, CMYK, turned or transparent, up to 268
megapixels. The format of the painting is that of its suffix: .png, .jpg, .webp or .tiff. Photos are never overwritten.
With a checkpoint the painting is as large as the photo; a file exported at a fixed size paints at that size.

--style is for networks of the adain family ('edgestyle train --family adain'): any picture may be the painting.
A long one is cut into squares, whose styles are averaged. --strength is a factor on the style, --style-weights make a
mean of several. A mask is a picture, white where its style goes, grey where it goes in part; it is scaled to the photo.
Where no mask is white the photo stays.

--method optimize needs no network and no training: it changes the photo itself until a perceptual network finds the
painting's style in it (Gatys et al. 2016), at 512 pixels unless --size says more. Ctrl-C keeps the picture so far.

If some of several photos cannot be read, the others are painted, the bad ones named, and the exit code is 1.
"""

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


class Job(NamedTuple):
    """One photo, and where its painting goes."""

    photo: Path
    painting: Path


class Painted(NamedTuple):
    """What `--json` says of a photo that was painted."""

    input: str
    output: str
    size: tuple[int, int]
    """Height and width of the output in pixels."""
    seconds: float
    """For reading, painting and writing."""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "stylize",
        help="paint photos, with a trained network or an exported file",
        description="Paint photos with a trained network or an exported file.",
        epilog=EPILOG,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="files, folders (searched at any depth) or globs")
    parser.add_argument(
        "--model",
        metavar="NAME|FILE|FOLDER",
        help="a zoo name (see 'edgestyle models'), a checkpoint folder, or an exported .onnx, .tflite or .mlpackage; "
        "default with --style: adain",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        help="for one photo a file, or a folder (that exists, or with a / at the end); for several a folder, where "
        "they keep their names and sub-folders; default: PHOTO-MODEL.png or stylized-MODEL/ in the current folder",
    )
    parser.add_argument(
        "--size", type=_pixels, metavar="N", help="first scale photos down so that the long side is at most N pixels"
    )
    parser.add_argument(
        "--delegate",
        metavar="NAME",
        help="what runs an exported file (see 'edgestyle doctor'); default: what works here",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    group = styles.add(parser)
    group.add_argument(
        "--preserve-color",
        nargs="?",
        const="luminance",
        choices=("luminance", "histogram"),
        help="keep the photo's colours: take brightness alone (luminance, the default), or with --method optimize also "
        "by recolouring the painting (histogram)",
    )
    group.add_argument(
        "--mask",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="where the styles go: one for each --style",
    )
    optimizing.add(parser)
    parser.set_defaults(run=run)


def _default(styling: Styling | None) -> str:
    """The network to paint by where none is named.

    Raises:
        UsageError: Nothing says what to paint by.
    """
    if styling is None:
        raise UsageError("nothing says what to paint by; give --model NAME ('edgestyle models' lists them)")
    return "adain"


def _styling(args: argparse.Namespace) -> Styling | None:
    """What is wanted of the painting; None where no --style is given.

    Raises:
        UsageError: It makes no sense.
    """
    from edgestyle.styling import Styling

    if not args.style:
        for name in ("strength", "preserve_color", "mask"):
            if getattr(args, name) not in (None, False, []):
                raise UsageError(f"--{name.replace('_', '-')} needs a --style PAINTING")
        return None
    if args.preserve_color == "histogram":
        raise UsageError("--preserve-color histogram goes with --method optimize; networks keep colours by luminance")
    strength = 1.0 if args.strength is None else args.strength
    weights = styles.numbers(args.style_weights)
    return Styling(tuple(args.style), weights, strength, bool(args.preserve_color), tuple(args.mask))


def run(args: argparse.Namespace) -> int:
    """Paint; 0 if every photo was painted, 1 if some of several could not be."""
    alone = args.method == "optimize"
    styling = None if alone else _styling(args)
    if not alone:
        args.model = args.model or _default(styling)
    jobs = plan(args.photos, args.out, optimizing.name(args) if alone else args.model)
    if styling and styling.masks and len(jobs) > 1:
        raise UsageError(f"--mask is for one photo, and there are {len(jobs)}; paint them one at a time")

    painter = optimizing.painter(args) if alone else _painter(args, styling)
    if painter.size:
        height, width = painter.size
        output.note(f"{args.model} paints at {width}x{height} pixels; photos are fitted inside, whatever their size")
    started = time.perf_counter()
    painted, failed = _paint_all(painter, jobs, args.size)
    if args.json:
        about = {"model": painter.name, "delegate": painter.delegate}
        output.print_json({**about, "painted": [one._asdict() for one in painted], "failed": failed})
    elif len(jobs) == 1:
        height, width = painted[0].size
        output.say(f"{painted[0].output}  {width}x{height} pixels  {painted[0].seconds:.1f} s")
    else:
        seconds = time.perf_counter() - started
        folder = os.path.commonpath([job.painting.parent for job in jobs])
        output.say(f"{folder}  {len(painted)} of {len(jobs)} photos painted  {seconds:.1f} s")
    return int(bool(failed))


def _painter(args: argparse.Namespace, styling: Styling | None) -> Painter:
    from edgestyle.stylize import open_painter

    return open_painter(args.model, args.delegate, styling, "" if args.style else args.style_weights)


def _paint_all(painter: Painter, jobs: list[Job], longest: int | None) -> tuple[list[Painted], list[dict[str, str]]]:
    """Paint every photo; of several, one that fails does not keep the others from being painted."""
    painted: list[Painted] = []
    failed: list[dict[str, str]] = []
    with output.steps("painting", len(jobs)) as step:
        for done, job in enumerate(jobs, start=1):
            interrupts.check()
            try:
                painted.append(_paint(painter, job, longest))
            except (ImageError, MissingExtraError) as error:
                interrupts.check()
                if len(jobs) == 1:
                    raise
                failed.append({"input": str(job.photo), "error": str(error)})
            step(done, job.photo.name)
    for failure in failed:
        output.note(f"error: {failure['error']}")
    return painted, failed


def _paint(painter: Painter, job: Job, longest: int | None) -> Painted:
    from edgestyle import images

    started = time.perf_counter()
    photo = images.read(job.photo)
    if longest:
        photo = images.limit(photo, longest)
    painting = painter.paint(photo)
    images.write(job.painting, painting)
    height, width = painting.shape[2:]
    return Painted(str(job.photo), str(job.painting), (height, width), round(time.perf_counter() - started, 3))


# Which photo goes where ---------------------------------------------------------------------------------------------


def plan(photos: list[str], out: str | None, model: str) -> list[Job]:
    """Find the photos and decide where each painting goes, before any work is done.

    Raises:
        UsageError: A photo is missing or a video, or a painting cannot go where it should or would overwrite a photo.
    """
    from edgestyle import images

    found = images.find_named(photos)
    for file in found:
        if file.path.suffix.lower() in VIDEO_SUFFIXES:
            raise UsageError(f"{file.path} is a video; photos can be painted, so extract its frames first")
    one = len(found) == 1 and not any(Path(photo).is_dir() for photo in photos)
    if one and out is None:
        jobs = [Job(found[0].path, Path(f"{found[0].path.stem}-{_short_name(model)}.png"))]
    elif one and out is not None and not (Path(out).is_dir() or out.endswith(("/", os.sep))):
        jobs = [Job(found[0].path, Path(out))]
    else:
        jobs = _into_folder(found, Path(out or f"stylized-{_short_name(model)}"))
    _check(jobs)
    return jobs


def _into_folder(found: list[Found], folder: Path) -> list[Job]:
    """Each photo under its own name, as PNG where its format cannot be written, numbered where two names are alike."""
    from edgestyle.images import WRITE_SUFFIXES

    if folder.suffix.lower() in WRITE_SUFFIXES and not folder.is_dir():
        raise UsageError(f"-o {folder} names one file, but a folder is needed for several photos")
    jobs: list[Job] = []
    taken: set[str] = set()
    for file in found:
        if _is_earlier_output(file, folder):
            continue
        name = file.name if file.name.suffix.lower() in WRITE_SUFFIXES else file.name.with_suffix(".png")
        numbered, number = name, 2
        while str(numbered).casefold() in taken:  # file systems may ignore the case
            numbered, number = name.with_stem(f"{name.stem}-{number}"), number + 1
        taken.add(str(numbered).casefold())
        jobs.append(Job(file.path, folder / numbered))
    if not jobs:
        raise ImageError(f"all the pictures found are in {folder}, where the paintings go; name a folder of photos")
    return jobs


def _is_earlier_output(file: Found, folder: Path) -> bool:
    """Whether a folder was searched that holds the output folder, and this is what an earlier run left there."""
    searched = file.path.parents[len(file.name.parts) - 1].resolve()
    target = folder.resolve()
    return searched in target.parents and file.path.resolve().is_relative_to(target)


def _check(jobs: list[Job]) -> None:
    """Refuse paintings that cannot be written, or would replace a photo that is to be read."""
    from edgestyle import images

    photos = {_identity(job.photo): job.photo for job in jobs}
    for job in jobs:
        images.check_output(job.painting)
        photo = photos.get(_identity(job.painting)) if job.painting.exists() else None
        if photo:
            raise UsageError(f"{job.painting} would overwrite the photo {photo}; choose another -o")


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for two names of one file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _short_name(model: str) -> str:
    """What `--model` is called in file names."""
    path = Path(model)
    return path.resolve().parent.name if path.suffix == ".safetensors" else path.resolve().stem


def _pixels(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of pixels; write a whole number from 1")
    return int(text)
