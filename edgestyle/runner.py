"""What a delegate looks like to the rest: opened once for a file, then fed pictures.

A runner is one file in `edgestyle/runners/` that ends in `RUNNER = Runner(...)` and is named once, as an entry point in
pyproject.toml. Its heavy imports stand inside its functions, so that listing runners costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from edgestyle import registry
from edgestyle.errors import MissingExtraError, UnavailableError, UsageError
from edgestyle.images import Image as Image
from edgestyle.manifest import Contract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Availability",
    "CodeSession",
    "Image",
    "Placement",
    "Runner",
    "Session",
    "check_size",
    "choose",
    "example_code",
    "installed",
    "is_encoder",
    "runners_for",
    "suffixes",
]


@dataclass(frozen=True)
class Placement:
    """Where the operations of a file ran, as its runtime says: "delegated" and "right" are two separate facts."""

    total: int
    """Operations in the graph that the runtime made of the file."""
    delegated: int
    """How many of them ran on the delegate that was asked for."""
    partitions: int
    """Pieces that the delegate was given; the picture is handed over twice at each."""
    fallback_ops: tuple[str, ...] = ()
    """Types of the operations that ran elsewhere, sorted, each once."""

    @property
    def resident(self) -> bool:
        """Whether everything ran on the delegate."""
        return self.delegated == self.total


class Session(Protocol):
    """A file opened on a delegate."""

    @property
    def contract(self) -> Contract | None:
        """The contract in the file's own metadata; None for somebody else's file."""
        ...

    @property
    def size(self) -> tuple[int, int] | None:
        """Fixed height and width that the file takes, or None if free."""
        ...

    def run(self, image: Image) -> Image:
        """The network's picture of `image`, both in the house's convention whatever the file's own layout is.

        A transformer paints by the example code of its contract; a style encoder gives a code, (1, length).
        """
        ...

    def bind(self, image: Image) -> Callable[[], object]:
        """What runs the file once on `image`, for stopwatches: upload and readback are in it, layout changes not."""
        ...

    def placement(self) -> Placement | None:
        """Where the operations run; None if the runtime does not tell."""
        ...


@runtime_checkable
class CodeSession(Protocol):
    """A session that can paint by other style codes than the example."""

    def by(self, code: NDArray[np.float32]) -> Session:
        """The same file, to paint by `code`, (1, length)."""
        ...


@dataclass(frozen=True)
class Availability:
    """Whether something works on this machine."""

    status: Literal["works", "missing", "cannot run"]
    reason: str = ""
    install: str = ""
    """The command that adds it, where one does."""

    @property
    def remark(self) -> str:
        """Why it does not work, and what to do."""
        return f"{self.reason} ({self.install})" if self.install else self.reason


def installed(extra: str, *packages: str) -> Availability:
    """Whether all `packages`, which `extra` brings, are here. Imports none of them."""
    for package in packages:
        if find_spec(package) is None:
            missing = MissingExtraError(package, extra)
            return Availability("missing", f"{package} is not installed", missing.install)
    return Availability("works")


@dataclass(frozen=True)
class Runner:
    """A delegate."""

    name: str
    """As on the command line: "onnxruntime-cpu"."""
    title: str
    hardware: Literal["cpu", "gpu", "npu"]
    """What it computes on, or stands in for."""
    suffixes: tuple[str, ...]
    """Files that it opens: (".onnx",)."""
    probe: Callable[[], Availability]
    """Says whether it works here. Cheap: looks for modules and systems, opens nothing."""
    open: Callable[[Path], Session]
    """Opens a file. Raises ConfigError if it is not such a file, MissingExtraError, UnavailableError."""
    emulated: bool = False
    """True where it stands in for hardware that is not here: judge its numerics, never its speed."""


def example_code(contract: Contract | None) -> NDArray[np.float32] | None:
    """The code by which a transformer paints where it is given no other, (1, length); None of other files."""
    import numpy as np

    if contract is None or contract.role != "transformer" or contract.code is None:
        return None
    return np.array([contract.code.example], np.float32)


def is_encoder(contract: Contract | None) -> bool:
    """Whether a file makes a style code, (1, length), of a painting."""
    return contract is not None and contract.role == "encoder"


def check_size(path: Path, size: tuple[int, int] | None, image: Image) -> None:
    """Refuse a picture that a file of fixed size does not take.

    Raises:
        UsageError: Its height or width is another.
    """
    height, width = image.shape[2:]
    if size and size != (height, width):
        came = f"the picture is {height}x{width} (height x width)"
        raise UsageError(f"{path} takes {size[0]}x{size[1]} pixels; {came}")


def runners_for(path: Path) -> list[Runner]:
    """Every runner that opens files like `path`, real ones before emulated ones.

    Raises:
        UsageError: No runner does.
    """
    runners: list[Runner] = registry.load_all(registry.RUNNERS)
    fitting = [runner for runner in runners if path.suffix in runner.suffixes]
    if not fitting:
        raise UsageError(f"{path} is not an exported network; these can be run: {', '.join(suffixes())}")
    return sorted(fitting, key=lambda runner: runner.emulated)


def choose(path: Path, delegate: str | None = None) -> Runner:
    """The runner named `delegate`, or else the first that opens files like `path` and works here.

    Raises:
        UnknownNameError: There is no such delegate.
        UsageError: It does not open such files, or no runner does.
        UnavailableError: It does not work here; the message says what to do.
    """
    runners = runners_for(path)
    if delegate:
        wanted: Runner = registry.load(registry.RUNNERS, delegate)
        if path.suffix not in wanted.suffixes:
            fitting = ", ".join(runner.name for runner in runners)
            raise UsageError(f"{delegate} opens {', '.join(wanted.suffixes)}; {path.name} runs on: {fitting}")
        runners = [wanted]
    reasons = []
    for runner in runners:
        availability = runner.probe()
        if availability.status == "works":
            return runner
        reasons.append(f"{runner.name}: {availability.remark}")
    raise UnavailableError(f"{path} cannot be run here: {'; '.join(reasons)}")


def suffixes() -> list[str]:
    """Suffixes of all files that can be run, sorted."""
    runners: list[Runner] = registry.load_all(registry.RUNNERS)
    return sorted({suffix for runner in runners for suffix in runner.suffixes})
