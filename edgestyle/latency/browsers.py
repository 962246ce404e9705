"""What browsers have measured, in the form of everything else that is measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgestyle.errors import MissingExtraError, UsageError
from edgestyle.latency import plan, work
from edgestyle.latency.measure import Timing
from edgestyle.latency.plan import Job
from edgestyle.latency.results import Result, timed
from edgestyle.latency.subject import File
from edgestyle.manifest import read_manifest

if TYPE_CHECKING:
    from edgestyle.browser import Measurement


def files(jobs: Sequence[Job]) -> list[Path]:
    """The files among `jobs` that browsers can run, each once.

    Raises:
        UsageError: There is none.
    """
    from edgestyle.browser import ENGINES

    paths = [job.subject.path for job in jobs if isinstance(job.subject, File)]
    found = [path for path in dict.fromkeys(paths) if path.suffix in ENGINES]
    if not found:
        raise UsageError(f"none of these runs in a browser; {', '.join(ENGINES)} files do")
    return found


def result(measurement: Measurement) -> Result:
    """One file on one delegate of one device."""
    device = measurement.device.name
    about = plan.about(measurement.file, read_manifest(measurement.file), measurement.delegate, device=device)
    about = about.model_copy(update={"emulated": measurement.emulated})
    if not measurement.samples_ms:
        return Result(**dict(about), status=measurement.status, reason=measurement.reason)
    timing = Timing(
        size=measurement.size,
        fixed=True,
        contract=None,
        placement=None,
        init_ms=measurement.init_ms or 0,
        first_ms=measurement.first_ms or 0,
        warmup_ms=measurement.warmup_ms,
        samples_ms=measurement.samples_ms,
    )
    counted = None
    with suppress(MissingExtraError):
        counted = work.of_file(measurement.file, measurement.size)
    return timed(about, timing, counted, status=measurement.status, reason=measurement.reason)
