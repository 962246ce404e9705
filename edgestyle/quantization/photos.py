"""What a network looks at while its ranges are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgestyle import images
from edgestyle.errors import UsageError

MOST = 24
"""Photos looked at; from a larger folder, as many at equal distances. More change no range by a step."""
_FLATTEST = 8 / 255
"""A picture whose values lie nearer together than this shows nothing."""
_SAMPLES = ("motorcycle_left.png", "camera.png", "ihc.png", "hubble_deep_field.jpg", "grass.png", "retina.jpg")
"""In scikit-image, and none of `images.sample_photos`: exports are checked on those."""


def load(folder: Path | None, size: tuple[int, int]) -> list[images.Image]:
    """Calibration photos, scaled and cropped to height and width `size`.

    Args:
        folder: Where they are, at any depth; by default photos that ship with scikit-image are taken.
        size: Of the exported file.

    Raises:
        UsageError: There are none, or they show nothing.
        ImageError: One cannot be read.
    """
    found = [images.read(path) for path in _spread(images.find([folder]))] if folder else _samples()
    cropped = [images.centre_crop(photo, size) for photo in found]
    photos = [images.from_uint8(images.to_uint8(photo)) for photo in cropped]  # an app has 8 bits, and Core ML rounds
    if all(np.ptp(photo) < _FLATTEST for photo in photos):
        raise UsageError(
            f"calibration photos must show something; those in {folder} ({len(photos)}) are of a single shade each, on "
            "which every range would collapse; give a dozen photos such as the app will see"
        )
    return photos


def _spread(paths: list[Path]) -> list[Path]:
    """At most `MOST` of them."""
    return paths if len(paths) <= MOST else [paths[i * len(paths) // MOST] for i in range(MOST)]


def _samples() -> list[images.Image]:
    """Each as it is, and once in other light: they must stand for photos of every kind."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    plain = [images.read(folder / name) for name in _SAMPLES]
    return plain + [_in_other_light(photo, i) for i, photo in enumerate(plain)]


def _in_other_light(photo: images.Image, turn: int) -> images.Image:
    """The photo upside down and tinted, darker or lighter: to a network that looks at means, another picture."""
    gamma = np.array([(0.6, 0.8, 1.2), (1.8, 1.4, 1.0)][turn % 2], np.float32).reshape(1, 3, 1, 1)
    turned: images.Image = np.ascontiguousarray(photo[:, ::-1, ::-1] ** gamma)
    return turned
