"""The ranges of a network's values, and how they are found again in the files made of it.

The float network is run once over the calibration photos, in torch. The same value has another name in each target's
file, often another layout, sometimes another order of channels or another scale, and some values exist in one of them
only. So a value is known by a fingerprint of what it holds for one photo: the file is run on that photo, and its
tensors are recognised. What a file computes in a way of its own is not in the table, and stays in floats.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import CheckError
from edgestyle.images import Image
from edgestyle.quantization.cuts import Cuts, Ends
from edgestyle.quantization.observers import BINS, DEFAULT, OBSERVERS, Histogram

if TYPE_CHECKING:
    from torch import Tensor, fx, nn
    from torch.export import ExportedProgram

_TOLERANCE = 0.02
"""Largest difference of two fingerprints of one value; fp16 weights, deep in a network, make about 0.002 of it."""
_CLEAR, _CLEARLY = 0.06, 10
"""It may be so large where the next value is so many times as far: what an activation has cut off nearly everywhere is
told by few numbers, and fp16 weights move them more."""
_SAME_SCALE = 0.002
"""Largest difference of scale that is fp16's. A file may also count in another unit: Core ML's pixels are 1/256."""
_SAMPLE = 65536
"""About how many numbers of each value and photo are counted."""
_SAME = 1e-6
"""Largest difference of the same numbers in another shape."""
_ACTIVATIONS = ("relu", "relu6", "hardtanh", "clamp", "leaky_relu")
_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Range:
    """The numbers that an integer format covers. Zero is always one of them: convolutions pad with it."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= 0 <= self.high:
            raise ValueError(f"{self} leaves out zero")

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.high * factor)

    def grid(self, bits: int = 8) -> tuple[float, int]:
        """Scale and zero point of unsigned integers q, which stand for `scale * (q - zero_point)`."""
        scale = max(self.high - self.low, 1e-9) / (2**bits - 1)
        return scale, round(-self.low / scale)


UNIT = Range(0, 1)
"""Of the photo that goes in, whose 8 bits are kept exactly, and of a sigmoid."""
SIGMOID = Range(0, 255 / 256)
"""Of a sigmoid in 8 bits: TFLite's integer kernel gives these steps, whatever else is asked for."""


@dataclass(frozen=True)
class Fingerprint:
    """What a value holds for one photo, in a few numbers that do not depend on layout, order, scale or zero padding."""

    count: int
    """Of numbers that are not zero."""
    rms: float
    """Their root mean square: the scale."""
    shape: NDArray[np.float64]
    """Mean, mean absolute value and some quantiles, as multiples of `rms`."""

    @classmethod
    def of(cls, value: NDArray[Any]) -> Fingerprint:
        """The fingerprint of a tensor of any shape."""
        numbers = value[value != 0].astype(np.float64)
        if not numbers.size:
            return cls(0, 0, np.zeros(2 + len(_QUANTILES)))
        rms = float(np.sqrt(np.square(numbers).mean()))
        features = [numbers.mean(), np.abs(numbers).mean(), *np.quantile(numbers, _QUANTILES)]
        return cls(numbers.size, rms, np.array(features) / rms)

    def distance(self, other: Fingerprint) -> float:
        """Largest difference of any feature; that of the counts is relative."""
        counts = abs(self.count - other.count) / max(self.count, other.count, 1)
        return max(counts, float(np.abs(self.shape - other.shape).max()))


@dataclass(frozen=True)
class Value:
    """A value that the network computes."""

    name: str
    """Of its node in the exported torch program: "conv2d_3"."""
    layer: str
    """Of the module that computes it: "trunk.0.conv"; "" for the network itself and for the photo."""
    range: Range | None
    """For 8 bits: what the observer chose. None if the value is to stay in floats."""
    wide: Range
    """For 16 bits, which have steps to spare: twice as wide as all that was seen, where the value can be so large."""
    fingerprint: Fingerprint
    fused_with: str
    """Name of the activation that follows at once, or "": runtimes compute both in one, and a file may hold the second
    only."""


@dataclass(frozen=True)
class Calibration:
    """All that a scheme has to know of a float network."""

    photo: Image
    """The photo of the fingerprints, (1, 3, H, W)."""
    photos: int
    """How many were looked at."""
    values: tuple[Value, ...]
    """In the order in which the network computes them, the photo first."""

    def match(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, Range]:
        """The ranges of a file's tensors, by what they hold for `photo`.

        Left out are integers, values that stay in floats, and what is not the network's but the file's own.

        Raises:
            CheckError: A value of the network is not among them.
        """
        ranges: dict[str, Range] = {}
        missing = {value.name: value for value in self.values if not value.fused_with}
        for name, tensor in tensors.items():
            if found := self._find(np.asarray(tensor)):
                value, factor = found
                missing.pop(value.name, None)
                if value.range:
                    ranges[name] = value.range * factor
        for value in missing.values():
            raise CheckError(
                f"the file holds nothing like '{value.name}' of layer '{value.layer}' ({len(missing)} such values), so "
                "that its range cannot be told; choose another scheme"
            )
        return ranges

    def widened(self) -> Calibration:
        """The same with the ranges for 16 bits."""
        return replace(self, values=tuple(replace(value, range=value.range and value.wide) for value in self.values))

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that gives a value, in the order in which the network computes them."""
        return tuple(dict.fromkeys(self.owner(value) for value in self.values))

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Those of them that stay in floats."""
        return tuple(dict.fromkeys(self.owner(value) for value in self.values if value.range is None))

    def owner(self, value: Value) -> str:
        """The layer that a value belongs to: an activation that is fused belongs to the layer before it."""
        return next((before.layer for before in self.values if before.fused_with == value.name), value.layer)

    def without(self, layers: Iterable[str]) -> Calibration:
        """The same, but what some layers give stays in floats, on every target alike.

        An op that takes or gives such a value computes in floats, its weights are floats.
        """
        layers = set(layers)
        values = (replace(value, range=None) if self.owner(value) in layers else value for value in self.values)
        return replace(self, values=tuple(values))

    def _find(self, tensor: NDArray[Any]) -> tuple[Value, float] | None:
        """The value that a tensor holds, and how many times as large."""
        if tensor.dtype.kind != "f" or not tensor.any():
            return None
        print_ = Fingerprint.of(tensor)
        distances = sorted((value.fingerprint.distance(print_), i) for i, value in enumerate(self.values))
        (distance, i), (second, _) = distances[0], (*distances[1:2], (math.inf, -1))[0]
        if distance > _TOLERANCE and not (distance <= _CLEAR and distance <= second / _CLEARLY):
            return None
        factor = print_.rms / self.values[i].fingerprint.rms
        return self.values[i], factor if abs(factor - 1) > _SAME_SCALE else 1


def calibrate(net: nn.Module, photos: Sequence[Image], observer: str = DEFAULT) -> Calibration:
    """Run a network over photos and find the range of each of its values.

    Left out are values from before the first layer with weights, but for the photo, what is made of it by numbers alone
    and what that layer takes: they are sums over the picture (an input normalisation), which 8 bits would spoil.

    Args:
        net: In deploy form.
        photos: Calibration photos (1, 3, H, W), all of one size; at least one.
        observer: A name in `OBSERVERS`.
    """
    import torch

    program = trace(net, torch.from_numpy(photos[0]))
    constants = _constants(program)
    nodes = {node.name: node for node in _after_first_weights(program)}
    low, high = dict.fromkeys(nodes, 0.0), dict.fromkeys(nodes, 0.0)
    counts = {name: np.zeros(BINS) for name in nodes}
    prints: dict[str, Fingerprint] = {}
    cuts = Cuts(nodes.values())

    def widen(name: str, value: Tensor) -> None:
        cuts.look(name, value)
        smallest, largest = value.aminmax()
        low[name], high[name] = min(low[name], smallest.item()), max(high[name], largest.item())
        if name not in prints:  # of the first photo
            prints[name] = Fingerprint.of(value.numpy())

    def count(name: str, value: Tensor) -> None:
        sample = value.flatten()[:: value.numel() // _SAMPLE | 1]  # an odd step: no column of pixels twice as often
        counts[name] += sample.histc(BINS, low[name], high[name]).numpy().astype(np.float64)

    for look in (widen, count):  # twice: bins can be laid when the ends are known
        for photo in photos:
            _watch(program, torch.from_numpy(photo), nodes, look)
    values: list[Value] = []
    for name, node in nodes.items():
        if not prints[name].count or any(value.fingerprint.distance(prints[name]) < _SAME for value in values):
            continue  # nothing but zeros needs no range, nor does a value seen before
        seen = Histogram(low[name], high[name], counts[name])
        range_, wide = _known(node, constants) or (_range(*OBSERVERS[observer](seen)), _wide(node, seen))
        range_ = _cut(range_, cuts.of(node))
        values.append(Value(name, _layer(node), range_, wide, prints[name], _fused_with(node)))
    return Calibration(photos[0], len(photos), tuple(values))


def trace(net: nn.Module, photo: Tensor) -> ExportedProgram:
    """What a network in deploy form computes for a photo of that shape, op by op; the same names for every shape."""
    import torch

    with torch.inference_mode():
        return torch.export.export(net, (photo,))


def _after_first_weights(program: ExportedProgram) -> Iterator[fx.Node]:
    """The values that are computed with weights, and those that layers with weights take."""
    constants = _constants(program)
    matrices = {
        node for node in program.graph.nodes if node.name in constants and node.meta["val"].ndim > 1
    }  # a norm has vectors only
    weighted: set[fx.Node] = set()
    for node in program.graph.nodes:
        if weighted.union(matrices) & set(node.all_input_nodes) and node.op == "call_function":
            weighted.add(node)
    for node in program.graph.nodes:
        is_taken = any(user in weighted for user in node.users) and node.name not in constants
        is_wanted = is_taken or node in weighted or _of_photo(node, constants)
        if is_wanted and node.meta["val"].is_floating_point():
            yield node


def _constants(program: ExportedProgram) -> set[str]:
    """Names of the inputs of a program that are weights and buffers."""
    return {spec.arg.name for spec in program.graph_signature.input_specs if spec.target is not None}


def _of_photo(node: fx.Node, constants: Container[str]) -> Range | None:
    """The range of the photo, and of what is made of it by numbers alone: known beforehand, and exact in 8 bits."""
    if node.op == "placeholder":
        return UNIT if node.name not in constants else None
    kind = str(node.target).split(".")[1] if node.op == "call_function" else ""
    apply = {"sub": operator.sub, "add": operator.add, "mul": operator.mul, "div": operator.truediv}.get(kind)
    if not apply or len(node.args) != 2 or not isinstance(node.args[1], int | float):
        return None
    before = _of_photo(node.all_input_nodes[0], constants) if node.all_input_nodes else None
    ends = sorted(apply(end, node.args[1]) for end in (before.low, before.high)) if before else [0.0, 0.0]
    return Range(*ends) if before and ends[0] <= 0 <= ends[1] else None


def _watch(program: ExportedProgram, photo: Tensor, nodes: Container[str], look: Callable[[str, Tensor], None]) -> None:
    """Run a program on a photo, and show `look` each of the values `nodes`."""
    import torch

    class Watcher(torch.fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n.name in nodes:
                look(n.name, value)
            return value

    state = {**program.state_dict, **program.constants}
    weights = [state[spec.target] for spec in program.graph_signature.input_specs if spec.target is not None]
    with torch.inference_mode():
        Watcher(program.graph_module).run(*weights, photo)


def _known(node: fx.Node, constants: Container[str]) -> tuple[Range, Range] | None:
    """The ranges for 8 and 16 bits of a value that need not be looked at."""
    import torch

    if photo := _of_photo(node, constants):
        return photo, photo
    return (SIGMOID, UNIT) if node.target is torch.ops.aten.sigmoid.default else None


def _wide(node: fx.Node, seen: Histogram) -> Range:
    """Twice what was seen, and no more than an activation lets through: runtimes let the range cut off in its place."""
    wide = _range(seen.low, seen.high) * 2
    kind = str(node.target).split(".")[1]
    bound = {"relu6": 6.0, "hardtanh": node.args[-1], "clamp": node.args[-1]}.get(kind)
    return replace(wide, high=min(wide.high, bound)) if isinstance(bound, float) else wide


def _cut(range_: Range, ends: Ends) -> Range:
    return _range(max(range_.low, ends[0]), min(range_.high, ends[1]))


def _fused_with(node: fx.Node) -> str:
    """The activation that alone reads a value, if one does."""
    (user, *others) = node.users
    is_fused = not others and str(user.target) in [f"aten.{name}.default" for name in _ACTIVATIONS]
    return user.name if is_fused else ""


def _range(low: float, high: float) -> Range:
    """With zero in it, and not empty: a channel that never fires must not divide by zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    return Range(low, high if high > low else 1.0)


def _layer(node: fx.Node) -> str:
    """Path of the module that computes a value."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]) if stack else ""
