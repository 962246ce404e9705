"""Make the contact sheet of each network of the zoo that has learned its paintings: models/*/contact_sheet.jpg.

    python docs/make_contact_sheets.py [MODEL...]

Eight photos that ship with scikit-image, which no network of the zoo has seen in training, and what becomes of them:
two photos a row, each followed by its picture in every style.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

import skimage.data

from edgestyle import checkpoint, images
from edgestyle.checkpoint import Checkpoint
from edgestyle.contact_sheet import contact_sheet
from edgestyle.images import Image
from edgestyle.training.record import CONTACT_SHEET
from edgestyle.training.zoo import painters

SIDE = 512
FILES = "motorcycle_left.png", "camera.png", "hubble_deep_field.jpg", "grass.png"
"""Beside the four sample photos: a street's clutter, a grey photo, a night sky, and texture alone."""


def photos() -> list[Image]:
    """Eight of them, (1, 3, SIDE, SIDE)."""
    more = (images.read(Path(skimage.data.__file__).parent / name) for name in FILES)
    return [images.centre_crop(photo, (SIDE, SIDE)) for photo in chain(images.sample_photos().values(), more)]


def sheet(found: Checkpoint) -> Image:
    """Of one network."""
    paint = painters(found).values()
    cells = [[photo, *(painter.paint(photo) for painter in paint)] for photo in photos()]
    return contact_sheet([left + right for left, right in zip(cells[::2], cells[1::2], strict=True)])


if __name__ == "__main__":
    for each in map(checkpoint.find, sys.argv[1:]) if sys.argv[1:] else checkpoint.zoo():
        if each.config.family != "adain":  # its sheet needs paintings, which the project does not ship
            images.write(each.folder / CONTACT_SHEET, sheet(each))
