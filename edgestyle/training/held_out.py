"""How networks that paint by any painting do on paintings and photos that training has not seen, beside Magenta's.

Content and style are those of `edgestyle.score`, the mean over all pairs of a photo and a painting; VGG-19 computes in
bfloat16, as in training.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from edgestyle import images, processors, score
from edgestyle.adain import AdaIN
from edgestyle.images import Image
from edgestyle.perceptual import PerceptualNetwork
from edgestyle.score import Score
from edgestyle.stylize import PairPainter
from edgestyle.training.any_painting import compare, measured_grams
from edgestyle.training.photos import load_painting

PATTERN = "*_27.jpg"
"""Of an artist's paintings, the last of 28; those numbered 26 and 27 are not to be trained on."""
_BATCH = 4

Paint = Callable[[Image, Path], Image]
"""Photo (1, 3, 512, 512) and a painting's file to a picture of the photo's size."""


def paintings(folder: Path, most: int = 20) -> list[Path]:
    """Every second of the held-out paintings in a folder, so that about as many as asked for come from all artists."""
    found = sorted(folder.glob(PATTERN))
    return found[:: max(1, len(found) // most)][:most]


def by_ours(pair: AdaIN) -> Paint:
    """Our networks."""
    painter = PairPainter("adain", pair)
    code = functools.cache(lambda painting: painter.code(images.read(painting)))
    return lambda photo, painting: painter.paint_by(photo, code(painting))


def by_magenta(transfer: Path) -> Paint:
    """Magenta's transfer network with the predictor that lies beside it, at its own size, the picture scaled back."""
    from ai_edge_litert.interpreter import Interpreter

    def opened(path: Path) -> Interpreter:
        interpreter = Interpreter(str(path), num_threads=processors.usable())
        interpreter.allocate_tensors()
        return interpreter

    predict, paint_by = opened(next(transfer.parent.glob("magenta_style_predict*.tflite"))), opened(transfer)
    picture, style = sorted(paint_by.get_input_details(), key=lambda end: end["shape"][3])

    def run(network: Interpreter, inputs: dict[int, Image]) -> Image:
        for index, value in inputs.items():
            network.set_tensor(index, value)
        network.invoke()
        found: Image = network.get_tensor(network.get_output_details()[0]["index"])
        return found

    @functools.cache
    def code(painting: Path) -> Image:
        square = images.resize(images.read(painting), (256, 256)).transpose(0, 2, 3, 1)
        return run(predict, {predict.get_input_details()[0]["index"]: np.ascontiguousarray(square)}).copy()

    def paint(photo: Image, painting: Path) -> Image:
        height, width = (int(side) for side in picture["shape"][1:3])
        small = images.resize(photo, (height, width)).transpose(0, 2, 3, 1)
        inputs = {picture["index"]: np.ascontiguousarray(small), style["index"]: code(painting).reshape(style["shape"])}
        return images.resize(run(paint_by, inputs).transpose(0, 3, 1, 2).clip(0, 1), photo.shape[2:])

    return paint


@torch.inference_mode()
def scores(
    paint: Paint, photos: Sequence[Path], styles: Sequence[Path], network: PerceptualNetwork
) -> Iterator[list[Score]]:
    """The scores of one photo by each painting, photo by photo."""
    with torch.autocast("cpu", torch.bfloat16):
        grams = [measured_grams(network, load_painting(path, score.SIZE)) for path in styles]
    for path in photos:
        photo, row = score.square(path), list[Score]()
        for i in range(0, len(styles), _BATCH):
            pictures = np.concatenate([paint(photo, style) for style in styles[i : i + _BATCH]])
            with torch.autocast("cpu", torch.bfloat16):
                found = compare(network, torch.from_numpy(pictures), torch.from_numpy(photo), grams[i : i + _BATCH])
            row += [Score(content, sum(style)) for content, style in zip(*(x.tolist() for x in found), strict=True)]
        yield row
