"""A file's graph in one form for all three formats: what the rules look at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Tensor:
    """An edge of a graph."""

    name: str
    shape: tuple[int | None, ...] | None
    """A free side is None; the whole is None where even the number of dimensions is unknown."""
    dtype: str
    """numpy's name: "float32"."""
    constant: bool = False
    """Known before the first picture: weights, and whatever is computed from weights alone."""
    value: NDArray[Any] | None = None
    """Of a constant, where the file holds it as it is."""
    scale: float | None = None
    """Of a quantized tensor with one scale: an integer q stands for `scale * (q - zero_point)`."""


@dataclass(frozen=True, eq=False)
class Op:
    """A node of a graph."""

    type: str
    """As its format calls it: "CONV_2D", "Conv", "conv"."""
    name: str
    """In the file; of TFLite, whose ops have none, that of its first output where it is short."""
    inputs: tuple[Tensor | None, ...]
    """None for an optional input that is not given."""
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """As the format has them, and in the same form for all: `window`, `stride` and `dilation`, (height, width) each."""
    layer: str = ""
    """Path of the module that it comes from ("trunk.0.norm"), where the file tells."""

    @property
    def activations(self) -> list[Tensor]:
        """Inputs and outputs that depend on the picture."""
        return [t for t in (*self.inputs, *self.outputs) if t and not t.constant]


@dataclass(frozen=True)
class Graph:
    """What a file computes, op by op in the order of execution."""

    ops: tuple[Op, ...]
    source: Any = None
    """The file as its own library reads it, for that library's own checkers."""

    def places(self) -> dict[Op, str]:
        """What to call each op before people: its layer, else its name and the layer that it comes after."""
        last: dict[str, str] = {}  # tensor -> the layer that it comes from, or after
        found = {}
        for op in self.ops:
            after = op.layer or next((last[t.name] for t in op.inputs if t and last.get(t.name)), "")
            last.update((tensor.name, after) for tensor in op.outputs)
            found[op] = op.layer or (f"{op.name} (after {after})" if after else op.name)
        return found


def cut(ops: Sequence[Op], delegated: Collection[Op]) -> list[list[Op]]:
    """Pieces in which a delegate is given `delegated`, as TensorFlow Lite cuts them.

    Greedy: a piece takes every op of its side whose inputs are there, until none is left; then comes the other side.

    Source: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/graph_info.cc
    """
    to_come = {tensor.name for op in ops for tensor in op.outputs}
    waiting, pieces = list(ops), []

    def ready() -> list[Op]:
        return [op for op in waiting if not any(tensor and tensor.name in to_come for tensor in op.inputs)]

    while first := next(iter(ready()), None):
        mine, piece = first in delegated, []
        while taken := [op for op in ready() if (op in delegated) == mine]:
            piece += taken
            to_come -= {tensor.name for op in taken for tensor in op.outputs}
            waiting = [op for op in waiting if op not in taken]
        if mine:
            pieces.append(piece)
    return pieces
