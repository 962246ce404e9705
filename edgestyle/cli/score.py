"""`edgestyle score`: content and style of a network's pictures, in numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgestyle.cli import output

EPILOG = """\
examples:
  edgestyle score great_wave --painting wave.jpg --photos held_out/
  edgestyle score great_wave theirs.onnx --painting wave.jpg --photos held_out/ --json

Lower is better. An untouched photo scores 0 for content and about 5 for style, a good filter about 1 and 0.3.
Score photos that training has not seen.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "score",
        help="how near pictures are to the photo and to the painting, in numbers",
        description="Content and style losses (VGG-19) of one or several networks on the same photos, at 512x512.",
        epilog=EPILOG,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a zoo name, a checkpoint, or an exported file")
    parser.add_argument("--painting", type=Path, required=True, metavar="FILE", help="the painting to compare with")
    parser.add_argument("--photos", nargs="+", required=True, metavar="PHOTO", help="photos, folders or globs")
    parser.add_argument(
        "--perceptual",
        metavar="student|vgg19|FILE",
        help="what compares pictures; default: VGG-19 in the Caffe weights, from the folder that EDGESTYLE_DATA names. "
        "Numbers of different networks cannot be compared",
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="also write a sheet: a row a photo, a column a model"
    )
    parser.add_argument("--record", action="store_true", help="write the numbers into each checkpoint's measured.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score every model on every photo."""
    from edgestyle import checkpoint, images, perceptual, score
    from edgestyle.contact_sheet import contact_sheet
    from edgestyle.losses import PerceptualLoss
    from edgestyle.stylize import open_painter
    from edgestyle.training.photos import load_painting

    if args.sheet:
        images.check_output(args.sheet)
    photos = images.find(args.photos)
    painters = {model: open_painter(model) for model in args.models}
    with output.download() as fetched:
        network = perceptual.load(args.perceptual or str(perceptual.find_vgg_weights()), fetched)
    loss = PerceptualLoss(network, load_painting(args.painting, score.SIZE))
    rows = []
    for model, painter in painters.items():
        with output.progress(f"scoring {model} on {len(photos)} photos"):
            values = list(score.scores(painter, photos, loss))
        mean = score.mean(values)
        rows.append({"model": model, "content": mean.content, "style": mean.style, "total": mean.total})
        if args.record:
            measured = {"content": round(mean.content, 4), "style": round(mean.style, 4), "photos": len(photos)}
            checkpoint.record(checkpoint.find(model), measured)
    if args.sheet:
        squares = [score.square(path) for path in photos]
        images.write(args.sheet, contact_sheet([[s, *(p.paint(s) for p in painters.values())] for s in squares]))
    if args.json:
        output.print_json({"photos": len(photos), "scores": rows})
    else:
        numbers = ("content", "style", "total")
        cells = [[row["model"], *(f"{row[key]:.3f}" for key in numbers)] for row in rows]
        output.table(("model", *numbers), cells, right=numbers)
    return 0
