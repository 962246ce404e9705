"""A reference evaluator for Core ML packages: runs the file that was written, on any system.

It stands in for Core ML where there is no Mac; `edgestyle.coreml_program` says how it computes.

Pictures are treated as Core ML treats images: the input is rounded to 8 bits, for that is all that a photo's
CVPixelBuffer holds. The output is given *before* it is rounded to 8 bits unless `eight_bit` asks for it: rounding alone
leaves 58.9 dB, which would hide what the network itself does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgestyle import coreml_package
from edgestyle.coreml_package import End
from edgestyle.images import Image
from edgestyle.manifest import CODE
from edgestyle.runner import Placement, Runner, example_code, installed, is_encoder

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
        self._code = example_code(self.contract)
        alone = self.contract is None or self.contract.role == "filter"
        self._source: End
        self._sink: End | None
        if alone:
            self._source, self._sink = ends(package, self._program)
        else:
            self._source, self._sink = package.input, None if is_encoder(self.contract) else package.output

    def by(self, code: NDArray[np.float32]) -> EvaluatorSession:
        """The same package, to paint by another style code."""
        other = copy.copy(self)
        other._code = code
        return other

    def run(self, image: Image) -> Image:
        """The network's pictures of `image` (B, 3, H, W), one after the other: a package takes one at a time."""
        results = [next(iter(self.bind(image[i : i + 1])().values())).numpy() for i in range(len(image))]
        if self._sink is not None:  # a style code is taken as it is
            results = [self._sink.decode(result, self._eight_bit) for result in results]
        return np.concatenate(results)

    def bind(self, image: Image) -> Callable[[], dict[str, Tensor]]:
        import torch

        from edgestyle.coreml_program import evaluate

        inputs = {self._source.name: torch.from_numpy(self._source.encode(image))}
        if self._code is not None:
            inputs[CODE] = torch.from_numpy(self._code)
        return partial(evaluate, self._program, inputs)

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
