"""Many pictures on one sheet, to look at side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgestyle import images
from edgestyle.images import Image


def contact_sheet(rows: Sequence[Sequence[Image]], cell: int = 256, gap: int = 4) -> Image:
    """Pictures in rows, on white.

    Args:
        rows: Pictures (1, 3, H, W) in [0, 1] of any size; each is cropped to a square and scaled to a cell.
        cell: Side of a cell in pixels.
        gap: Pixels between cells.

    Returns:
        The sheet, (1, 3, H, W) in [0, 1], as wide as the longest row.
    """
    step, columns = cell + gap, max(len(row) for row in rows)
    sheet = np.ones((1, 3, len(rows) * step - gap, columns * step - gap), np.float32)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            sheet[:, :, i * step : i * step + cell, j * step : j * step + cell] = images.centre_crop(
                picture, (cell, cell)
            )
    return sheet
