"""What of a value can still be told after the activation that it goes through.

`relu6(x * scale + shift)` cuts off what lies outside 0 to 6. Where the scale is large, x may be a hundred times as
large as what is let through, and a range that covers all of it would leave two or three steps for what counts. So the
ranges of the product and of x itself are cut to what is let through, which loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, fx

_SHARE = 1e-3
"""Of a channel's numbers at either end may lie outside: where a scale is near to 0, x may be of any size."""
_MARGIN = 3.0
"""By how much more than an activation lets through x may move it: scale and shift are rounded too."""
Ends = tuple[float, float]
EVERYTHING: Ends = (-math.inf, math.inf)


@dataclass(frozen=True)
class _Modulation:
    """`activation(x * scale + shift)`: the nodes of its values. Scale and shift have one number a channel."""

    x: fx.Node
    scale: fx.Node
    product: fx.Node
    shift: fx.Node
    total: fx.Node
    ends: Ends
    """Between what the activation cuts off."""


class Cuts:
    """Looks at a network's values, photo by photo, and says which part of each is let through.

    Args:
        nodes: Of the exported program.
    """

    def __init__(self, nodes: Iterable[fx.Node]) -> None:
        found = [_modulation(node) for node in nodes]
        self._modulations = {m.total.name: m for m in found if m}
        self._wanted = {n.name for m in self._modulations.values() for n in (m.x, m.scale, m.shift)}
        self._last: dict[str, tuple[Tensor, Tensor]] = {}
        self._ends: dict[str, Ends] = {}

    def look(self, name: str, value: Tensor) -> None:
        """Take in a value (1, C, h, w) of the photo of the moment, in the order in which they are computed."""
        if name in self._wanted:
            self._last[name] = channel_ends(value)
        m = self._modulations.get(name)
        if m:
            x, scale, shift = (self._last[n.name] for n in (m.x, m.scale, m.shift))
            self._widen(m.product.name, (m.ends[0] - shift[1].max().item(), m.ends[1] - shift[0].min().item()))
            self._widen(m.x.name, _let_through(m.ends, x, scale[0], shift[0]))

    def of(self, node: fx.Node) -> Ends:
        """Between what a value counts, for all that read it."""
        ends = self._ends.get(node.name)
        products = {m.product for m in self._modulations.values()}
        others = [activation_ends(user) for user in node.users if user not in products]
        if ends is None or node in products:
            return ends or EVERYTHING
        return _union(ends, *(other or EVERYTHING for other in others))

    def _widen(self, name: str, ends: Ends) -> None:
        self._ends[name] = _union(self._ends.get(name, ends), ends)


def channel_ends(value: Tensor) -> tuple[Tensor, Tensor]:
    """Between what each channel of (1, C, h, w) lies, but for the rarest thousandth at either end: (C,) each."""
    flat = value.detach()[0].flatten(1)
    rare = int(flat.shape[1] * _SHARE)
    return flat.kthvalue(rare + 1, dim=1).values, flat.kthvalue(flat.shape[1] - rare, dim=1).values


def activation_ends(node: fx.Node) -> Ends | None:
    """Between what an activation cuts off; None of anything else."""
    kind = str(node.target).split(".")[1] if node.op == "call_function" else ""
    if kind in ("relu", "relu6"):
        return 0.0, 6.0 if kind == "relu6" else math.inf
    numbers = [argument for argument in node.args[1:] if isinstance(argument, int | float)]
    return (float(numbers[0]), float(numbers[1])) if kind in ("hardtanh", "clamp") and len(numbers) == 2 else None


def _modulation(total: fx.Node) -> _Modulation | None:
    """The modulation of which a node is the sum."""
    ends = activation_ends(next(iter(total.users))) if len(total.users) == 1 else None
    product, shift = _two(total, "aten.add.")
    x, scale = _two(product, "aten.mul.") if product else (None, None)
    if ends and product and x and scale and shift and len(product.users) == 1:
        return _Modulation(x, scale, product, shift, total, ends)
    return None


def _two(node: fx.Node, kind: str) -> tuple[fx.Node, fx.Node] | tuple[None, None]:
    """What an op of that kind takes: a value of any size, and one of one number a channel, (1, C, 1, 1)."""
    if not str(node.target).startswith(kind) or len(node.all_input_nodes) != 2:
        return None, None
    one, other = sorted(node.all_input_nodes, key=_is_per_channel)
    return (one, other) if _is_per_channel(other) and not _is_per_channel(one) else (None, None)


def _is_per_channel(node: fx.Node) -> bool:
    """Whether a value has the shape (1, C, 1, 1)."""
    return tuple(node.meta["val"].shape[2:]) == (1, 1)


def _union(*ends: Ends) -> Ends:
    return min(low for low, _ in ends), max(high for _, high in ends)


def _let_through(ends: Ends, x: tuple[Tensor, Tensor], scale: Tensor, shift: Tensor) -> Ends:
    """Between what x counts in any channel: where `x * scale + shift` lies between the ends. All (C,)."""
    moves = scale.abs() > 1e-12  # a channel that is multiplied by nothing says nothing
    if not moves.any():
        return 0.0, 0.0
    scale, shift, low, high = scale[moves], shift[moves], x[0][moves], x[1][moves]
    first, second = (ends[0] - _MARGIN - shift) / scale, (ends[1] + _MARGIN - shift) / scale
    high = high.minimum(first.maximum(second))
    low = low.maximum(first.minimum(second)).minimum(high)
    return low.min().item(), high.max().item()
