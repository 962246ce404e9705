"""palette-8, palette-6, palette-4: the weights of a layer as indices of 8, 6 or 4 bits into a table of shared values.

Core ML's own format. All arithmetic stays fp16; the Neural Engine widens the weights as it loads them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgestyle import coreml_package
from edgestyle.target import Scheme

from . import coreml_integers


def rewrite_coreml(path: Path, bits: int) -> None:
    """Hold the weights of an fp16 package as indices into tables that k-means chose, in place.

    Args:
        path: The fp16 package.
        bits: Of an index: 8, 6 or 4.

    Raises:
        MissingExtraError: coremltools is not installed.
    """
    optimize = coreml_package.import_coremltools().optimize.coreml
    every = optimize.OpPalettizerConfig(mode="kmeans", nbits=bits, weight_threshold=0)
    config = optimize.OptimizationConfig(global_config=every)
    coreml_integers.change(path, lambda model: optimize.palettize_weights(model, config))


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
