"""Every number format on every target: written, verified, judged by its pictures and timed in turn with floats.

An interrupted sweep goes on where it stopped: each row is kept in the report's folder as soon as it is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgestyle import exporting, gates, images, registry
from edgestyle.errors import CheckError, EdgestyleError, MissingExtraError, UnavailableError
from edgestyle.files import make_folder, write_text
from edgestyle.latency import measure
from edgestyle.latency.measure import Effort
from edgestyle.latency.subject import File
from edgestyle.manifest import Status
from edgestyle.quantization.judging import Judge
from edgestyle.runner import Runner
from edgestyle.target import Target

if TYPE_CHECKING:
    from edgestyle.checkpoint import Checkpoint
    from edgestyle.parts import Part
    from edgestyle.quantization.calibration import Calibration

STATE = "sweep.json"
"""In the report's folder: what was swept, and the rows so far."""
FILES, PICTURES = "files", "pictures"
"""In the report's folder: the exported files, and a picture of each."""
EFFORT = Effort(rounds=30, most_rounds=80, compare_most_s=30)
"""For each pair of files that are timed in turn."""

Progress = Callable[[str], AbstractContextManager[None]]


class Row(BaseModel):
    """A number format on a target. What was not measured is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    scheme: str
    delegate: str
    """What opened the file."""
    emulated: bool
    status: Status
    reason: str = ""
    """Why it failed its gate or could not run here."""
    file: str = ""
    """Its path in the report's folder; "" where none could be written."""
    bytes: int | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    style_drift: float | None = None
    content_drift: float | None = None
    ms: float | None = None
    """Median on the CPU; None on delegates that stand in for others, whose times say nothing."""
    ratio: float | None = None
    """How many times as long as the target's float file a run takes, both in turn; over 1 is slower."""
    ratio_ci95: tuple[float, float] | None = None

    @property
    def slower(self) -> bool:
        """Whether it is proven to be slower than floats."""
        return self.ratio_ci95 is not None and self.ratio_ci95[0] > 1

    @property
    def faster(self) -> bool:
        """Whether it is proven to be faster than floats."""
        return self.ratio_ci95 is not None and self.ratio_ci95[1] < 1


@dataclass(frozen=True)
class Sweep:
    """What is to be swept.

    A sweep goes on from the rows in its folder if they are of the same network, size and calibration photos.
    """

    checkpoint: Checkpoint
    part: Part
    """Its one file, which takes a photo alone."""
    targets: tuple[Target, ...]
    size: tuple[int, int]
    folder: Path
    """Of the report."""
    calibration: Path | None = None
    """Folder of calibration photos; the default ones if None."""
    schemes: tuple[str, ...] = ()
    """Only these; all if empty. Each target's float file is always there: the others are compared with it."""
    overrides: gates.Overrides = field(default_factory=dict)
    effort: Effort = EFFORT

    @property
    def jobs(self) -> list[tuple[Target, str]]:
        """Every target and scheme, each target's float file first."""
        return [
            (target, scheme)
            for target in self.targets
            for scheme in exporting.schemes(target)
            if not self.schemes or scheme in (*self.schemes, target.default_scheme)
        ]

    @property
    def key(self) -> dict[str, Any]:
        """What rows must agree in to be of one sweep."""
        return {
            "checkpoint_sha256": self.checkpoint.sha256(),
            "part": self.part.name,
            "code": list(self.part.code.example) if self.part.code else None,
            "size": list(self.size),
            "calibration": str(self.calibration.resolve()) if self.calibration else None,
            "versions": exporting.versions(("edgestyle", "torch", *(t for x in self.targets for t in x.tools))),
        }


def run(sweep: Sweep, progress: Progress) -> Iterator[Row]:
    """Every row, those of an interrupted sweep first.

    Raises:
        UsageError: The calibration photos or the folder cannot be used.
    """
    make_folder(sweep.folder / PICTURES)
    rows = {(row.target, row.scheme): row for row in _resume(sweep)}
    jobs = sweep.jobs
    judge: Judge | None = None
    calibration: Calibration | None = None
    for number, (target, scheme) in enumerate(jobs, 1):
        if (target.name, scheme) not in rows:
            if judge is None:
                with progress(f"finding the ranges of {sweep.part.name}"):
                    calibration = exporting.calibrate(sweep.part, sweep.size, sweep.calibration)
                    judge = Judge(sweep.part.net, exporting.check_photos(sweep.size))
                _write_pictures(sweep.folder, judge)
            with progress(f"{number}/{len(jobs)} {target.title} {scheme}"):
                row = _row(sweep, target, scheme, calibration, judge)
            rows[target.name, scheme] = row
            _save(sweep, rows.values())
        yield rows[target.name, scheme]


def _row(sweep: Sweep, target: Target, scheme: str, calibration: Calibration | None, judge: Judge) -> Row:
    runner: Runner = registry.load(registry.RUNNERS, target.runner)
    row = Row(target=target.name, scheme=scheme, delegate=runner.name, emulated=runner.emulated, status="could not run")
    try:
        artifact = exporting.export(
            sweep.checkpoint,
            target,
            sweep.size,
            sweep.folder / FILES,
            scheme,
            sweep.overrides,
            calibration,
            allow_drift=True,
            part=sweep.part,
        )
        session = runner.open(artifact.path)
        pictures = [session.run(photo) for photo in judge.photos]
        harm = judge.harm(pictures)
    except (MissingExtraError, UnavailableError) as error:
        return row.model_copy(update={"reason": str(error)})
    except CheckError as error:
        return row.model_copy(update={"status": "failed", "reason": str(error)})
    images.write(picture_path(sweep.folder, row), pictures[0])
    missed = gates.find(scheme, runner, sweep.overrides).missed(harm.psnr_db, harm.ssim)
    found = {
        "status": "failed" if missed else "passed",
        "reason": missed,
        "file": artifact.path.relative_to(sweep.folder).as_posix(),
        "bytes": artifact.manifest.bytes,
        "psnr_db": round(harm.psnr_db, 2),
        "ssim": round(harm.ssim, 5),
        "style_drift": round(harm.style_drift, 5),
        "content_drift": round(harm.content_drift, 5),
        **({} if runner.emulated else _times(sweep, target, artifact.path, runner)),
    }
    return row.model_copy(update=found)


def _times(sweep: Sweep, target: Target, path: Path, runner: Runner) -> dict[str, Any]:
    """A file in turn with the float file of its target; the float file itself alone."""
    scheme = target.default_scheme
    floats = sweep.folder / FILES / exporting.artifact_name(sweep.part.name, target, sweep.size, scheme)
    try:
        if path == floats or not floats.exists():
            timing = measure.measure(File(path, runner.name), sweep.effort)
            return {"ms": round(median(timing.samples_ms), 3)}
        rounds = measure.compare(File(path, runner.name), File(floats, runner.name), sweep.effort)
    except EdgestyleError as error:
        return {"reason": f"not timed: {error}"}
    return {
        "ms": round(median(sample for pair in rounds.a for sample in pair), 3),
        "ratio": round(rounds.ratio.value, 4),
        "ratio_ci95": (round(rounds.ratio.low, 4), round(rounds.ratio.high, 4)),
    }


# The folder ---------------------------------------------------------------------------------------------------------


def picture_path(folder: Path, row: Row) -> Path:
    """Where the picture of a row is."""
    return folder / PICTURES / f"{row.target}-{row.scheme}.png"


def shown(folder: Path) -> dict[str, Path]:
    """The photo that all pictures are of, and the float network's picture."""
    return {"photo": folder / PICTURES / "photo.png", "float": folder / PICTURES / "float.png"}


def _write_pictures(folder: Path, judge: Judge) -> None:
    for name, picture in (("photo", judge.photos[0]), ("float", judge.expected[0])):
        images.write(shown(folder)[name], picture)


def _save(sweep: Sweep, rows: Iterable[Row]) -> None:
    """Keep what is finished; what is missing on this machine may be here the next time."""
    kept = [row.model_dump(mode="json") for row in rows if row.status != "could not run"]
    write_text(sweep.folder / STATE, json.dumps({"of": sweep.key, "rows": kept}, indent=2) + "\n")


def _resume(sweep: Sweep) -> Sequence[Row]:
    """The rows of an earlier sweep of the same; none if there was none, or of something else."""
    try:
        state = json.loads((sweep.folder / STATE).read_text(encoding="utf-8"))
        rows = [Row.model_validate(row) for row in state["rows"]] if state["of"] == sweep.key else []
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return []
    return [row for row in rows if not row.file or (sweep.folder / row.file).exists()]
