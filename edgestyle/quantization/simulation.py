"""A network that computes as its 8-bit file will, in torch: every number is rounded to its grid and stays a float.

The grids are those of a `Calibration`, which the files have too, so that what is seen here is what a runtime will show,
and gradients pass through the rounding as if it were not there (the straight-through estimator, Bengio et al. 2013,
arXiv:1308.3432; Jacob et al. 2018, arXiv:1712.05877, train so for integers).
"""

from __future__ import annotations

import copy
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from edgestyle.quantization.calibration import Calibration, Range, Value, trace


@dataclass(frozen=True)
class _Weight:
    """Weights of one layer."""

    layer: str
    axis: int | None
    """With a scale for each index along it; None for one scale in all."""


class Simulation:
    """A network in 8-bit integers, or as far as a calibration goes.

    Args:
        net: The network. Its weights are read at each call, so that it may be trained meanwhile.
        calibration: Its ranges. A value without one stays a float, and so do the weights of ops that take or give it.
        layers: Only the values and weights of these layers are rounded, whatever their neighbours do; all if None.
    """

    def __init__(self, net: nn.Module, calibration: Calibration, layers: Container[str] | None = None) -> None:
        self._net, self._calibration, self._layers = net, calibration, layers
        self._values = {value.name: value for value in calibration.values}
        self._programs: dict[tuple[int, ...], ExportedProgram] = {}

    def __call__(self, photo: Tensor) -> Tensor:
        """The picture of photos, both (B, 3, H, W) in [0, 1]."""
        program = self._program(photo)
        state = {**program.constants, **dict(self._net.named_buffers()), **dict(self._net.named_parameters())}
        rounded = self._weights(program)
        inputs = []
        for spec in program.graph_signature.input_specs:
            if spec.target is not None:
                value = state[spec.target]
                inputs.append(_round_weights(value, rounded[spec.arg.name]) if spec.arg.name in rounded else value)
        (picture,) = _Rounding(program, self._grids()).run(*inputs, photo)
        return picture  # type: ignore[no-any-return]

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that gives a value, in the order in which the network computes them."""
        return self._calibration.layers

    def count(self, layer: str) -> int:
        """How many weights a layer has."""
        parameters = self._net.named_parameters()
        return sum(weights.numel() for name, weights in parameters if name.rpartition(".")[0] == layer)

    def only(self, layer: str) -> Simulation:
        """The same network with nothing but one layer in integers."""
        other = Simulation(self._net, self._calibration, (layer,))
        other._programs = self._programs
        return other

    def without(self, layers: tuple[str, ...]) -> Simulation:
        """The same network with some layers in floats, as `Calibration.without` says."""
        other = Simulation(self._net, self._calibration.without(layers))
        other._programs = self._programs
        return other

    def _program(self, photo: Tensor) -> ExportedProgram:
        shape = tuple(photo.shape)
        if shape not in self._programs:
            frozen = copy.deepcopy(self._net).eval().requires_grad_(False)
            self._programs[shape] = trace(frozen, torch.zeros(shape))
        return self._programs[shape]

    def _grids(self) -> dict[str, Range]:
        """The range of each value that is rounded; between a layer and the activation fused with it nothing is."""
        return {
            value.name: value.range
            for value in self._values.values()
            if value.range and not value.fused_with and self._is_served(self._calibration.owner(value))
        }

    def _is_served(self, layer: str) -> bool:
        return self._layers is None or layer in self._layers

    def _weights(self, program: ExportedProgram) -> dict[str, _Weight]:
        """Names of the inputs of a program that are weights in integers."""
        inputs = {spec.arg.name for spec in program.graph_signature.input_specs if spec.target is not None}
        found = {}
        for node in program.graph.nodes:
            weights = [n for n in node.all_input_nodes if n.name in inputs and n.meta["val"].ndim > 1]
            value = self._values.get(node.name)
            if not weights or value is None or not self._is_served(self._calibration.owner(value)):
                continue
            taken = [self._source(n) for n in node.all_input_nodes if n.name not in inputs]
            if value.range and all(v is None or v.range for v in taken):
                is_convolution = weights[0].meta["val"].ndim == 4
                found[weights[0].name] = _Weight(self._calibration.owner(value), 0 if is_convolution else None)
        return found

    def _source(self, node: fx.Node) -> Value | None:
        """The value that a node holds, if need be in another shape."""
        while node.name not in self._values and len(node.all_input_nodes) == 1:
            node = node.all_input_nodes[0]
        return self._values.get(node.name)


class _Rounding(fx.Interpreter):
    """Runs a program and rounds some of its values."""

    def __init__(self, program: ExportedProgram, ranges: dict[str, Range]) -> None:
        super().__init__(program.graph_module)
        self._ranges = ranges

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        return _round_values(value, self._ranges[n.name]) if n.name in self._ranges else value


def _round_values(value: Tensor, range_: Range) -> Tensor:
    scale, zero_point = range_.grid()
    return torch.fake_quantize_per_tensor_affine(value, scale, zero_point, 0, 255)


def _round_weights(weights: Tensor, rule: _Weight) -> Tensor:
    """Symmetric, 255 steps."""
    others = [i for i in range(weights.ndim) if i != rule.axis]
    scale = (weights.detach().abs().amax(others) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    if rule.axis is None:
        return torch.fake_quantize_per_tensor_affine(weights, scale, zeros, -127, 127)
    return torch.fake_quantize_per_channel_affine(weights, scale, zeros, rule.axis, -127, 127)
