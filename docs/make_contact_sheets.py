"""Make the contact sheet of each network of the zoo that has learned its paintings: models/*/contact_sheet.jpg.

    python docs/make_contact_sheets.py [MODEL...] [--paintings FOLDER]

Eight photos that ship with scikit-image, which no network of the zoo has seen in training, each followed by its picture
in every style; two photos a row where there is one style. Of a network that paints by any painting, four of the photos
by five paintings in FOLDER, which training has not seen either; without FOLDER its sheet stays as it is.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import skimage.data

from edgestyle import checkpoint, images
from edgestyle.checkpoint import Checkpoint
from edgestyle.contact_sheet import contact_sheet
from edgestyle.images import Image
from edgestyle.training.held_out import PATTERN, by_ours
from edgestyle.training.record import CONTACT_SHEET
from edgestyle.training.zoo import painters

SIDE = 512
FILES = "motorcycle_left.png", "camera.png", "hubble_deep_field.jpg", "grass.png"
"""Beside the four sample photos: a street's clutter, a grey photo, a night sky, and texture alone."""
ARTISTS = "albrecht_durer", "edgar_degas", "gustav_klimt", "michelangelo", "pieter_bruegel"
"""Whose held-out paintings are shown."""


def photos() -> list[Image]:
    """Eight of them, (1, 3, SIDE, SIDE)."""
    more = (images.read(Path(skimage.data.__file__).parent / name) for name in FILES)
    return [images.centre_crop(photo, (SIDE, SIDE)) for photo in chain(images.sample_photos().values(), more)]


def sheet(found: Checkpoint) -> Image:
    """Of one network."""
    paint = painters(found).values()
    cells = [[photo, *(painter.paint(photo) for painter in paint)] for photo in photos()]
    if len(paint) > 1:
        return contact_sheet(cells, cell=192)
    return contact_sheet([left + right for left, right in zip(cells[::2], cells[1::2], strict=True)])


def sheet_by_paintings(found: Checkpoint, folder: Path) -> Image:
    """Of a network that paints by any painting."""
    paint = by_ours(found.pair())
    paintings = [folder / PATTERN.replace("*", artist) for artist in ARTISTS]
    return contact_sheet([[photo, *(paint(photo, painting) for painting in paintings)] for photo in photos()[:4]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*")
    parser.add_argument("--paintings", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    for each in map(checkpoint.find, args.model) if args.model else checkpoint.zoo():
        if each.config.family != "adain":
            images.write(each.folder / CONTACT_SHEET, sheet(each))
        elif args.paintings:
            images.write(each.folder / CONTACT_SHEET, sheet_by_paintings(each, args.paintings))


if __name__ == "__main__":
    main()
