"""How much more an exported network flickers than the float one.

In a film the eye forgives a wrong colour and not a restless one. So each frame is laid over the one before, moved as
the scene moved, and what still differs is flicker: the warping error of Lai et al. 2018 (arXiv:1808.00449). An error
that is different in every frame shows up here, and one that moves along with the scene does not.

Clips with a known flow will do, and so will one photo: `pan` moves a window over it by whole pixels, and the motion is
known exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgestyle.errors import CheckError, UsageError
from edgestyle.images import Image

Flow: TypeAlias = NDArray[np.float32]
"""(2, H, W), x then y, in pixels: what is at p in one frame is at p + flow(p) in the next. NaN where that is unknown or
hidden. The convention of the Middlebury and KITTI benchmarks."""


@dataclass(frozen=True)
class Clip:
    """Frames and how things move between them."""

    frames: Sequence[Image]
    """(1, 3, H, W) each, RGB in [0, 1]."""
    flows: Sequence[Flow]
    """From each frame to the next: one fewer than frames."""


@dataclass(frozen=True)
class Flicker:
    """Restlessness of two networks on the same clip, as `rms` measures it: 0 is none, 1 is black to white and back."""

    actual: float
    """Of the exported network."""
    reference: float
    """Of the float network. Not 0: strokes do not follow every motion."""

    @property
    def drift(self) -> float:
        """Root mean square of what the exported network adds: `sqrt(actual^2 - reference^2)`.

        Below 0, `-sqrt(reference^2 - actual^2)`, where it flickers less. Squares are what adds up where errors are
        independent; so a restless float network does not hide what is added to it.
        """
        added = self.actual**2 - self.reference**2
        return math.copysign(math.sqrt(abs(added)), added)


def measure(actual: Sequence[Image], reference: Sequence[Image], flows: Sequence[Flow]) -> Flicker:
    """Flicker of what an exported network made of a clip, against what the float network made of it.

    Args:
        actual: The exported network's pictures, (1, 3, H, W) in [0, 1], in the order of the frames.
        reference: The float network's.
        flows: Of the clip: `Clip.flows`.

    Raises:
        CheckError: The pictures do not fit the flows, hold NaN or infinity, or no pixel can be followed.
    """
    return Flicker(rms(actual, flows), rms(reference, flows))


def rms(pictures: Sequence[Image], flows: Sequence[Flow]) -> float:
    """Root mean square difference of each picture and the next one moved back, over all pixels that can be followed.

    Raises:
        CheckError: As `measure`.
    """
    if len(pictures) != len(flows) + 1 or not flows:
        raise CheckError(
            f"{len(pictures)} pictures came for {len(flows)} flows; one more than flows, at least two, fit"
        )
    if not all(np.isfinite(picture).all() for picture in pictures):
        raise CheckError("the output holds NaN or infinity")
    steps = zip(pairwise(pictures), flows, strict=True)
    errors = [moved_back(following, flow) - picture for (picture, following), flow in steps]
    known = np.concatenate([error[np.isfinite(error)] for error in errors])
    if not known.size:
        raise CheckError("no pixel stays in the picture from one frame to the next; move less, or give larger frames")
    return math.sqrt(np.square(known).mean())


def moved_back(following: Image, flow: Flow) -> NDArray[np.float64]:
    """The next picture laid over this one: `out(p) = following(p + flow(p))`, bilinear; exact for whole pixels.

    Shapes: (1, 3, H, W) and (2, H, W) -> (1, 3, H, W), NaN where p + flow(p) is unknown or outside.

    Raises:
        CheckError: The sizes differ.
    """
    from skimage.transform import warp

    if following.shape[2:] != flow.shape[1:]:
        raise CheckError(f"the picture is {following.shape[2:]} and its flow {flow.shape[1:]}; they must be alike")
    where = np.indices(flow.shape[1:]) + flow[::-1]  # rows, columns
    last = np.array(flow.shape[1:])[:, None, None] - 1
    known = ((where >= 0) & (where <= last)).all(0)
    planes = following[0].astype(np.float64)
    moved = np.stack([warp(plane, np.nan_to_num(where), order=1, mode="edge", clip=False) for plane in planes])
    return np.where(known, moved, np.nan)[None]


def pan(photo: Image, size: tuple[int, int], step: tuple[int, int] = (3, 5), frames: int = 8) -> Clip:
    """A clip made by moving a window over a photo.

    Args:
        photo: (1, 3, H, W) RGB in [0, 1].
        size: Height and width of the window in pixels.
        step: Pixels down and to the right from each frame to the next. The default is no multiple of a network's
            stride, so that nothing repeats itself for 8 frames.
        frames: How many, at least two.

    Raises:
        UsageError: The window leaves the photo, or a number is too small.
    """
    (height, width), (down, right) = size, step
    far = (height + down * (frames - 1), width + right * (frames - 1))
    if min(*size, frames - 1) < 1 or min(step) < 0:
        raise UsageError(
            f"{frames} frames of {width}x{height} in steps of {step}: at least 2 of at least 1x1, forward, are needed"
        )
    if far[0] > photo.shape[2] or far[1] > photo.shape[3]:
        came = f"{photo.shape[3]}x{photo.shape[2]}"
        raise UsageError(f"{frames} frames of {width}x{height} reach {far[1]}x{far[0]}; the photo is {came}")
    offsets = [(down * i, right * i) for i in range(frames)]
    flow = np.broadcast_to(np.array([-right, -down], np.float32)[:, None, None], (2, height, width))
    return Clip([photo[:, :, y : y + height, x : x + width] for y, x in offsets], [flow] * (frames - 1))
