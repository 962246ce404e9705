"""The photo's own colours, kept: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer"
(arXiv:1606.05897).

Pictures are (B, 3, H, W) RGB in [0, 1] throughout. Luminance and chroma are those of YIQ (Rec. 601), as in the paper.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

PreserveColor: TypeAlias = Literal["no", "luminance", "histogram"]
"""How: not at all; style in the luminance alone (section 4.2); or with a painting that was recoloured (section 4.1)."""

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def luminance(x: Tensor) -> Tensor:
    """The grey picture of the same luminance: three equal channels."""
    return torch.einsum("c,bchw->bhw", _YIQ[0].to(x), x).unsqueeze(1).expand(-1, 3, -1, -1)


def chroma(x: Tensor) -> Tensor:
    """What grey lacks: the I and Q of YIQ, (B, 2, H, W)."""
    return torch.einsum("kc,bchw->bkhw", _YIQ[1:].to(x), x)


def recombine(picture: Tensor, photo: Tensor) -> Tensor:
    """The luminance of `picture` in the colours of `photo`; clipped where no colour is that bright or dark."""
    yiq = torch.cat([luminance(picture)[:, :1], chroma(photo)], 1)
    return torch.einsum("ck,bkhw->bchw", torch.linalg.inv(_YIQ).to(yiq), yiq).clamp(0, 1)


def match(painting: Tensor, photo: Tensor, preserve: PreserveColor) -> Tensor:
    """The painting as style is to be measured on it.

    - "no": as it is.
    - "luminance": grey, with the mean and deviation of the photo's luminance (eq. 10).
    - "histogram": recoloured by the linear map that gives its colours the photo's mean and covariance, by the
      symmetric square roots of Image Analogies (section 4.1, eq. 5 to 9).

    Args:
        painting: (1, 3, H, W).
        photo: (1, 3, H, W), of another size.
        preserve: The way.
    """
    if preserve == "no":
        return painting
    if preserve == "luminance":
        grey, aim = luminance(painting), luminance(photo)
        return ((grey - grey.mean()) / grey.std().clamp_min(1e-3) * aim.std() + aim.mean()).clamp(0, 1)
    mean, covariance = _moments(painting)
    aim_mean, aim_covariance = _moments(photo)
    recolour = _root(aim_covariance) @ torch.linalg.inv(_root(covariance))
    flat = recolour @ (painting[0].flatten(1) - mean) + aim_mean  # (3, HW)
    recoloured: Tensor = flat.reshape(painting.shape).clamp(0, 1)
    return recoloured


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (3, 1) and covariance (3, 3) of a picture's colours; even that of a grey picture can be inverted."""
    flat = x[0].flatten(1)
    return flat.mean(1, keepdim=True), torch.cov(flat) + 1e-5 * torch.eye(3).to(x)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    return root
