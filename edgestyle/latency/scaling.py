"""Which sizes fit into memory, seen from the smaller ones that were measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

_TILES = (256, 1024)
"""Sides of the smallest and largest tiles, in pixels: small ones waste work on their borders."""
_RESERVE = 0.9
"""Share of the free memory that may be used: a prediction errs."""


def predict_bytes(measured: Sequence[tuple[int, float]], pixels: int) -> float | None:
    """Peak memory at a size, in bytes: on the line through the two largest sizes measured.

    Every activation grows with the number of pixels, weights and libraries do not.

    Args:
        measured: Pixels and peak bytes of smaller sizes, in any order.
        pixels: Height times width.

    Returns:
        None where fewer than two sizes are known.
    """
    if len(measured) < 2:
        return None
    (p, low), (q, high) = sorted(measured)[-2:]
    return high + max(0.0, (high - low) / (q - p)) * (pixels - q)


def fits(measured: Sequence[tuple[int, float]], pixels: int, free: float | None) -> bool:
    """Whether a size may be tried: nothing is known against it."""
    needed = predict_bytes(measured, pixels)
    return needed is None or free is None or needed <= _RESERVE * free


def tile_side(measured: Sequence[tuple[int, float]]) -> int:
    """Side of the tiles for a picture that does not fit: with its border, about as large as what did."""
    smallest, largest = _TILES
    return min(largest, max(smallest, math.isqrt(max((pixels for pixels, _ in measured), default=0)) // 2))
