"""Make the table and the picture of docs/metrics.md: one painting spoiled in nine ways, each to the same PSNR.

    python docs/make_metrics.py [--vgg FILE]

The VGG-19 weights are found as for training: at FILE, or in `weights/` under the folder that EDGESTYLE_DATA names.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont
from skimage.filters import gaussian
from skimage.transform import warp

from edgestyle import drift, flicker, images, metrics
from edgestyle.contact_sheet import contact_sheet
from edgestyle.perceptual import VGG19, find_vgg_weights
from edgestyle.stylize import open_painter

HERE = Path(__file__).parent
PSNR_DB = 28.0
SIDE, CELL, GAP = 384, 208, 6
Array = NDArray[Any]


# Ways to spoil a picture (1, 3, H, W), by a strength from 0 to 1 -----------------------------------------------------


def noise(x: Array, strength: float) -> Array:
    return x + strength * np.random.default_rng(0).standard_normal(x.shape)


def banding(x: Array, strength: float) -> Array:
    return np.round(x / strength) * strength


def tint(x: Array, strength: float) -> Array:
    return x + strength * np.array([1, 0, -1])[None, :, None, None]


def grey_veil(x: Array, strength: float) -> Array:
    return x + strength * (0.5 - x)


def dark_frame(x: Array, strength: float) -> Array:
    spoiled = x * (1 - strength)
    spoiled[:, :, 16:-16, 16:-16] = x[:, :, 16:-16, 16:-16]
    return spoiled


def bad_tile(x: Array, strength: float) -> Array:
    spoiled = x.copy()
    y, left = (side // 64 * 32 for side in x.shape[2:])
    tile = spoiled[:, :, y : y + 32, left : left + 32]
    tile += 2 * strength * (1 - 2 * tile)
    return spoiled


def blur(x: Array, strength: float) -> Array:
    return np.stack([gaussian(plane, 20 * strength) for plane in x[0]])[None]


def harder_strokes(x: Array, strength: float) -> Array:
    return x + 10 * strength * (x - blur(x, 0.1))


def moved_strokes(x: Array, strength: float) -> Array:
    directions = np.random.default_rng(0).standard_normal((2, *x.shape[2:]))
    field = np.stack([gaussian(plane, 8) for plane in directions])
    where = np.indices(x.shape[2:]) + 60 * strength * field / np.abs(field).max()
    return np.stack([warp(plane, where, order=3, mode="reflect") for plane in x[0]])[None]


Way = Callable[[Array, float], Array]
WAYS: tuple[Way, ...] = (*(noise, banding, tint, grey_veil, dark_frame, bad_tile, blur, harder_strokes, moved_strokes),)


# Table and picture ----------------------------------------------------------------------------------------------------

COLUMNS = {
    "psnr_db": ("PSNR", ".1f", "dB"),
    "ssim": ("SSIM", ".3f", ""),
    "perceptual": ("perceptual", ".4f", ""),
    "content_drift": ("content", ".3f", ""),
    "style_drift": ("style", ".3f", ""),
    "delta_e": ("colour", ".2f", "ΔE"),
    "border": ("border", "+z.1f", "dB"),
    "worst_tile": ("worst tile", ".1f", "dB"),
    "flicker": ("flicker", "+z.3f", ""),
}
SMALL_IS_BAD = {"ssim", "worst_tile"}


def spoil(x: images.Image, way: Way, strength: float) -> images.Image:
    return np.clip(way(x.astype(np.float64), strength), 0, 1).astype(np.float32)


def strength_for(x: images.Image, way: Way) -> float:
    """The strength at which `way` leaves `PSNR_DB`, by bisection."""
    low, high = 1e-4, 1.0
    for _ in range(24):
        middle = (low * high) ** 0.5
        better = drift.psnr(np.square(spoil(x, way, middle) - x).mean()) > PSNR_DB
        low, high = (middle, high) if better else (low, middle)
    return low


def table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown, the worst value of each column in bold (not of PSNR, which is the same)."""
    lines = ["| | " + " | ".join(f"{title}{f', {unit}' if unit else ''}" for title, _, unit in COLUMNS.values()) + " |"]
    lines.append("|---|" + "---:|" * len(COLUMNS))
    worst = {key: (min if key in SMALL_IS_BAD else max)(row[key] for row in rows.values()) for key in COLUMNS}
    for name, row in rows.items():
        bold = {key: "**" if key != "psnr_db" and row[key] == worst[key] else "" for key in COLUMNS}
        cells = [f"{bold[key]}{row[key]:{form}}{bold[key]}" for key, (_, form, _) in COLUMNS.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_sheet(pictures: dict[str, images.Image], path: Path) -> None:
    """Five pictures a row, each with its name."""
    cells = list(pictures.values())
    pixels = contact_sheet([cells[i : i + 5] for i in range(0, len(cells), 5)], CELL, GAP)[0].transpose(1, 2, 0)
    sheet = PIL.Image.fromarray((pixels * 255 + 0.5).astype(np.uint8))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, name in enumerate(pictures):
        corner = (i % 5 * (CELL + GAP), i // 5 * (CELL + GAP))
        draw.rectangle(draw.textbbox((corner[0] + 4, corner[1] + 2), name, font), fill="white")
        draw.text((corner[0] + 4, corner[1] + 2), name, "black", font)
    sheet.save(path, quality=85)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vgg", type=Path)
    network = VGG19(find_vgg_weights(parser.parse_args().vgg))
    painter, photo = open_painter("great_wave"), images.sample_photos()["astronaut"]
    painting = painter.paint(photo)[:, :, :SIDE, 64 : 64 + SIDE]
    clip = flicker.pan(photo, (256, 256))
    frames = [painter.paint(frame) for frame in clip.frames]

    pictures, rows = {"painting": painting}, {}
    for way in WAYS:
        name = way.__name__.replace("_", " ")
        strength = strength_for(painting, way)
        pictures[name] = spoil(painting, way, strength)
        spoiled = [spoil(frame, way, strength) for frame in frames]
        measured = dataclasses.asdict(metrics.measure(pictures[name], painting, network))
        rows[name] = {**measured, "flicker": flicker.measure(spoiled, frames, clip.flows).drift}
        if way is tint:
            spoiled[::2] = frames[::2]
            flashing = flicker.measure(spoiled, frames, clip.flows).drift
            rows["tint in every other frame"] = {**measured, "flicker": flashing}
    write_sheet(pictures, HERE / "metrics.jpg")
    page = HERE / "metrics.md"
    text = re.sub(
        r"(<!-- table -->\n).*?(\n<!-- end -->)",
        lambda found: f"{found[1]}{table(rows)}{found[2]}",
        page.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
