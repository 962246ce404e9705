"""What `bench` is to measure: which files, on which delegates, at which sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgestyle import artifacts, checkpoint, registry
from edgestyle.errors import UnknownNameError, UsageError
from edgestyle.files import size_in_bytes
from edgestyle.latency.results import Artifact, Result
from edgestyle.latency.subject import File, Network
from edgestyle.manifest import Contract, Manifest
from edgestyle.runner import Availability, Runner, runners_for, suffixes
from edgestyle.target import Target

TORCH = "torch"
"""The delegate of checkpoints."""
_ONLY_IF_ASKED = ("-web-", "-reference")
"""In the names of real runners that are not for speed: browsers, which `--browser` measures on any device, and
reference kernels, which no app uses."""


@dataclass(frozen=True)
class Job:
    """One artifact on one delegate."""

    about: Artifact
    subject: File | Network
    availability: Availability
    psnr_db: float | None = None
    """Drift from the float network, by the manifest."""

    def sized(self, size: tuple[int, int], tile: int | None = None) -> Job:
        """The same at another height and width."""
        if isinstance(self.subject, Network):
            return replace(self, subject=replace(self.subject, size=size, tile=tile))
        return replace(self, subject=replace(self.subject, size=size))

    def label(self, size: tuple[int, int] | None = None) -> str:
        """What is being run, for people."""
        at = f" at {size[1]}x{size[0]}" if size else ""
        return f"{self.about.artifact} on {self.about.delegate}{at}"

    def known(self, contract: Contract | None) -> Artifact:
        """What is known once the file was opened: it may say itself what no manifest says."""
        if contract is None or self.about.manifest:
            return self.about
        return self.about.model_copy(
            update={"model": contract.model, "target": contract.target, "scheme": contract.scheme}
        )

    def unmeasured(self, reason: str, size: tuple[int, int] | None = None) -> Result:
        """The result of what could not run here."""
        return Result(**dict(self.about), size=size, status="could not run", reason=reason)


def jobs(arguments: Iterable[str], delegates: Sequence[str] = ()) -> list[Job]:
    """Everything that arguments stand for: exported files, folders and globs of them, checkpoints, zoo names.

    Args:
        arguments: As on the command line.
        delegates: Runners; if none, all that are real and that an app could use.

    Raises:
        UsageError: An argument leads to nothing that can be measured.
        UnknownNameError: There is no such delegate, or no such model.
        ConfigError: A manifest is malformed, or not that of its file.
    """
    wanted: list[Runner] = [registry.load(registry.RUNNERS, name) for name in delegates if name != TORCH]
    found: list[Job] = []
    for argument in arguments:
        network = _network(argument)
        if network:
            found += [network] if not delegates or TORCH in delegates else []
            continue
        for path in artifacts.find([argument]):
            found += _of_file(path, wanted, bool(delegates))
    if not found:
        raise UsageError(f"none of the files runs on {', '.join(delegates)}; 'edgestyle doctor' lists what there is")
    return found


def _network(argument: str) -> Job | None:
    """The checkpoint or zoo network that an argument names, if it does."""
    path = Path(argument)
    is_name = not path.exists() and path.name == argument and path.suffix not in suffixes() and "*" not in argument
    if not is_name and path.name != checkpoint.WEIGHTS and not (path / checkpoint.CONFIG).is_file():
        return None
    try:
        found = checkpoint.find(argument)
    except UnknownNameError as error:
        raise UsageError(f"there is no file or folder {argument}, and it is an {error}") from error
    known = Artifact(
        artifact=argument,
        model=found.name,
        target=TORCH,
        scheme="fp32",
        delegate=TORCH,
        bytes=size_in_bytes(found.folder / checkpoint.WEIGHTS),
    )
    return Job(known, Network(found.folder), Availability("works"))


def _of_file(path: Path, wanted: Sequence[Runner], asked: bool) -> list[Job]:
    manifest = artifacts.examine(path)
    if asked:
        runners = [runner for runner in wanted if path.suffix in runner.suffixes]
    else:
        runners = [runner for runner in runners_for(path) if not (runner.emulated or _is_only_if_asked(runner.name))]
    psnr = [check.drift.psnr_db for check in manifest.checks if check.drift] if manifest else []
    return [
        Job(
            about(path, manifest, runner.name, runner.emulated),
            File(path, runner.name),
            runner.probe(),
            min(psnr, default=None),
        )
        for runner in runners
    ]


def _is_only_if_asked(name: str) -> bool:
    return any(part in name for part in _ONLY_IF_ASKED)


def about(path: Path, manifest: Manifest | None, delegate: str, emulated: bool = False, device: str = "") -> Artifact:
    """What is known of a file before it is opened."""
    contract = manifest.contract if manifest else None
    targets: list[Target] = registry.load_all(registry.TARGETS)
    by_suffix = {target.suffix: target.name for target in targets}
    return Artifact(
        artifact=str(path),
        model=contract.model if contract else path.stem,
        target=contract.target if contract else by_suffix.get(path.suffix, path.suffix[1:]),
        scheme=contract.scheme if contract else "unknown",
        delegate=delegate,
        emulated=emulated,
        device=device,
        manifest=manifest is not None,
        bytes=size_in_bytes(path),
    )


# Two sides ----------------------------------------------------------------------------------------------------------


def pairs(ours: Sequence[Job], theirs: Sequence[Job]) -> tuple[list[tuple[Job, Job]], list[str]]:
    """What is compared with what of two builds, by file name and delegate; and what has no counterpart."""
    known = {_key(job): job for job in theirs if job.availability.status == "works"}
    mine = [job for job in ours if job.availability.status == "works"]
    matched = [(job, known[_key(job)]) for job in mine if _key(job) in known]
    missing = [
        f"{job.about.artifact} has no counterpart in the baseline on {job.about.delegate}"
        for job in mine
        if _key(job) not in known
    ]
    gone = known.keys() - {_key(job) for job in mine}
    return matched, missing + [
        f"{known[key].about.artifact} is in the baseline only, on {key[1]}" for key in sorted(gone)
    ]


def _key(job: Job) -> tuple[str, str]:
    return Path(job.about.artifact).name, job.about.delegate


def against(ours: Sequence[Job], theirs: Sequence[Job]) -> list[tuple[Job, Job]]:
    """Each of ours against every one of theirs: on the same delegate where both run on it, else on what each has.

    Emulated delegates are compared with each other only: the time of one says nothing of real hardware.

    Raises:
        UsageError: Nothing of ours can be compared with anything of theirs here.
    """
    works = [[job for job in side if job.availability.status == "works"] for side in (ours, theirs)]
    found = [(a, b) for a in works[0] for b in works[1] if a.about.emulated == b.about.emulated]
    alike = {(a.about.artifact, b.about.artifact) for a, b in found if a.about.delegate == b.about.delegate}
    found = [
        (a, b)
        for a, b in found
        if a.about.delegate == b.about.delegate or (a.about.artifact, b.about.artifact) not in alike
    ]
    if not found:
        raise UsageError("the two have no delegate that works here, or one is emulated and the other is not")
    return found
