"""What an exported file should paint: photos, and the float network's pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgestyle import artifacts, checkpoint, images, isolate, parts
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import CheckError, ConfigError, UsageError
from edgestyle.exporting import DYNAMIC_SIZES
from edgestyle.files import sha256
from edgestyle.images import Image
from edgestyle.manifest import Contract, Manifest
from edgestyle.parts import Part
from edgestyle.runner import Runner, choose, suffixes
from edgestyle.validation.more import Film, film
from edgestyle.validation.opened import Opened, limit_s, look, paint

_Painter = Callable[[Sequence[Image]], Sequence[Image]]


@dataclass(frozen=True)
class Subject:
    """A file that is to be validated, and what is known of it before a delegate gets it."""

    path: Path
    manifest: Manifest | None
    contract: Contract | None
    """The manifest's, or else the one in the file itself; None for somebody else's file."""
    size: tuple[int, int] | None
    """Height and width that it takes; None if free."""


@dataclass(frozen=True)
class Pair:
    """A photo, and what is to be painted of it."""

    name: str
    photo: Image
    expected: Image


@dataclass(frozen=True)
class Reference:
    """What a file is held against."""

    title: str
    """For people: "great_wave in torch"."""
    pairs: tuple[Pair, ...]
    remark: str = ""
    """What must be said with every result."""
    film: Film | None = None
    """Where one was asked for."""
    shown: Callable[[Image], Image] = lambda made: made
    """What a file makes as the picture that is compared: of a style code, what is painted by it."""
    golden_psnr_db: float | None = None
    """For the golden pair: what its manifest asks for. It has been rounded to 8 bits."""


def read(path: Path) -> Subject:
    """What a file says of itself.

    Raises:
        ConfigError: The file is not the one of its manifest, or not what its name says.
        CheckError: It crashes or hangs whoever opens it.
        UnavailableError: It has no manifest, and no delegate here opens such files.
    """
    manifest = artifacts.examine(path)
    if manifest:
        size = manifest.contract.size
        return Subject(path, manifest, manifest.contract, None if size == "dynamic" else size)
    opened = _opened(path, choose(path))
    return Subject(path, None, opened.contract, opened.size)


def _opened(path: Path, runner: Runner) -> Opened:
    return isolate.call(look, runner, path, limit_s=limit_s(emulated=runner.emulated)).value


class References:
    """What files are held against.

    Photos of little contrast come first, for delegates that get only a few: networks normalise contrast, and multiply
    what was rounded with it.

    Args:
        given: A checkpoint or an exported file; None for the checkpoint that each file was made from.
        photos: Photos of any size, by name.
        flicker: Whether a film is painted too.

    Raises:
        UsageError: `given` leads to nothing.
    """

    def __init__(self, given: str | None, photos: Mapping[str, Image], flicker: bool = False) -> None:
        self._given = _resolve(given) if given else None
        self._photos = dict(sorted(photos.items(), key=lambda item: float(item[1].std())))
        self._flicker = flicker
        self._pairs: dict[tuple[str, tuple[int, int]], tuple[Pair, ...]] = {}
        self._films: dict[tuple[str, tuple[int, int]], Film] = {}

    def of(self, subject: Subject) -> Reference:
        """What `subject` should paint: by `given`, by its checkpoint in a zoo, or else by its golden pair.

        Raises:
            ConfigError: The reference takes another size, or the golden pair is damaged.
            CheckError: Nothing says what the file should paint.
        """
        source = self._given or _in_a_zoo(subject.contract)
        sizes = (subject.size,) if subject.size else DYNAMIC_SIZES
        if isinstance(source, Path):
            runner = choose(source)
            return self._painted(f"{source.name} on {runner.name}", _by_file(source, runner, sizes), sizes)
        if source:
            made_from = subject.contract.checkpoint_sha256 if subject.contract else None
            remark = "the file was made from another checkpoint" if made_from not in (None, source.sha256()) else ""
            part = parts.described(source, subject.contract)
            return self._painted(f"{part.name} in torch", _by_torch(part), sizes, remark, part.shown)
        if subject.contract and subject.contract.role == "encoder":
            raise CheckError("a style encoder is compared with its checkpoint, which is not at hand; give --reference")
        if subject.manifest:
            return _golden(subject.path, subject.manifest)
        raise CheckError("nothing says what it should paint; give --reference with a checkpoint or an exported file")

    def _painted(
        self,
        title: str,
        painter: _Painter,
        sizes: Sequence[tuple[int, int]],
        remark: str = "",
        shown: Callable[[Image], Image] = lambda made: made,
    ) -> Reference:
        pairs: list[Pair] = []
        for size in sizes:
            if (title, size) not in self._pairs:
                fitted = {name: _as_an_app_has_it(photo, size) for name, photo in self._photos.items()}
                painted = painter(list(fitted.values()))
                self._pairs[title, size] = tuple(map(Pair, fitted.keys(), fitted.values(), painted))
            pairs += self._pairs[title, size]
        return Reference(title, tuple(pairs), remark, self._film(title, painter, sizes[0]), shown)

    def _film(self, title: str, painter: _Painter, size: tuple[int, int]) -> Film | None:
        """Made of the photo of most contrast, where there is most to flicker."""
        if not self._flicker:
            return None
        if (title, size) not in self._films:
            self._films[title, size] = film(list(self._photos.values())[-1], size, painter)
        return self._films[title, size]


def _resolve(given: str) -> Checkpoint | Path:
    path = Path(given)
    if path.suffix and path.suffix in suffixes():
        if not path.exists():
            raise UsageError(f"--reference: there is no {path}")
        artifacts.examine(path)
        return path
    return checkpoint.find(given)


def _in_a_zoo(contract: Contract | None) -> Checkpoint | None:
    """The checkpoint that a file was made from, if a zoo has it."""
    if contract is None:
        return None
    return next((found for found in checkpoint.zoo() if found.sha256() == contract.checkpoint_sha256), None)


def _as_an_app_has_it(photo: Image, size: tuple[int, int]) -> Image:
    """The middle of a photo, in 8 bits."""
    return images.from_uint8(images.to_uint8(images.centre_crop(photo, size)))


def _by_torch(part: Part) -> _Painter:
    return lambda photos: [part.made(photo) for photo in photos]


def _by_file(source: Path, runner: Runner, sizes: Sequence[tuple[int, int]]) -> _Painter:
    size = _opened(source, runner).size
    if size and set(sizes) != {size}:
        wanted = " and ".join(f"{height}x{width}" for height, width in sizes)
        raise ConfigError(
            f"{source} takes {size[0]}x{size[1]} (height x width), not {wanted}; compare files of one size"
        )

    def painted(photos: Sequence[Image]) -> Sequence[Image]:
        limit = limit_s(*photos, emulated=runner.emulated)
        return isolate.call(paint, runner, source, photos, limit_s=limit).value.pictures

    return painted


def _golden(path: Path, manifest: Manifest) -> Reference:
    golden = manifest.golden
    pictures = []
    for part in (golden.input, golden.expected):
        file = path.with_name(part.name)
        if not file.is_file() or sha256(file) != part.sha256:
            what = "was changed" if file.is_file() else "is missing"
            raise ConfigError(f"the checkpoint is not at hand, and {file} {what}; export it again, or give --reference")
        pictures.append(images.read(file))
    remark = "the checkpoint is not at hand: held against the golden pair of its manifest"
    return Reference("golden pair", (Pair("golden", *pictures),), remark, golden_psnr_db=golden.min_psnr_db)
