"""Which layers suffer from 8 bits: each alone in integers, all others in floats, judged by the picture.

After Jacob et al. 2018 (arXiv:1712.05877) and the per-layer analyses of every deployment kit since; here a layer is
judged by what it does to style, content and pixels of the final picture, not by the error of its own values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from edgestyle.gates import Gate
from edgestyle.images import Image
from edgestyle.quantization.judging import Harm, Judge
from edgestyle.quantization.simulation import Simulation

MARGIN_DB = 0.5
"""By how much more than the gate a choice of layers must reach: runtimes round in their own ways."""


@dataclass(frozen=True)
class Sensitivity:
    """A layer, and what its integers alone do to the picture."""

    layer: str
    """Its path in the network; "" for what the network itself computes between its layers."""
    weights: int
    """How many it has."""
    harm: Harm


@dataclass(frozen=True)
class Choice:
    """Layers that stay in floats, and what the picture is like then."""

    floats: tuple[str, ...]
    psnr_db: float
    ssim: float


def rank(simulation: Simulation, judge: Judge) -> Iterator[Sensitivity]:
    """The harm of each layer, in the order in which the network computes them.

    Args:
        simulation: The network in 8 bits.
        judge: Of the float network.
    """
    for layer in simulation.layers:
        paint = painter(simulation.only(layer))
        yield Sensitivity(layer, simulation.count(layer), judge.harm([paint(photo) for photo in judge.photos]))


def by_harm(layers: list[Sensitivity]) -> list[Sensitivity]:
    """The most harmful first: by PSNR, the error of all pixels."""
    return sorted(layers, key=lambda layer: layer.harm.psnr_db)


def fewest_floats(
    simulation: Simulation,
    judge: Judge,
    gate: Gate,
    order: list[str],
    report: Callable[[Choice], None] = lambda _: None,
) -> Choice:
    """The fewest layers that must stay in floats for the picture to pass a gate, as a greedy search finds them.

    The most harmful layers are left in floats, one more at a time, until the gate is met; then each of them that turns
    out not to be needed is given back.

    Args:
        simulation: The network in 8 bits.
        judge: Of the float network.
        gate: What is to be reached, by `MARGIN_DB` more.
        order: All layers, the most harmful first.
        report: Called with every choice that was tried.
    """

    def attempt(floats: tuple[str, ...]) -> Choice:
        drift = judge.drift(painter(simulation.without(floats)))
        choice = Choice(floats, drift.psnr_db, drift.ssim)
        report(choice)
        return choice

    def passes(choice: Choice) -> bool:
        return not gate.missed(choice.psnr_db - MARGIN_DB, choice.ssim)

    choice = attempt(())
    for count in range(1, len(order) + 1):
        if passes(choice):
            break
        choice = attempt(tuple(order[:count]))
    for layer in choice.floats[-2::-1]:  # the last is what made it pass; the least harmful is given back first
        fewer = attempt(tuple(other for other in choice.floats if other != layer))
        choice = fewer if passes(fewer) else choice
    return choice


def painter(simulation: Simulation) -> Callable[[Image], Image]:
    """Paints pictures (1, 3, H, W) with a simulation."""

    def paint(photo: Image) -> Image:
        with torch.inference_mode():
            return simulation(torch.from_numpy(photo)).numpy()

    return paint
