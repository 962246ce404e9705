"""palette-8, palette-6, palette-4: the weights of a layer as indices of 8, 6 or 4 bits into a table of shared values.

Core ML's own format. All arithmetic stays fp16; the Neural Engine widens the weights as it loads them. Weights of less
than 2,048 numbers stay fp16: they weigh nothing, and the first and last layers are among them (8 dB).

8 bits need iOS 16 or macOS 13; 6 and 4 bits, with a table for each 16 channels, need iOS 18 or macOS 15.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgestyle import coreml_package
from edgestyle.target import Scheme

from . import coreml_integers

_GROUP = 16
"""Channels that share a table of 64 or 16 values: with one for all, those of small weights would be lost (10 dB)."""
_ROUNDS = 50
"""Of k-means; the tables move no more after about 30."""


def rewrite_coreml(path: Path, bits: int) -> None:
    """Hold the larger weights of an fp16 package as indices into tables that k-means chose, in place.

    Args:
        path: The fp16 package.
        bits: Of an index: 8, 6 or 4.

    Raises:
        MissingExtraError: coremltools is not installed.
    """
    ct = coreml_package.import_coremltools()
    optimize, settings = ct.optimize.coreml, {"mode": "custom", "lut_function": partial(_palette, bits=bits)}
    if bits < 8:
        coreml_integers.raise_target(path, ct.target.iOS18)
        settings |= {"granularity": "per_grouped_channel", "group_size": _GROUP}
    config = optimize.OptimizationConfig(global_config=optimize.OpPalettizerConfig(**settings))
    coreml_integers.change(path, lambda model: optimize.palettize_weights(model, config))


def _palette(weights: NDArray[Any], bits: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.uint8]]:
    """The table of 2 ** bits values with the least squared error, and the index of each weight.

    k-means on a line (Lloyd 1982): coremltools takes it from scikit-learn, which is large and nothing else needs.
    """
    numbers = np.sort(weights.ravel().astype(np.float64))
    sums = np.concatenate([[0], np.cumsum(numbers)])
    table = np.quantile(numbers, (np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(_ROUNDS):
        cuts = np.concatenate([[0], np.searchsorted(numbers, (table[1:] + table[:-1]) / 2), [numbers.size]])
        counts = np.diff(cuts)
        table = np.where(counts > 0, np.diff(sums[cuts]) / np.maximum(counts, 1), table)
    nearest = np.searchsorted((table[1:] + table[:-1]) / 2, weights)
    return table.astype(weights.dtype), nearest.astype(np.uint8)


def _scheme(bits: int, gain: str) -> Scheme:
    return Scheme(
        name=f"palette-{bits}",
        title=f"weights from tables of {2**bits} values",
        rewrites={"coreml": partial(rewrite_coreml, bits=bits)},
        gain=gain,
        pays="wherever the download counts; on the Neural Engine it may also save memory traffic",
    )


PALETTE_8 = _scheme(8, "half the size of fp16; no faster")
PALETTE_6 = _scheme(6, "three eighths of the size of fp16; no faster")
PALETTE_4 = _scheme(4, "a quarter of the size of fp16; no faster")
