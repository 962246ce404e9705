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
    parser.add_argument("--vgg", type=Path, metavar="FILE", help="VGG-19 weights (.npz); see 'edgestyle train --help'")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="also write a sheet: a row a photo, a column a model"
    )
    parser.add_argument("--record", action="store_true", help="write the numbers into each checkpoint's measured.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score every model on every photo."""
    from edgestyle import images, score
    from edgestyle.contact_sheet import contact_sheet
    from edgestyle.losses import PerceptualLoss
    from edgestyle.perceptual import VGG19, find_vgg_weights
    from edgestyle.stylize import open_painter
    from edgestyle.training.photos import load_painting

    if args.sheet:
        images.check_output(args.sheet)
    photos = images.find(args.photos)
    painters = {model: open_painter(model) for model in args.models}
    loss = PerceptualLoss(VGG19(find_vgg_weights(args.vgg)), load_painting(args.painting, score.SIZE))
    rows = []
    for model, painter in painters.items():
        with output.progress(f"scoring {model} on {len(photos)} photos"):
            values = list(score.scores(painter, photos, loss))
        mean = score.mean(values)
        rows.append({"model": model, "content": mean.content, "style": mean.style, "total": mean.total})
        if args.record:
            _record(model, {"content": mean.content, "style": mean.style, "photos": len(photos)})
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


def _record(model: str, numbers: dict[str, float]) -> None:
    """Put numbers into the `measured.json` of a checkpoint, beside those that other commands have put there."""
    import json

    from edgestyle import checkpoint
    from edgestyle.cli.models import MEASURED
    from edgestyle.files import staged

    path = checkpoint.find(model).folder / MEASURED
    measured = json.loads(path.read_bytes()) if path.is_file() else {}
    rounded = {key: round(value, 4) for key, value in numbers.items()}
    with staged(path) as folder:
        (folder / MEASURED).write_text(json.dumps({**measured, **rounded}, indent=2) + "\n", encoding="utf-8")
