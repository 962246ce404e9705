"""Painting photos of any size, with a checkpoint on torch or with an exported file on a delegate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgestyle import artifacts, blending, checkpoint, images
from edgestyle.errors import CheckError, UnavailableError, UsageError
from edgestyle.images import Image
from edgestyle.manifest import Contract, Style
from edgestyle.runner import CodeSession, Session, choose, suffixes
from edgestyle.styling import Code, StyledPainter, Styling, encode

if TYPE_CHECKING:
    from torch import Tensor

    from edgestyle.adain import AdaIN
    from edgestyle.learned import Learned

MOST_PIXELS = 2**26
"""Largest photo that is painted, twice 8K. Memory grows with it: 3 GB for 8K, 6 GB for this. Instance norms look at the
whole picture, so that it cannot be cut into pieces."""

FOREIGN_MULTIPLE = 32
"""Sides are padded to multiples of this for somebody else's file of free size, which does not say what it needs."""


class Painter(Protocol):
    """A network that is ready to paint."""

    @property
    def name(self) -> str:
        """Of the network, as in the zoo."""
        ...

    @property
    def delegate(self) -> str:
        """Where it runs: "torch", or the name of a runner."""
        ...

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that every photo is scaled to fit inside; None if photos keep their size."""
        ...

    def paint(self, photo: Image) -> Image:
        """The painting of a photo (1, 3, H, W) of any size: of the same size, or as large as fits inside `size`."""
        ...


def open_painter(model: str, delegate: str | None = None, styling: Styling | None = None, blend: str = "") -> Painter:
    """Get a network ready.

    Args:
        model: A zoo name, a checkpoint, or an exported file.
        delegate: The runner for an exported file; if None, the first that works on this machine.
        styling: What to paint by, for networks that paint by any painting.
        blend: How much of each painting, for networks that have learned several: see `edgestyle.blending.parse`.

    Raises:
        UsageError: The network needs paintings and gets none, or the other way round.
        UnknownNameError: There is no such model or delegate.
        ConfigError: The file is not what its name says.
        UnavailableError: No runner for the file works here; the message says what to do.
    """
    path = Path(model)
    if path.suffix and path.suffix in suffixes():
        if not path.exists():
            raise UsageError(f"there is no {path}; 'edgestyle export' writes such files")
        painter = _open_file(path, delegate)
        contract = painter.session.contract
        if contract and contract.role != "filter":
            if contract.code and contract.code.order == "as styles":
                return _with_weights(painter, contract, blend)
            return _open_pair(painter, contract, delegate, styling)
        if styling:
            raise UsageError(f"{path} paints in its own style and takes no --style; leave it out")
        return painter
    if delegate:
        raise UsageError(f"--delegate {delegate} is for exported files; {model} is a checkpoint, which runs on torch")
    found = checkpoint.find(model)
    if found.config.family == "adain" and styling:
        return StyledPainter.open(PairPainter(found.name, found.pair()), styling)
    if styling:
        raise UsageError(f"{model} has learned its paintings and takes no --style; leave it out")
    return CheckpointPainter(found.name, _of_one_style(found, blend))


def _of_one_style(found: checkpoint.Checkpoint, blend: str) -> Learned:
    """The network of a checkpoint; of several paintings, that of the one or the blend that is asked for."""
    net, styles = found.network(), found.config.styles
    if net.config.styles == 1:
        if blend:
            raise UsageError(f"{found.name} has learned one painting and takes no --style-weights; leave them out")
        return net
    if not blend:
        raise UsageError(_ask(found.name, styles))
    return net.specialized(blending.parse(blend, styles))


def _open_file(path: Path, delegate: str | None) -> FilePainter:
    runner = choose(path, delegate)
    artifacts.examine(path)
    return FilePainter(path, runner.name, runner.open(path))


def _with_weights(painter: FilePainter, contract: Contract, blend: str) -> FilePainter:
    """The painter of a file that has learned several paintings, for the one or the blend that is asked for."""
    import numpy as np

    if not blend:
        raise UsageError(_ask(painter.name, contract.styles))
    if not isinstance(painter.session, CodeSession):
        raise UnavailableError(f"{painter.delegate} takes no style weights; export one style ('edgestyle specialize')")
    weights = np.array([blending.parse(blend, contract.styles)], np.float32)
    return dataclasses.replace(painter, session=painter.session.by(weights))


def _ask(name: str, styles: Sequence[Style]) -> str:
    names = ", ".join(style.name for style in styles)
    return f"{name} has learned {len(styles)} paintings; say which by --style-weights: {names}"


def _open_pair(
    transformer: FilePainter, contract: Contract, delegate: str | None, styling: Styling | None
) -> StyledPainter:
    """The painter of a transformer's file and the encoder's beside it."""
    path = transformer.path
    if contract.role == "encoder" or contract.code is None:
        raise UsageError(f"{path} makes style codes; name the transformer's file, which paints by them")
    if styling is None:
        raise UsageError(f"{path} paints by any painting, so it needs one; give --style PAINTING")
    encoder = path.with_name(contract.code.encoder)
    if not encoder.exists():
        raise UsageError(f"{path} needs {encoder.name} beside it, which makes its style codes; export it again")
    return StyledPainter.open(FilePair(_open_file(encoder, delegate), transformer), styling)


# From an exported file ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FilePainter:
    """An exported file on a delegate."""

    path: Path
    delegate: str
    session: Session

    @property
    def name(self) -> str:
        return self.session.contract.model if self.session.contract else self.path.stem

    @property
    def size(self) -> tuple[int, int] | None:
        return self.session.size

    def fit(self, photo: Image) -> tuple[Image, images.Window]:
        """The photo as the file takes it, and the window of it to crop from the painting."""
        contract = self.session.contract
        return images.prepare(photo, self.size, contract.size_multiple if contract else FOREIGN_MULTIPLE)

    def paint(self, photo: Image) -> Image:
        """See `Painter`.

        Raises:
            CheckError: The file's output has another size than its input.
        """
        fitted, window = self.fit(photo)
        painted = self.session.run(fitted)
        if painted.shape != fitted.shape:
            raise CheckError(f"{self.path} made {painted.shape} of {fitted.shape}; a style filter must keep the size")
        return window.crop(painted)


@dataclass(frozen=True)
class FilePair:
    """The two files of a style encoder and its transformer: a `StyleNetwork`."""

    encoder: FilePainter
    transformer: FilePainter

    @property
    def name(self) -> str:
        return self.transformer.name

    @property
    def delegate(self) -> str:
        return self.transformer.delegate

    @property
    def size(self) -> tuple[int, int] | None:
        return self.transformer.size

    def code(self, painting: Image) -> Code:
        return encode(self.encoder.session.run, painting)

    def seen(self, photo: Image) -> Image:
        fitted, window = self.transformer.fit(photo)
        return window.crop(fitted)

    def paint_by(self, photo: Image, code: Code) -> Image:
        """See `StyleNetwork`.

        Raises:
            UnavailableError: The delegate cannot be given a code.
        """
        session = self.transformer.session
        if not isinstance(session, CodeSession):
            raise UnavailableError(f"{self.delegate} takes no style code; fold the painting in ('edgestyle export')")
        return dataclasses.replace(self.transformer, session=session.by(code)).paint(photo)


# From a checkpoint --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckpointPainter:
    """A network that has learned its painting, on torch."""

    name: str
    net: Learned
    delegate: str = "torch"
    size: None = None

    def paint(self, photo: Image) -> Image:
        """See `Painter`.

        Raises:
            UsageError: The photo is larger than `MOST_PIXELS`.
        """
        return _paint(self.net, photo, self.net.stride)


@dataclass(frozen=True)
class PairPainter:
    """A style encoder and a transformer on torch: a `StyleNetwork`."""

    name: str
    pair: AdaIN
    delegate: str = "torch"
    size: None = None

    def code(self, painting: Image) -> Code:
        def encoder(square: Image) -> Code:
            with torch.inference_mode():
                code: Code = self.pair.encoder(torch.from_numpy(square)).numpy()
            return code

        import torch

        return encode(encoder, painting)

    def seen(self, photo: Image) -> Image:
        return photo

    def paint_by(self, photo: Image, code: Code) -> Image:
        import torch

        transformer = self.pair.transformer
        return _paint(lambda x: transformer(x, torch.from_numpy(code)), photo, transformer.stride)


def _paint(net: Callable[[Tensor], Tensor], photo: Image, stride: int) -> Image:
    """What `net`, which takes multiples of `stride`, makes of a photo of any size.

    Raises:
        UsageError: The photo is larger than `MOST_PIXELS`.
    """
    import torch

    height, width = photo.shape[2:]
    if height * width > MOST_PIXELS:
        came = f"{width}x{height} is {height * width // 10**6} megapixels"
        raise UsageError(f"{came}; at most {MOST_PIXELS // 10**6} are painted at once, so give a smaller --size")
    least = stride if min(height, width) > stride else 2 * stride  # an instance norm needs more than one cell
    padded, window = images.pad_to_multiple(photo, least)
    with torch.inference_mode():
        return window.crop(net(torch.from_numpy(padded)).numpy())
