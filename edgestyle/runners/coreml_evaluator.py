"""A reference evaluator for Core ML packages: runs the file that was written, on any system.

It stands in for Core ML where there is no Mac; `edgestyle.coreml_program` says how it computes.

Pictures are treated as Core ML treats images: the input is rounded to 8 bits, for that is all that a photo's
CVPixelBuffer holds. The output is given *before* it is rounded to 8 bits unless `eight_bit` asks for it: rounding alone
leaves 58.9 dB, which would hide what the network itself does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgestyle import coreml_package
from edgestyle.images import Image
from edgestyle.runner import Placement, Runner, installed

if TYPE_CHECKING:
    from torch import Tensor


class EvaluatorSession:
    """A package opened for evaluation.

    Args:
        path: The `.mlpackage` folder.
        eight_bit: Round the output to 8 bits, as an app gets it.

    Raises:
        ConfigError: It is not a whole Core ML package, or does not map one picture to one picture.
        UnavailableError: It has an op that is not in `coreml_ops.OPS`.
        MissingExtraError: coremltools is not installed.
    """

    def __init__(self, path: Path, eight_bit: bool = False) -> None:
        from edgestyle.coreml_program import ends, load

        package = coreml_package.read(path)
        self.contract = package.contract
        self.size = package.input.size
        self._eight_bit = eight_bit
        self._program = load(package)
        self._ends = ends(package, self._program)

    def run(self, image: Image) -> Image:
        """The network's pictures of `image` (B, 3, H, W), one after the other: a package takes one at a time."""
        sink = self._ends[1]
        results = [self.bind(image[i : i + 1])()[sink.name] for i in range(len(image))]
        return np.concatenate([sink.decode(result.numpy(), self._eight_bit) for result in results])

    def bind(self, image: Image) -> Callable[[], dict[str, Tensor]]:
        import torch

        from edgestyle.coreml_program import evaluate

        source = self._ends[0]
        return partial(evaluate, self._program, {source.name: torch.from_numpy(source.encode(image))})

    def placement(self) -> Placement:
        count = len(self._program.operations)
        return Placement(total=count, delegated=count, partitions=1)


RUNNER = Runner(
    name="coreml-evaluator",
    title="Core ML programs, evaluated in torch",
    hardware="cpu",
    suffixes=(".mlpackage",),
    probe=partial(installed, "coreml", "coremltools"),
    open=EvaluatorSession,
    emulated=True,
)
