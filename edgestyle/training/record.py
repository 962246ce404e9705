"""What a run leaves for people: a checkpoint that can be used at any time, pictures on the way, and curves."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgestyle import images
from edgestyle.checkpoint import CheckpointConfig
from edgestyle.contact_sheet import contact_sheet
from edgestyle.errors import MissingExtraError
from edgestyle.manifest import Style

if TYPE_CHECKING:
    from edgestyle.learned import Learned
    from edgestyle.training.loop import Progress, Run
    from edgestyle.training.photos import Photos

CONTACT_SHEET = "contact_sheet.jpg"
PREVIEWS = "previews"
_SIDE = 384
_MOST_COLUMNS = 8


def describe(run: Run, name: str, styles: tuple[Style, ...], photos: Photos, licence: str) -> CheckpointConfig:
    """The checkpoint's configuration: what was learned, from what, and on what machine."""
    config = run.config
    settings = {key: value for key, value in asdict(config).items() if key != "network"}
    return CheckpointConfig(
        name=name,
        family=run.net.family,
        network=asdict(config.network),
        styles=styles,
        training={
            **settings,
            "steps": run.step,
            "photos": len(photos.pictures),
            "minutes": round(run.seconds / 60, 1),
            "machine": machine(run.fabric.device, run.fabric.world_size),
        },
        licence=licence,
    )


def machine(device: torch.device, processes: int) -> str:
    """What computed, in a line."""
    threads = torch.get_num_threads()
    name = f"{platform.machine()} CPU, {threads} thread{'s' * (threads != 1)}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type != "cpu":
        name = f"{platform.machine()} {device.type.upper()}"
    return f"{f'{processes} x ' if processes > 1 else ''}{name}, torch {torch.__version__}"


@torch.inference_mode()
def paint_samples(net: Learned) -> images.Image:
    """Photos of every installation and what a network makes of them: a row a photo, then a column a painting."""
    rows = []
    for photo in images.sample_photos().values():
        square = images.centre_crop(photo, (_SIDE, _SIDE))
        rows.append([square, *(net(torch.from_numpy(square), *style).numpy() for style in _each_style(net))])
    return contact_sheet(rows)


def _each_style(net: Learned) -> Sequence[tuple[torch.Tensor, ...]]:
    """The further inputs for each painting alone; for a network of one painting there are none."""
    styles = net.config.styles
    return [(row[None],) for row in torch.eye(styles)[:_MOST_COLUMNS]] if styles > 1 else [()]


def write_preview(folder: Path, run: Run) -> None:
    """The contact sheet as it is now, and a copy under the number of the step, to leaf through later."""
    sheet = paint_samples(run.result())
    images.write(folder / PREVIEWS / f"step-{run.step:06d}.jpg", sheet)
    images.write(folder / CONTACT_SHEET, sheet)


def curves(folder: Path, every: int = 10) -> Callable[[Progress], None]:
    """A writer of losses and speed for TensorBoard, into `folder / "tensorboard"`.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train") from error
    writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def write(progress: Progress) -> None:
        if progress.step % every == 0 or progress.fraction >= 1:
            values = {key: value for key, value in asdict(progress).items() if key not in ("step", "fraction")}
            for name, value in values.items():
                writer.add_scalar(name, value, progress.step)
            writer.flush()

    return write
