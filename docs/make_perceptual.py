"""Writes docs/perceptual.md: how well VGG-19's student stands in for it, on pictures that neither run has seen.

python docs/make_perceptual.py --photos held_out/ --painting wave.jpg --painting scream.jpg --pictures theirs.onnx ...
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from edgestyle import images
from edgestyle.losses import PerceptualLoss
from edgestyle.perceptual import VGG19, PerceptualNetwork, find_vgg_weights, student
from edgestyle.stylize import Painter, open_painter
from edgestyle.training.photos import load_painting

SIZE = 512
PAGE = """\
# VGG-19's student

The losses that train a style and the metrics that judge a file compare features of VGG-19. Its weights, {teacher_mb:.0f}
MB, cannot be shipped here, so edgestyle distils them into a student that comes with the package: half as many channels in
every layer, a 1x1 convolution at each of five layers to VGG-19's own channels, {student_mb:.1f} MB in half precision.
`edgestyle/training/distillation.py` made it, and says from what.

How well it stands in, measured by `docs/make_perceptual.py` on {photos} photos that it has not seen, each as it is,
blurred, noisy, half faded to grey, and as {painters} network(s) paint it: {count} pictures for each painting.
A loss that ranks pictures as VGG-19's does has a rank correlation (Spearman) of 1.

| painting | loss | rank correlation | median of student / VGG-19 |
| --- | --- | ---: | ---: |
{rows}

It compares pictures in `validate`, and trains styles where nobody asks for VGG-19 (`edgestyle train --perceptual vgg19`).
Numbers to be published come from VGG-19 itself (`edgestyle score`).
"""


def variants(photo: images.Image, painters: Sequence[Painter]) -> Iterator[images.Image]:
    """A photo and what blur, noise, grey and networks make of it."""
    yield photo
    yield torch.nn.functional.avg_pool2d(torch.from_numpy(photo), 5, 1, 2).numpy()
    yield (photo + np.random.default_rng(0).normal(0, 0.06, photo.shape)).clip(0, 1).astype(np.float32)
    yield 0.5 * photo + 0.25
    for painter in painters:
        yield painter.paint(photo).clip(0, 1)


def losses(network: PerceptualNetwork, painting: Path, sets: Sequence[Sequence[images.Image]]) -> np.ndarray:
    """Content and style of every picture, (2, pictures)."""
    loss = PerceptualLoss(network, load_painting(painting, SIZE))
    rows = []
    with torch.inference_mode():
        for photo, *others in sets:
            for picture in (photo, *others):
                found = loss(torch.from_numpy(picture), torch.from_numpy(photo))
                rows.append((found.content.item(), found.style.item()))
    return np.array(rows).T


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", nargs="+", required=True)
    parser.add_argument("--painting", type=Path, action="append", required=True)
    parser.add_argument("--pictures", nargs="+", required=True, metavar="MODEL", help="networks that paint the photos")
    args = parser.parse_args()
    painters = [open_painter(model) for model in args.pictures]
    squares = [images.centre_crop(images.read(path), (SIZE, SIZE)) for path in images.find(args.photos)]
    sets = [list(variants(square, painters)) for square in squares]
    teacher_weights = find_vgg_weights()
    teacher, pupil = VGG19(teacher_weights), student()
    rows = []
    for painting in args.painting:
        theirs, ours = (losses(network, painting, sets) for network in (teacher, pupil))
        for name, a, b in zip(("content", "style"), theirs, ours, strict=True):
            seen = a > 0  # the photo's own content loss is zero for both
            ratio = np.median(b[seen] / a[seen])
            rank = spearmanr(a[seen], b[seen]).statistic
            rows.append(f"| {painting.stem} | {name} | {rank:.3f} | {ratio:.2f} |")
    page = PAGE.format(
        teacher_mb=teacher_weights.stat().st_size / 1e6,
        student_mb=sum(p.numel() for p in pupil.parameters()) * 2 / 1e6,
        photos=len(squares),
        painters=len(painters),
        count=sum(map(len, sets)),
        rows="\n".join(rows),
    )
    Path(__file__).with_name("perceptual.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
