"""Does an exported file still paint what the float network paints, on each delegate, and does it really run there?

file -> its manifest checked -> reference -> each delegate in a process of its own -> metrics and placement -> gate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgestyle import coreml_trace, gates, isolate, registry
from edgestyle.coreml_trace import Row
from edgestyle.errors import EdgestyleError, MissingExtraError, UnavailableError, UnknownNameError, UsageError
from edgestyle.gates import Gate
from edgestyle.images import Image
from edgestyle.manifest import Contract, Status
from edgestyle.metrics import Metrics
from edgestyle.runner import Placement, Runner, runners_for
from edgestyle.target import Target
from edgestyle.validation import more, verdict
from edgestyle.validation.more import Film
from edgestyle.validation.opened import Opened, limit_s, paint, pixels
from edgestyle.validation.references import Pair, Reference, References, Subject, read

if TYPE_CHECKING:
    from edgestyle.lpips import LPIPS
    from edgestyle.perceptual import PerceptualNetwork

__all__ = ["Example", "Request", "Result", "trace", "validate"]

Progress = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Request:
    """What is to be validated, and how."""

    photos: Mapping[str, Image]
    """Photos of any size, by name."""
    reference: str | None = None
    """A checkpoint or an exported file to compare with, instead of what each file was made from."""
    delegates: tuple[str, ...] = ()
    """Only these; all if empty."""
    required: tuple[str, ...] = ()
    """Delegates that must run here: where they cannot, that is a failure."""
    gate: gates.Overrides = dataclasses.field(default_factory=dict)
    """Gates that differ from the table."""
    flicker: bool = False
    """Whether real delegates paint a film too; emulated ones are too slow."""
    lpips: LPIPS | None = None
    """Measures LPIPS too."""
    emulated_pixels: int = 2 * 256 * 256
    """Emulated delegates are slow: they get no more photos than fill this many pixels, but at least one."""


@dataclass(frozen=True)
class Example:
    """One photo of a result, to be looked at."""

    pair: Pair
    actual: Image


@dataclass(frozen=True)
class Result:
    """A file on a delegate."""

    subject: Subject | None
    """None where the file could not even be read."""
    artifact: Path
    delegate: str | None
    """None where the file itself is at fault, whatever runs it."""
    emulated: bool
    status: Status
    reason: str
    """Why it failed or could not run here; for one that passed, what else is to be known."""
    gate: Gate | None = None
    metrics: Metrics | None = None
    """The worst over the photos."""
    more: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Metrics that were asked for beside those: "flicker" and "lpips"."""
    placement: Placement | None = None
    reference: Reference | None = None
    photos: int = 0
    """How many were painted."""
    example: Example | None = None
    seconds: float = 0.0

    @property
    def contract(self) -> Contract | None:
        return self.subject.contract if self.subject else None

    @property
    def scheme(self) -> str | None:
        return self.contract.scheme if self.contract else None

    @property
    def target(self) -> str | None:
        """What the file says, or else the target whose files end like it."""
        if self.contract:
            return self.contract.target
        targets: list[Target] = registry.load_all(registry.TARGETS)
        return next((target.name for target in targets if target.suffix == self.artifact.suffix), None)


def validate(paths: Sequence[Path], request: Request, progress: Progress) -> Iterator[Result]:
    """Hold every file against its reference, on every delegate that opens such files.

    A delegate that crashes or hangs, and a file that is damaged, are failed results; the others are still had.

    Args:
        paths: Exported files.
        request: Photos, reference, delegates and gates.
        progress: Wraps each longer piece of work, with what is being done.

    Raises:
        UsageError: The reference leads to nothing, or a delegate is unknown or opens none of the files.
    """
    from edgestyle import perceptual  # torch, which the delegates' processes need not load

    _check_delegates(paths, (*request.delegates, *request.required))
    references = References(request.reference, request.photos, request.flicker)
    network = perceptual.student()  # never VGG-19 itself: numbers are to be the same on every machine
    wanted = {*request.delegates, *request.required} if request.delegates else registry.names(registry.RUNNERS)
    for path in paths:
        runners = [runner for runner in runners_for(path) if runner.name in wanted]
        if not runners:
            continue
        try:
            with progress(f"{path}: what it should paint"):
                subject = read(path)
                reference = references.of(subject)
        except (MissingExtraError, UnavailableError) as error:
            status: Status = "failed" if request.required else "could not run"
            yield Result(None, path, None, False, status, str(error))
            continue
        except EdgestyleError as error:
            yield Result(None, path, None, False, "failed", str(error))
            continue
        for runner in runners:
            with progress(f"{path} on {runner.name}{' (emulated: this may take minutes)' if runner.emulated else ''}"):
                result = _check(subject, reference, runner, request, network)
            yield result


def trace(results: Iterable[Result], progress: Progress) -> dict[Path, list[Row]]:
    """Every operation of each Core ML package in fp16 beside fp32, to find where drift starts.

    Raises:
        CheckError: The evaluator crashed.
        MissingExtraError: coremltools is not installed.
        UnavailableError: A package has an operation that the evaluator lacks.
    """
    photos = {
        result.artifact: result.reference.pairs[0].photo
        for result in results
        if result.reference and result.artifact.suffix == ".mlpackage"
    }
    rows = {}
    for path, photo in photos.items():
        with progress(f"{path}: tracing its operations"):
            rows[path] = isolate.call(coreml_trace.trace, path, photo, limit_s=limit_s(photo)).value
    return rows


def _check_delegates(paths: Iterable[Path], names: Iterable[str]) -> None:
    fitting = {runner.name for path in paths for runner in runners_for(path)}
    for name in names:
        if name not in registry.names(registry.RUNNERS):
            raise UnknownNameError("delegate", name, registry.names(registry.RUNNERS))
        if name not in fitting:
            raise UsageError(f"{name} opens none of these files; they run on: {', '.join(sorted(fitting))}")


# One file on one delegate -------------------------------------------------------------------------------------------


def _check(
    subject: Subject, reference: Reference, runner: Runner, request: Request, network: PerceptualNetwork
) -> Result:
    gate = gates.find(subject.contract.scheme if subject.contract else None, runner, request.gate)
    if reference.golden_psnr_db:  # the pair was rounded to 8 bits
        gate = dataclasses.replace(gate, psnr_db=min(gate.psnr_db, reference.golden_psnr_db), ssim=min(gate.ssim, 0.99))
    pairs = _affordable(reference.pairs, request.emulated_pixels) if runner.emulated else reference.pairs
    film = None if runner.emulated else reference.film
    result = Result(subject, subject.path, runner.name, runner.emulated, "could not run", "", gate, reference=reference)
    try:
        availability = runner.probe()
        if availability.status != "works":
            raise UnavailableError(availability.remark)
        photos = [*(pair.photo for pair in pairs), *(film.clip.frames if film else ())]
        outcome = isolate.call(paint, runner, subject.path, photos, limit_s=limit_s(*photos, emulated=runner.emulated))
    except (MissingExtraError, UnavailableError) as error:
        if runner.name in request.required:
            return dataclasses.replace(result, status="failed", reason=f"required, but could not run here: {error}")
        return dataclasses.replace(result, reason=str(error))
    except Exception as error:  # somebody's plug-in may fail in any way
        return dataclasses.replace(result, status="failed", reason=str(error))
    made = dataclasses.replace(outcome.value, pictures=tuple(map(reference.shown, outcome.value.pictures)))
    opened, frames = _apart(made, len(pairs))
    failure, measured = verdict.judge(subject, gate, opened, [pair.expected for pair in pairs], network)
    return dataclasses.replace(
        result,
        status="failed" if failure else "passed",
        reason="; ".join(filter(None, (failure, reference.remark, *_remarks(subject, gate, opened)))),
        metrics=measured,
        more=dict(_more(request, opened, pairs, film, frames)) if measured else {},
        placement=opened.placement,
        photos=len(pairs),
        example=Example(pairs[0], opened.pictures[0]) if opened.pictures else None,
        seconds=outcome.seconds,
    )


def _apart(opened: Opened, photos: int) -> tuple[Opened, tuple[Image, ...]]:
    """What was painted of photos, and of the frames of a film."""
    return dataclasses.replace(opened, pictures=opened.pictures[:photos]), opened.pictures[photos:]


def _more(
    request: Request, opened: Opened, pairs: Sequence[Pair], film: Film | None, frames: Sequence[Image]
) -> Iterator[tuple[str, float]]:
    """Metrics that were asked for beside the usual ones, as far as they can be taken."""
    added = more.flicker_drift(film, frames) if film else None
    if added is not None:
        yield "flicker", added
    if request.lpips:
        distance = more.worst_lpips(request.lpips, opened.pictures, [pair.expected for pair in pairs])
        if distance is not None:
            yield "lpips", distance


def _remarks(subject: Subject, gate: Gate, opened: Opened) -> Iterator[str]:
    """What cannot be known."""
    if gate.resident and opened.placement is None:
        yield "its runtime does not say where the operations ran"
    if subject.contract and subject.manifest is None:
        yield "no manifest beside it: whether it was changed is not known"


def _affordable(pairs: Sequence[Pair], most_pixels: int) -> Sequence[Pair]:
    """What an emulated delegate gets: the first photos, and of a file of free size one at each."""
    room = most_pixels // pixels(pairs[0].photo)
    if len({pair.photo.shape for pair in pairs}) > 1:
        return list({pair.photo.shape: pair for pair in reversed(pairs)}.values())
    return pairs[: max(1, room)]
