"""What is written into the zoo's `measured.json`: every number by a command, none by hand.

    python -m edgestyle.training.zoo --data FOLDER [--peers FOLDER] [--gatys N]      ('make zoo-measure')

Content and style are those of `edgestyle score`, on photos that training has not seen; beside them stand other people's
networks of the same painting on the same photos, and the ratio to Gatys' optimisation, the reference, on a few of them.
A network that paints by any painting is measured on paintings that it has not seen either (`held_out`).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn

from edgestyle import checkpoint, images, score
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import UsageError
from edgestyle.files import make_folder
from edgestyle.losses import PerceptualLoss
from edgestyle.optimize import OptimizeConfig, optimize
from edgestyle.perceptual import VGG19, PerceptualNetwork, find_vgg_weights
from edgestyle.score import Score
from edgestyle.stylize import CheckpointPainter, Painter, open_painter
from edgestyle.training import held_out
from edgestyle.training.photos import load_painting

SIZE = 512
"""Side in pixels that cost is counted at."""
_PEERS = {"great_wave": "wave", "the_scream": "scream"}
"""Painting -> what is in the names of the peers that have learned it."""


@dataclass(frozen=True)
class Bench:
    """What networks are measured with."""

    network: PerceptualNetwork
    photos: Sequence[Path]
    paintings: Path
    """Folder of `NAME.jpg`, where NAME is a style's."""
    unseen: Path | None = None
    """Folder of paintings, of which some have been held out, see `held_out`."""
    peers: Path | None = None
    gatys: int = 0
    """Photos that are also optimised, one by one: minutes each."""
    iterations: int = 300
    optimised: Path = Path("build/gatys")
    """Folder that optimised pictures are kept in: they do not change with a network, and take minutes each."""

    def loss(self, style: str) -> PerceptualLoss:
        """Distance from a painting.

        Raises:
            UsageError: It is not in the folder.
        """
        return PerceptualLoss(self.network, load_painting(self.painting(style), score.SIZE))

    def painting(self, style: str) -> Path:
        """The file of a painting."""
        for suffix in (".jpg", ".png"):
            if (self.paintings / f"{style}{suffix}").is_file():
                return self.paintings / f"{style}{suffix}"
        raise UsageError(f"there is no {style}.jpg in {self.paintings}; the score is taken against the painting")


def measure(found: Checkpoint, bench: Bench) -> dict[str, Any]:
    """Everything about one network: what it costs, and how good each of its styles is; means over the styles on top."""
    if found.config.family == "adain":
        return measure_any(found, bench)
    styles = {name: judge(painter, name, bench) for name, painter in painters(found).items()}
    means = {key: round(fmean(row[key] for row in styles.values()), 4) for key in ("content", "style", "total")}
    about = {"photos": len(bench.photos), "size": SIZE, **cost(found), "bytes": found.weights.stat().st_size}
    return {**means, **about, "styles": styles}


def measure_any(found: Checkpoint, bench: Bench) -> dict[str, Any]:
    """What a network that paints by any painting costs, and its score on held-out paintings beside Magenta's.

    Raises:
        UsageError: There are no such paintings.
    """
    styles = held_out.paintings(bench.unseen) if bench.unseen else []
    if not styles:
        raise UsageError(f"there is no {held_out.PATTERN} in {bench.unseen}; the score is taken on paintings held out")

    def judged(paint: held_out.Paint) -> Score:
        return score.mean([each for row in held_out.scores(paint, bench.photos, styles, bench.network) for each in row])

    ours = judged(held_out.by_ours(found.pair()))
    row = {**_numbers(ours), "photos": len(bench.photos), "paintings": len(styles), "size": score.SIZE}
    row |= {**cost(found), "bytes": found.weights.stat().st_size}
    for path in sorted(bench.peers.glob("magenta_style_transfer_f16*")) if bench.peers else ():
        theirs = judged(held_out.by_magenta(path))
        ratio = round(ours.total / theirs.total, 3)
        row["peers"] = {path.stem: {**_numbers(theirs), "ours_over_theirs": ratio}}
    return row


def painters(found: Checkpoint) -> dict[str, Painter]:
    """A painter for each painting that a network has learned, by the painting's name."""
    net, names = found.network(), [style.name for style in found.config.styles]
    if net.config.styles == 1:
        return {names[0]: CheckpointPainter(found.name, net)}
    single = [net.specialized(row) for row in torch.eye(net.config.styles).tolist()]
    return {name: CheckpointPainter(name, one) for name, one in zip(names, single, strict=True)}


def judge(painter: Painter, style: str, bench: Bench) -> dict[str, Any]:
    """The score of one style, its peers' beside it, and its ratio to Gatys' optimisation."""
    loss = bench.loss(style)
    each = list(score.scores(painter, bench.photos, loss))
    row = _numbers(score.mean(each))
    theirs = {
        path.stem: score.mean(list(score.scores(open_painter(str(path)), bench.photos, loss)))
        for path in peers(style, bench.peers)
    }
    if theirs:
        row["peers"] = {
            name: {**_numbers(peer), "ours_over_theirs": round(row["total"] / peer.total, 3)}
            for name, peer in theirs.items()
        }
    if bench.gatys:
        row["gatys"] = _reference(each[: bench.gatys], style, bench)
    return row


def _reference(ours: Sequence[Score], style: str, bench: Bench) -> dict[str, Any]:
    """Gatys' optimisation on the first photos, and how many times its loss ours is there."""
    loss, found = bench.loss(style), []
    for path in bench.photos[: len(ours)]:
        picture, photo = (torch.from_numpy(image) for image in (_optimised(path, style, bench), score.square(path)))
        with torch.inference_mode():
            losses = loss(picture, photo)
        found.append(Score(losses.content.item(), losses.style.item()))
    theirs = score.mean(found)
    ratio = round(score.mean(list(ours)).total / theirs.total, 3)
    return {**_numbers(theirs), "photos": len(found), "iterations": bench.iterations, "ours_over_gatys": ratio}


def _optimised(path: Path, style: str, bench: Bench) -> images.Image:
    """The picture that Gatys' optimisation makes of a photo, out of its file, which is made if there is none.

    The name of the file says what it was made from, so that another painting of the same name gets one of its own.
    """
    config = OptimizeConfig(iterations=bench.iterations)
    origin = hashlib.sha256(repr(config).encode() + bench.painting(style).read_bytes() + path.read_bytes()).hexdigest()
    picture = bench.optimised / f"{style}-{path.stem}-{bench.iterations}-{origin[:8]}.png"
    if not picture.is_file():
        painting = load_painting(bench.painting(style), score.SIZE)
        *_, last = optimize(torch.from_numpy(score.square(path)), painting, bench.network, config)
        make_folder(bench.optimised)
        images.write(picture, last.picture.numpy())
    return images.read(picture)


def peers(style: str, folder: Path | None) -> Iterable[Path]:
    """Files in a folder of other people's that have learned the painting."""
    part = _PEERS.get(style)
    return sorted(path for path in folder.glob("*.onnx") if part in path.name) if folder and part else []


def cost(found: Checkpoint) -> dict[str, Any]:
    """Parameters, and billions of multiplications for a picture of 512x512; what makes style codes is not in these."""
    photo = torch.zeros(1, 3, SIZE, SIZE)
    if found.config.family == "adain":
        pair = found.pair()
        return _cost(pair, lambda: pair.transformer(photo, torch.zeros(1, pair.config.code)))
    net = found.network()
    style = [torch.eye(net.config.styles)[:1]] if net.config.styles > 1 else []
    return _cost(net, lambda: net(photo, *style))


def _cost(net: nn.Module, paint: Callable[[], object]) -> dict[str, Any]:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        paint()
    count = sum(parameter.numel() for parameter in net.parameters())
    return {"parameters": count, "gmac": round(counter.get_total_flops() / 2e9, 3)}


def _numbers(found: Score) -> dict[str, Any]:
    return {"content": round(found.content, 4), "style": round(found.style, 4), "total": round(found.total, 4)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m edgestyle.training.zoo", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="holds weights/, photos/val/ and styles/gallery/")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="other people's .onnx files")
    parser.add_argument("--photos", type=int, metavar="N", help="default: all")
    parser.add_argument("--gatys", type=int, default=0, metavar="N", help="photos to optimise too; minutes each")
    parser.add_argument("--iterations", type=int, default=300, metavar="N", help="of L-BFGS; default 300")
    parser.add_argument(
        "--optimised",
        type=Path,
        default=Bench.optimised,
        metavar="FOLDER",
        help="keeps what --gatys makes, to be made once; default %(default)s",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: every network of the zoo")
    args = parser.parse_args()
    bench = Bench(
        VGG19(find_vgg_weights(args.data / "weights" / "vgg19_conv1_1-conv3_4_fp16.npz")),
        images.find([args.data / "photos" / "val"])[: args.photos],
        args.data / "styles" / "gallery",
        args.data / "styles" / "paintings",
        args.peers,
        args.gatys,
        args.iterations,
        args.optimised,
    )
    for found in map(checkpoint.find, args.models) if args.models else checkpoint.zoo():
        print(f"measuring {found.name}", file=sys.stderr, flush=True)  # noqa: T201  # a tool of our own
        checkpoint.record(found, measure(found, bench))


if __name__ == "__main__":
    main()
