"""The conditional family: one painting or several, by instance norms whose scales and shifts a style vector chooses.

The network is the transformer of the adain family (`edgestyle/adain.py`) with the style vector in place of a code, to
which scale and shift of each channel are linear: the conditional instance norm of Dumoulin et al. 2017
(arXiv:1610.07629). So it can begin with a trained pair, each painting where the style encoder puts it (`from_codes`),
and a painting of one's own is half learned before the first step.

With one painting nothing is left of the vector: its scales and shifts are weights of the norms.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from edgestyle.adain import Modulation, Transformer, TransformerConfig
from edgestyle.learned import Learned, LearnedConfig, check_ranges, deploy


@dataclass(frozen=True)
class ConditionalConfig(TransformerConfig, LearnedConfig):
    """The numbers that define one conditional network."""

    fine_norms: bool = True
    picture_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, {"styles": (1, 1024)})

    def build(self) -> Conditional:
        return Conditional(self)


class Conditional(Transformer, Learned):
    """See `edgestyle.learned.Learned`; one of H and W larger than `stride`."""

    family = "conditional"
    config: ConditionalConfig

    def __init__(self, config: ConditionalConfig | None = None) -> None:
        config = config or ConditionalConfig()
        super().__init__(config, config.styles)
        if config.styles == 1:
            self.fold(torch.ones(1, 1))

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        return self.paint(x, style if style is None else style[:, :, None, None])

    def _folded(self, style: Tensor) -> Conditional:
        return from_codes(self, style)

    def _unfolded(self, styles: int) -> Conditional:
        many = copy.deepcopy(self)
        many.unfold(styles)
        many.config = replace(self.config, styles=styles)
        return many


@torch.no_grad()
def from_codes(transformer: Transformer, codes: Tensor) -> Conditional:
    """A network of as many paintings as there are codes, which paints each as a transformer paints by its code.

    Exact; of one code, it is as many operations fewer as the code cost.

    Args:
        transformer: Not changed.
        codes: (N, code).
    """
    shared = {field.name: getattr(transformer.config, field.name) for field in fields(TransformerConfig)}
    net, source = Conditional(ConditionalConfig(**shared, styles=len(codes))), copy.deepcopy(transformer)
    if len(codes) == 1:
        source.fold(codes)
    else:
        for module in source.modules():
            if isinstance(module, Modulation):
                module.mix(codes)
    net.load_state_dict(source.state_dict())
    return deploy(net)
