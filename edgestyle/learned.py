"""What networks that have learned their paintings have in common, one painting or several.

With one painting, a network takes a photo alone. With several it takes a style vector beside it, a weight for each
painting, as one-hot vectors choose the norms of Dumoulin et al. 2017 (arXiv:1610.07629); a blend of vectors blends
styles. The vector enters linear layers alone, so that a constant one can be folded into weights and biases, exactly.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from edgestyle.errors import ConfigError

Net = TypeVar("Net", bound=nn.Module)


def check_ranges(config: object, ranges: dict[str, tuple[int, int]]) -> None:
    """Refuse numbers of a network's configuration that are not whole, or not from the lowest to the highest allowed.

    Raises:
        ConfigError: With the name of the field, what came and what is allowed.
    """
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")


@dataclass(frozen=True)
class LearnedConfig(ABC):
    """The numbers that define one network: what the families' configurations have in common."""

    styles: int = 1
    """Paintings. With more than one, a style vector is the network's second input."""

    @abstractmethod
    def build(self) -> Learned:
        """The network, with random weights."""


class Learned(nn.Module, ABC):
    """Photo in, painting out.

    Shapes: photo (B, 3, H, W) RGB in [0, 1] -> picture of the same; H and W multiples of `stride`. A network of several
    paintings also takes style vectors (B, styles): weights of the paintings that add up to 1.
    """

    family: ClassVar[Literal["feedforward", "conditional"]]
    stride: ClassVar[int] = 8
    config: LearnedConfig

    @abstractmethod
    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """The painting of a photo."""

    @abstractmethod
    def _folded(self, style: Tensor) -> Self:
        """The network at one style vector (1, styles)."""

    @abstractmethod
    def _unfolded(self, styles: int) -> Self:
        """Of a network of one painting, one of so many, for each of which it paints as this one."""

    @torch.no_grad()
    def specialized(self, weights: Sequence[float]) -> Self:
        """A network of one painting, or of one blend, out of this one of several: exact, and costs nothing at run time.

        Args:
            weights: The style vector, one weight a painting.

        Raises:
            ConfigError: The network is of one painting, or the number of weights is not that of its paintings.
        """
        styles = self.config.styles
        if styles == 1 or len(weights) != styles:
            raise ConfigError(f"{len(weights)} weights for a network of {styles} style(s); give one weight a style")
        return deploy(self._folded(torch.tensor([list(weights)], dtype=torch.float32)))

    @torch.no_grad()
    def adapted(self, styles: int) -> Self:
        """A network of so many paintings to begin training with, from this one of any number.

        Of another number of paintings, it is first made one of the even blend of those it knows, and new paintings
        begin from there.
        """
        known = self.config.styles
        if known == styles:
            return self
        single = self.specialized([1 / known] * known) if known > 1 else self
        return single if styles == 1 else single._unfolded(styles)


def deploy(net: Net) -> Net:
    """The form that is saved and exported: a frozen copy in evaluation mode, its weights in the default memory layout.

    What one target alone wants of a graph (its *dialect*) is in that target's own file.
    """
    return copy.deepcopy(net).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]
