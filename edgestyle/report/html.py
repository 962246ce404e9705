"""A report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import numpy as np
import PIL.Image
from markupsafe import Markup

from edgestyle import __version__, images
from edgestyle.images import Image
from edgestyle.report.document import Document, Figure, Plot, Strip, Table

_FOLDER = Path(__file__).parent

_PICTURE_BYTES = 3_000_000
"""What all pictures of a page may weigh together, before base64 adds a third."""
_PICTURE_SIDES = (640, 384, 256)
"""Longest side of a picture, in pixels: the first with which all pictures fit, else the last."""


def render(document: Document) -> str:
    """The report as a page, under a few MB: pictures are scaled down until they fit."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests.update(
        table=lambda block: isinstance(block, Table),
        strip=lambda block: isinstance(block, Strip),
        plot=lambda block: isinstance(block, Plot),
    )
    environment.filters.update(
        paragraphs=lambda text: [p for p in re.split(r"\n\s*\n", text.strip()) if p],
        address=id,
        sort_key=lambda value: "" if value is None or not math.isfinite(value) else float(value),
        svg=Markup,  # drawn by plots.py
    )
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        document=document,
        pictures=_data_uris(document),
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=__version__,
    )


def _data_uris(document: Document) -> dict[int, str]:
    """For every figure of the document, by its `id`, its picture as a data URI."""
    figures = list(_figures(document))
    encoded: list[bytes] = []
    for side in _PICTURE_SIDES:
        encoded, weight = [], 0
        for figure in figures:
            encoded.append(_webp(figure.picture, side))
            weight += len(encoded[-1])
            if weight > _PICTURE_BYTES and side != _PICTURE_SIDES[-1]:
                break
        else:
            break
    return {
        id(figure): "data:image/webp;base64," + base64.b64encode(data).decode()
        for figure, data in zip(figures, encoded, strict=True)
    }


def _figures(document: Document) -> Iterator[Figure]:
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Strip):
                yield from block.figures


def _webp(picture: Image, side: int) -> bytes:
    """The picture, no side longer than `side`. A broken network's NaN is shown as black."""
    pixels = images.to_uint8(images.limit(np.nan_to_num(picture, posinf=1, neginf=0), side))
    encoded = io.BytesIO()
    PIL.Image.fromarray(pixels).save(encoded, format="WEBP", quality=82)
    return encoded.getvalue()
