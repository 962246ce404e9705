"""Pictures: reading, writing, finding and resizing them.

**The convention of the whole house**: a picture is a numpy array of shape (1, 3, H, W), RGB, float32, in [0, 1], where
0 is black and 1 is white, in the sRGB colour space with its gamma. Nothing else passes between modules, whatever a
file, a network or a runtime uses inside.

Two rules bring a photo to a size that a network takes. Their names stand in manifests (`Contract.resize`):

- `FIT_RULE`, for files of a fixed size: see `fit`.
- `PAD_RULE`, for files of free size: see `pad_to_multiple`.
"""

from __future__ import annotations

import glob
import io
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from edgestyle.errors import CheckError, EdgestyleError, ImageError, MissingExtraError
from edgestyle.files import staged

Image: TypeAlias = NDArray[np.float32]
"""(B, 3, H, W) RGB float32 in [0, 1]; B is 1 unless stated."""

FIT_RULE = "fit-pad-reflect"
"""Scale to fit inside, keeping the aspect; centre; fill the rest by reflection; crop the result back. See `fit`."""
PAD_RULE = "pad-reflect"
"""Extend to the right and to the bottom by reflection up to a multiple; crop the result back. See `pad_to_multiple`."""

MAX_PIXELS = 2**28
"""Pictures of more pixels are refused: 268 million, the largest phone cameras have 200. Eight times an 8K picture."""

READ_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".jp2", ".mpo"),
)
"""What `find` looks for in a folder. A file that is named itself may have any name: its content decides."""

# Of what Pillow can open, only formats for photos: others start programs (EPS) or take any text for theirs (TGA).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "PPM", "JPEG2000")

_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG", "compress_level": 4},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},  # 4:4:4: strokes have sharp edges in colour
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
    ".tif": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    ".tiff": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
}
WRITE_SUFFIXES = tuple(_WRITE_OPTIONS)

# What turns the stored pixels (H, W, ...) upright, by the EXIF orientation.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


# Reading -------------------------------------------------------------------------------------------


def read(path: Path) -> Image:
    """The picture in a file, upright, in sRGB, as (1, 3, H, W).

    - Turned by its EXIF orientation. Of an animation, the first frame.
    - Brought to sRGB by its ICC profile (relative colorimetric, black point compensated); a picture without a profile,
      or with a damaged one, is taken for sRGB.
    - Transparency is composited over white.
    - 16-bit grey keeps its precision (its profile is not applied); of 16-bit colour Pillow reads the upper 8 bits.
      32-bit integers must be in 0..65535, floating-point values in [0, 1]: nothing says what else would be white.

    Raises:
        ImageError: It is missing, empty, damaged, too large or not a picture.
        MissingExtraError: It is HEIC, and `pillow-heif` is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of harmless oddities in metadata
            with _open(path) as picture:
                picture.load()
                return _to_image(picture)
    except (EdgestyleError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise any type when a file is damaged
        came = f"it is damaged, cut short or unusual ({_one_line(error)})"
        raise ImageError(f"{path} cannot be read: {came}; copy it again, or save it anew as PNG or JPEG") from error


@contextmanager
def _open(path: Path) -> Iterator[PIL.Image.Image]:
    """The file's header read and checked, its pixels not yet."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
            if not head:
                raise ImageError(f"{path} is empty (0 bytes); give a picture")
            file.seek(0)
            with _identify(path, file, head) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    size = f"{picture.width}x{picture.height}"
                    raise ImageError(
                        f"{path} has {size} pixels; at most {MAX_PIXELS // 10**6} million are read, scale it down"
                    )
                yield picture
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder; a picture is needed") from error
    except PermissionError as error:
        raise ImageError(f"{path} may not be read: {error.strerror}") from error


_pillow_limit = threading.Lock()


def _identify(path: Path, file: io.BufferedReader, head: bytes) -> PIL.Image.Image:
    """Pillow's picture of an opened file whose first bytes are `head`."""
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        _enable_heif()
    PIL.Image.init()
    formats = [name for name in _FORMATS if name in PIL.Image.OPEN]
    with _pillow_limit:  # its own limit is a global and lower than ours
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            return PIL.Image.open(file, formats=formats)
        except PIL.UnidentifiedImageError as error:
            kinds = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP and GIF"
            raise ImageError(f"{path} is not a picture, whatever its name says; {kinds} can be read") from error
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit


def _enable_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError("pillow-heif", "heif") from error
    pillow_heif.register_heif_opener()


def _to_image(picture: PIL.Image.Image) -> Image:
    """A loaded Pillow picture of any mode in the house's convention."""
    turn = _UPRIGHT.get(_orientation(picture), _UPRIGHT[1])
    if picture.mode == "F" or picture.mode.startswith("I"):
        return np.repeat(turn(_deep_grey(picture))[None, None], 3, axis=1)
    if picture.mode == "RGBa":
        picture = picture.convert("RGBA")
    image = from_uint8(turn(np.asarray(_to_srgb(picture))))
    if picture.has_transparency_data:
        alpha = turn(np.asarray(picture.convert("RGBA").getchannel("A"))) / np.float32(255)
        image *= alpha
        image += 1 - alpha
    return image


def _orientation(picture: PIL.Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 is upright."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # EXIF data is often damaged where the picture is whole
        return 1


def _deep_grey(picture: PIL.Image.Image) -> NDArray[np.float32]:
    """(H, W) in [0, 1] of a picture with one channel of 16 or 32 bits."""
    values = np.asarray(picture)
    white = 1 if picture.mode == "F" else 65535
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # NaN is refused too
        raise ValueError(f"its values go from {low:g} to {high:g}, not from 0 to {white}; save it with 8 or 16 bits")
    return values.astype(np.float32) / np.float32(white)


def _to_srgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The colours of an 8-bit picture as sRGB, mode RGB, without alpha."""
    from PIL import ImageCms

    mode = {"CMYK": "CMYK", "1": "L", "L": "L", "LA": "L"}.get(picture.mode, "RGB")
    space = {"CMYK": "CMYK", "L": "GRAY", "RGB": "RGB"}
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        if mode == "L" and profile.profile.xcolor_space.strip() == "RGB":
            mode = "RGB"
        if profile.profile.xcolor_space.strip() != space[mode]:
            return picture.convert("RGB")  # the profile of some other picture
        converted = ImageCms.profileToProfile(
            picture.convert(mode),
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (KeyError, OSError, TypeError, ImageCms.PyCMSError):  # no profile, or a damaged one
        return picture.convert("RGB")
    assert converted is not None  # noqa: S101  # for the type checker: it is None only when done in place
    return converted


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# 8 bits --------------------------------------------------------------------------------------------


def from_uint8(pixels: NDArray[np.uint8]) -> Image:
    """Pixels (H, W, 3) 0..255 as a picture (1, 3, H, W): `value / 255`."""
    image = np.array(pixels.transpose(2, 0, 1)[None], dtype=np.float32, order="C")
    image /= 255
    return image


def to_uint8(image: Image) -> NDArray[np.uint8]:
    """A picture (1, 3, H, W) as pixels (H, W, 3) 0..255: `floor(255 value + 0.5)`, clipped. Halves are rounded up.

    Raises:
        CheckError: It holds NaN or infinity.
    """
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"a picture has shape (1, 3, H, W), not {image.shape}")
    pixels = np.empty((*image.shape[2:], 3), np.uint8)
    for channel, plane in enumerate(image[0]):  # one after another: an 8K picture has 400 MB
        values = plane * np.float32(255) + np.float32(0.5)
        if not np.isfinite(values).all():
            raise CheckError("the picture holds NaN or infinity")
        pixels[:, :, channel] = np.clip(values, 0, 255, out=values)
    return pixels


# Writing -------------------------------------------------------------------------------------------


def check_output(path: Path) -> None:
    """Refuse a path that `write` cannot write to, before any long work.

    Raises:
        ImageError: Its suffix is no format that can be written, it is a folder, or nothing can be written where it is.
    """
    if path.suffix.lower() not in _WRITE_OPTIONS:
        raise ImageError(f"{path}: pictures are written as {', '.join(WRITE_SUFFIXES)}, not '{path.suffix}'")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name a file to write")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise ImageError(f"{parent} is a file; an output folder is needed")
    if not os.access(parent, os.W_OK):
        raise ImageError(f"{parent} may not be written to; choose another folder")


def write(path: Path, image: Image) -> None:
    """Write a picture (1, 3, H, W) with 8 bits, in the format of the suffix; the file appears whole or not at all.

    JPEG and WebP have quality 95, JPEG without chroma subsampling; the others are lossless. Missing folders are made.

    Raises:
        ImageError: The suffix is unknown, or the format cannot hold so large a picture.
        EdgestyleError: The disk is full, or the folder may not be written to.
    """
    check_output(path)
    encoded = io.BytesIO()  # in memory first: Pillow's encoders hide why a disk refused
    try:
        PIL.Image.fromarray(to_uint8(image)).save(encoded, **_WRITE_OPTIONS[path.suffix.lower()])
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: this format cannot hold the picture ({_one_line(error)}); write .png") from error
    with staged(path) as folder:
        try:
            (folder / path.name).write_bytes(encoded.getbuffer())
        except OSError as error:
            raise EdgestyleError(
                f"cannot write {path}: {error.strerror}; make room or choose another folder"
            ) from error


# Finding -------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A file that an argument led to."""

    path: Path
    name: Path
    """Its path below the folder that was named; for a file that was named itself, its file name."""


def find(arguments: Iterable[str | Path]) -> list[Path]:
    """Pictures by files, folders and globs; see `find_named`."""
    return [found.path for found in find_named(arguments)]


def find_named(arguments: Iterable[str | Path]) -> list[Found]:
    """The files that arguments stand for, each once, in the order of the arguments.

    A file is taken whatever its name; of a folder, all with one of `READ_SUFFIXES`, at any depth, sorted, hidden ones
    left out; a glob such as `photos/*.jpg` or `**/*.png` is what it matches.

    Raises:
        ImageError: An argument leads to nothing.
    """
    found: dict[Path, Found] = {}
    for argument in arguments:
        path, pattern = Path(argument), str(argument)
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207
        if not matches:
            raise ImageError(f"no file matches {pattern}" if glob.has_magic(pattern) else f"there is no {pattern}")
        for file in (file for match in matches for file in _files(match)):
            found.setdefault(file.path.resolve(), file)
    return list(found.values())


def _files(path: Path) -> list[Found]:
    """The file itself, or the pictures of a folder."""
    if not path.is_dir():
        return [Found(path, Path(path.name))]
    names = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.suffix.lower() in READ_SUFFIXES]
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    if not shown:
        raise ImageError(f"{path} holds no pictures; looked for {', '.join(READ_SUFFIXES)}")
    return [Found(path / name, name) for name in shown]


# Resizing ------------------------------------------------------------------------------------------


class Window(NamedTuple):
    """The part of an enlarged picture that holds the real one, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def crop(self, image: Image) -> Image:
        """This part of a picture (B, 3, H, W); a view of it."""
        return image[:, :, self.top : self.top + self.height, self.left : self.left + self.width]


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize (1, 3, h, w) to height and width `size`, in floating point: Lanczos, antialiased, clipped to [0, 1]."""
    if image.shape[2:] == size:
        return image
    planes = [PIL.Image.fromarray(np.ascontiguousarray(plane)) for plane in image[0]]  # mode F
    planes = [plane.resize(size[::-1], PIL.Image.Resampling.LANCZOS) for plane in planes]
    resized = np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])[None]
    return np.clip(resized, 0, 1, out=resized)


def limit(image: Image, longest: int) -> Image:
    """Scale a picture down, aspect kept, so that neither side is longer than `longest`; never up."""
    scale = longest / max(image.shape[2:])
    return image if scale >= 1 else resize(image, _scaled(image, scale))


def prepare(image: Image, size: tuple[int, int] | None, multiple: int) -> tuple[Image, Window]:
    """A picture as a network takes it, by `FIT_RULE` if its `size` is fixed, else by `PAD_RULE` with its `multiple`."""
    return fit(image, size) if size else pad_to_multiple(image, multiple)


def fit(image: Image, size: tuple[int, int]) -> tuple[Image, Window]:
    """`FIT_RULE`: a picture (1, 3, h, w) for a network that takes only height and width `size` = (H, W).

    1. Scale by `s = min(H / h, W / w)`, up or down, to `h' = floor(h s + 0.5)` and `w' = floor(w s + 0.5)`, at least 1.
    2. Put it at the top `(H - h') // 2` and the left `(W - w') // 2`.
    3. Fill the rest by reflection at the picture's edge, the edge itself not repeated.

    Returns:
        The picture (1, 3, H, W), and the window to crop from the network's picture.
    """
    height, width = size
    scaled = resize(image, _scaled(image, min(height / image.shape[2], width / image.shape[3])))
    h, w = scaled.shape[2:]
    window = Window((height - h) // 2, (width - w) // 2, h, w)
    return _reflect(scaled, window, size), window


def pad_to_multiple(image: Image, multiple: int) -> tuple[Image, Window]:
    """`PAD_RULE`: extend (1, 3, h, w) to the right and the bottom so that both sides are multiples of `multiple`.

    Filled by reflection at the picture's edge, the edge itself not repeated; as often as needed where the picture is
    smaller than what is to be filled.

    Returns:
        The larger picture, and the window to crop from the network's picture.
    """
    h, w = image.shape[2:]
    window = Window(0, 0, h, w)
    return _reflect(image, window, (math.ceil(h / multiple) * multiple, math.ceil(w / multiple) * multiple)), window


def centre_crop(image: Image, size: tuple[int, int]) -> Image:
    """Scale (1, 3, h, w) to cover height and width `size`, aspect kept, and cut off what stands out on both sides."""
    height, width = size
    scaled = resize(image, _scaled(image, max(height / image.shape[2], width / image.shape[3])))
    h, w = scaled.shape[2:]
    return np.ascontiguousarray(Window((h - height) // 2, (w - width) // 2, height, width).crop(scaled))


def _scaled(image: Image, scale: float) -> tuple[int, int]:
    h, w = (max(1, math.floor(side * scale + 0.5)) for side in image.shape[2:])
    return h, w


def _reflect(image: Image, window: Window, size: tuple[int, int]) -> Image:
    """Enlarge a picture to `size` by reflection, so that it lies at `window`."""
    if image.shape[2:] == size:
        return image
    rows = (window.top, size[0] - window.top - window.height)
    columns = (window.left, size[1] - window.left - window.width)
    return np.pad(image, ((0, 0), (0, 0), rows, columns), mode="reflect")


# Samples -------------------------------------------------------------------------------------------


def sample_photos() -> dict[str, Image]:
    """Real photos that every installation has, by name: those inside scikit-image, 300 to 512 pixels high."""
    import skimage.data

    return {name: from_uint8(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")}
