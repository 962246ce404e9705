"""The golden bundle: files that prove an app's code on a device, in two steps.

1. `photo` -> the app's own decoding, turning and resizing -> must be `tensor`, to within `max_error`.
2. `input` -> the app's own call of the network -> must be `expected`, to within `min_psnr_db`.

The files depend on the network and the size alone, so that all targets share them. `Golden` in the manifest names them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image

from edgestyle import images
from edgestyle.errors import ConfigError
from edgestyle.files import sha256
from edgestyle.manifest import Golden, GoldenFile

MAX_ERROR = 2 / 255
"""What any value of an app's tensor may be off by. JPEG decoders round differently, by one step of 255, rarely two;
8-bit pictures add half a step. A wrong turn, filter, window or order of colours is off by 20 and more."""
MIN_PSNR_DB = 40.0
"""What an app's picture is held to. Its GPU or NPU computes in fp16, which leaves about 50 dB of a trained network, and
pictures have been rounded to 8 bits; a wrong order of channels, range or layout leaves less than 25."""

_ORIENTATION, _TURNED_LEFT = 0x0112, 6
"""The EXIF tag, and its value for a picture stored a quarter turn to the left, as phones that are held upright do."""


def write(
    folder: Path,
    prefix: str,
    paint: Callable[[images.Image], images.Image],
    size: tuple[int, int] | None,
    multiple: int,
    min_psnr_db: float,
) -> Golden:
    """Write a bundle into `folder`.

    Args:
        folder: Where to.
        prefix: What the names of its files begin with.
        paint: The float network.
        size: Height and width that the network's file takes, None if free; `multiple` is then what they must be of.
        multiple: See `size`.
        min_psnr_db: What the network's file may fall to; its bundle asks for no more, and at most for `MIN_PSNR_DB`.
    """

    def keep(part: str, write_to: Callable[[Path], object]) -> GoldenFile:
        path = folder / f"{prefix}-{part}"
        write_to(path)
        return GoldenFile(name=path.name, sha256=sha256(path))

    photo = keep("photo.jpg", _write_photo)
    tensor, window = images.prepare(images.read(folder / photo.name), size, multiple)
    seen = images.from_uint8(images.to_uint8(tensor))  # an app has 8 bits
    painted = paint(seen)
    height, width = tensor.shape[2:]
    return Golden(
        size=(height, width),
        window=window,
        photo=photo,
        tensor=keep("tensor.f32", lambda path: _write_tensor(path, tensor)),
        max_error=MAX_ERROR,
        input=keep("input.png", lambda path: images.write(path, seen)),
        expected=keep("expected.png", lambda path: images.write(path, painted)),
        expected_tensor=keep("expected.f32", lambda path: _write_tensor(path, painted)),
        min_psnr_db=min(min_psnr_db, MIN_PSNR_DB),
    )


def read_tensor(path: Path, size: tuple[int, int]) -> images.Image:
    """A tensor of the bundle as a picture (1, 3, H, W).

    Raises:
        ConfigError: It is not there, or not of that size.
    """
    try:
        values = np.fromfile(path, "<f4")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is missing; export it again") from error
    if values.size != 3 * size[0] * size[1]:
        raise ConfigError(f"{path} holds {values.size} numbers, not {size[0]} x {size[1]} x 3; export it again")
    return np.ascontiguousarray(values.reshape(1, *size, 3).transpose(0, 3, 1, 2), np.float32)


def _write_tensor(path: Path, picture: images.Image) -> None:
    """Float32, little-endian, (H, W, 3): row by row, RGB interleaved, without a header."""
    picture[0].transpose(1, 2, 0).astype("<f4").tofile(path)


def _write_photo(path: Path) -> None:
    """A real photo in landscape, stored in portrait with its orientation in EXIF, at full colour resolution."""
    import skimage.data

    exif = PIL.Image.Exif()
    exif[_ORIENTATION] = _TURNED_LEFT
    # 4:4:4, because decoders differ in how they interpolate colours that are stored at half size.
    PIL.Image.fromarray(np.rot90(skimage.data.coffee())).save(path, "JPEG", quality=95, subsampling=0, exif=exif)
