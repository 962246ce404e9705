"""How far an exported network's picture is from the float network's, in eight numbers.

A single number hides what went wrong. Each of these sees something that the others do not; docs/metrics.md shows it
with pictures. All compare two pictures (1, 3, H, W), RGB float32 in [0, 1]: `actual`, what the exported file made, and
`reference`, what the float network made of the same photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgestyle import drift
from edgestyle.images import Image

if TYPE_CHECKING:
    from torch import Tensor

    from edgestyle.perceptual import PerceptualNetwork

BORDER_PX = 16
"""Width of the frame that `border` looks at."""
AREA_PX = 8
"""Side of the areas whose colours `delta_e` compares."""
TILE_PX = 32
"""Side of the tiles that `worst_tile` looks at."""
ROUNDING_MSE = 1 / (12 * 255**2)
"""Mean squared error of rounding to 8 bits: 58.9 dB."""


@dataclass(frozen=True)
class Metrics:
    """Distances of one picture from another. Those that need a perceptual network are None where there was none."""

    psnr_db: float
    """Error of the pixels, see `edgestyle.drift`. dB, higher is better, 200 is equal."""
    ssim: float
    """Structure, see `edgestyle.drift`. Higher is better, 1 is equal."""
    style_drift: float | None
    """Texture, wherever it is, see `style_drift`. 0 is equal."""
    content_drift: float | None
    """What is shown, and how clearly, see `content_drift`. 0 is equal."""
    delta_e: float
    """Colour, see `delta_e`. 0 is equal, 1 is about what an eye just sees."""
    border: float
    """How much worse the frame is than the middle, see `border`. dB, 0 is evenly good."""
    worst_tile: float
    """The worst place, see `worst_tile`. dB, higher is better."""
    perceptual: float | None
    """What an eye makes of the difference, see `perceptual`. 0 is equal, 2 is the most."""


def measure(actual: Image, reference: Image, network: PerceptualNetwork | None) -> Metrics:
    """All metrics of `actual` against `reference`, both (1, 3, H, W) RGB in [0, 1]; H and W at least 7.

    Args:
        actual: What the exported network made.
        reference: What the float network made of the same photo.
        network: What `style_drift`, `content_drift` and `perceptual` look through; None leaves them out.

    Raises:
        CheckError: The shapes differ, or `actual` holds NaN or infinity.
    """
    overall = drift.measure(actual, reference)
    a, b = (features(picture, network) if network else None for picture in (actual, reference))
    return Metrics(
        psnr_db=overall.psnr_db,
        ssim=overall.ssim,
        style_drift=style_drift(a, b) if a and b else None,
        content_drift=content_drift(a, b) if a and b else None,
        delta_e=delta_e(actual, reference),
        border=border(actual, reference),
        worst_tile=worst_tile(actual, reference),
        perceptual=perceptual(a, b) if a and b else None,
    )


def worst(metrics: Iterable[Metrics]) -> Metrics:
    """The worst value of each metric over several pictures: a gate must hold for every one of them."""
    metrics = list(metrics)

    def largest(values: Iterable[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    return Metrics(
        psnr_db=min(m.psnr_db for m in metrics),
        ssim=min(m.ssim for m in metrics),
        style_drift=largest(m.style_drift for m in metrics),
        content_drift=largest(m.content_drift for m in metrics),
        delta_e=max(m.delta_e for m in metrics),
        border=max(m.border for m in metrics),
        worst_tile=min(m.worst_tile for m in metrics),
        perceptual=largest(m.perceptual for m in metrics),
    )


# Of pixels ----------------------------------------------------------------------------------------------------------


def delta_e(actual: Image, reference: Image) -> float:
    """Colour difference CIEDE2000 (Sharma, Wu & Dalal 2005, Color Research & Application 30(1)), mean over the picture.

    Taken between the mean Lab colours of areas of 8x8 px (at the right and bottom: of what is left of them), because an
    eye sees fine noise as grain and not as colour; S-CIELAB blurs for the same reason (Zhang & Wandell 1997, Journal of
    the SID 5(1)). sRGB, D65; values are clipped to [0, 1] first.
    """
    from skimage.color import deltaE_ciede2000

    return float(deltaE_ciede2000(_area_colours(actual), _area_colours(reference), channel_axis=0).mean())


def _area_colours(picture: Image) -> NDArray[np.float64]:
    """Mean Lab colour of each area, (3, H / 8, W / 8), rounded up."""
    import torch
    from skimage.color import rgb2lab

    lab = torch.from_numpy(rgb2lab(np.clip(picture[0].astype(np.float64), 0, 1), channel_axis=0))
    areas: NDArray[np.float64] = torch.nn.functional.avg_pool2d(lab, AREA_PX, ceil_mode=True).numpy()
    return areas


def border(actual: Image, reference: Image) -> float:
    """How much worse the frame is than the middle: `10 log10(mse of frame / mse of middle)` dB.

    The frame is the outer 16 px; in a picture under 64 px, a quarter of its shorter side. Above 0 the frame is worse: a
    wrong padding mode, or a resize that is half a pixel off. A mean squared error under that of rounding to 8 bits,
    `1 / (12 * 255^2)`, counts as that, so that nothing invisible raises an alarm; the range is -59 to 59 dB.
    """
    error = _squared_error(actual, reference)
    width = min(BORDER_PX, min(error.shape) // 4)
    middle = error[width:-width, width:-width]
    of_frame = (error.sum() - middle.sum()) / (error.size - middle.size)
    return float(10 * np.log10(max(of_frame, ROUNDING_MSE) / max(middle.mean(), ROUNDING_MSE)))


def worst_tile(actual: Image, reference: Image) -> float:
    """PSNR in dB of the tile of 32x32 px that is worst, at most 200.

    Tiles lie side by side from the top left; the last of each row and column ends at the picture's edge and overlaps
    its neighbour where the size is no multiple of 32.
    """
    error = _squared_error(actual, reference)
    rows, columns = ([*range(0, side - TILE_PX, TILE_PX), max(side - TILE_PX, 0)] for side in error.shape)
    return drift.psnr(max(error[y : y + TILE_PX, x : x + TILE_PX].mean() for y in rows for x in columns))


def _squared_error(actual: Image, reference: Image) -> NDArray[np.float64]:
    """Squared error of each pixel, mean over the channels, (H, W)."""
    error: NDArray[np.float64] = np.square(actual[0].astype(np.float64) - reference[0]).mean(0)
    return error


# Of features --------------------------------------------------------------------------------------------------------

Features = Mapping[str, "Tensor"]
"""What a perceptual network sees in one picture: layer -> (1, C, h, w)."""


def features(picture: Image, network: PerceptualNetwork) -> Features:
    """Features of a picture at every layer that is compared."""
    import torch

    from edgestyle.losses import CONTENT_LAYER, STYLE_LAYERS

    with torch.inference_mode():
        return network(torch.from_numpy(picture), (*STYLE_LAYERS, CONTENT_LAYER))


def style_drift(actual: Features, reference: Features) -> float:
    """Relative distance of Gram matrices, `|G_a - G_r| / |G_r|` (Frobenius norms), mean over the style layers.

    The style distance of Gatys et al. 2016 (CVPR, eq. 4) between two outputs instead of output and painting, its root
    taken, so that 0.01 is "1 % off". A Gram matrix knows which features occur together and how strongly, not where:
    strokes that moved cost nothing, strokes of another kind do.
    """
    from edgestyle.losses import STYLE_LAYERS, gram_loss, gram_matrix

    squared = [gram_loss(gram_matrix(actual[layer]), gram_matrix(reference[layer])).item() for layer in STYLE_LAYERS]
    return float(np.sqrt(squared).mean())


def content_drift(actual: Features, reference: Features) -> float:
    """Relative distance of features at relu3_3, `|F_a - F_r| / |F_r|`.

    The feature reconstruction loss of Johnson et al. 2016 (arXiv:1603.08155, section 3.2) as `edgestyle.losses` trains
    with it, its root taken, between two outputs instead of output and photo. Place and strength count.
    """
    from edgestyle.losses import CONTENT_LAYER, content_loss

    return float(content_loss(actual[CONTENT_LAYER], reference[CONTENT_LAYER]).sqrt().item())


def perceptual(actual: Features, reference: Features) -> float:
    """Distance of features of unit length, place by place: `mean over h, w of |f_a / |f_a| - f_r / |f_r||^2`.

    Equation 1 of Zhang et al. 2018 (arXiv:1801.03924) with every weight 1, which is twice the cosine distance, and the
    mean over the style layers instead of the sum. Only what is seen counts, not how strongly. This is **not LPIPS**,
    whose weights were fitted to people's judgement on three backbones: for that see `edgestyle.lpips`.
    """
    from edgestyle.losses import STYLE_LAYERS

    return float(np.mean([unit_distance(actual[layer], reference[layer]).mean().item() for layer in STYLE_LAYERS]))


def unit_distance(a: Tensor, b: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Squared distance of features (B, C, h, w) of unit length, `weights` (C, 1, 1) a channel: (B, h, w)."""
    unit_a, unit_b = (f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (a, b))
    return (weights * (unit_a - unit_b).square()).sum(1)
