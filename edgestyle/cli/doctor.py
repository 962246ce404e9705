"""`edgestyle doctor`: what works on this machine, and the command that adds what does not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edgestyle.cli import interrupts, output

if TYPE_CHECKING:
    from edgestyle.runner import Availability

EPILOG = """\
examples:
  edgestyle doctor
  edgestyle doctor --quick
  edgestyle doctor --json
  edgestyle doctor --install browser

works        a tiny network was exported, and the written file run, just now (with --quick: its packages are here)
missing      not installed; the command that adds it is shown
cannot run   not on this machine, and why
broken       installed, but it fails; the exit code is then 1
"""


class Finding(NamedTuple):
    """What is known about one target, delegate or extra."""

    name: str
    status: Literal["works", "missing", "cannot run", "broken"]
    reason: str = ""
    install: str = ""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="what works on this machine, and the command that adds what does not",
        description="Say what works on this machine, by trying it, and the command that adds what does not.",
        epilog=EPILOG,
    )
    parser.add_argument("--quick", action="store_true", help="look for the packages only, try nothing")
    parser.add_argument(
        "--install", choices=("browser",), help="first add onnxruntime-web and LiteRT.js, with npm, to the cache folder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what works; 1 if something installed is broken, else 0."""
    from edgestyle.registry import RUNNERS, TARGETS

    if args.install:
        _install_browser()
    targets, delegates, extras = _probe_group(TARGETS), _probe_group(RUNNERS), _probe_extras()
    if not args.quick:
        targets = [_try(target) for target in targets]
        delegates = _note_untried(delegates, targets)
    findings = {"targets": targets, "delegates": delegates, "extras": extras}
    if args.json:
        output.print_json({kind: [finding._asdict() for finding in found] for kind, found in findings.items()})
    else:
        _print(findings)
    return int(any(finding.status == "broken" for found in findings.values() for finding in found))


def _install_browser() -> None:
    from edgestyle.browser import packages

    with output.progress("installing onnxruntime-web and LiteRT.js (190 MB)"):
        modules = packages.install()
    output.note(f"onnxruntime-web and LiteRT.js are in {modules}")


def _probe_group(group: str) -> list[Finding]:
    """Whether the packages of each target or delegate are here."""
    from edgestyle import registry

    return [_probe(group, name) for name in registry.names(group)]


def _probe(group: str, name: str) -> Finding:
    from edgestyle import registry

    try:
        found: Availability = registry.load(group, name).probe()
    except Exception as error:  # somebody's plug-in may fail in any way, and the others are still to be told about
        interrupts.check()
        return Finding(name, "broken", f"{type(error).__name__}: {error}")
    return _finding(name, found)


def _finding(name: str, found: Availability) -> Finding:
    return Finding(name, found.status, found.reason, found.install)


def _probe_extras() -> list[Finding]:
    """Whether the packages of those extras are here that are neither a target nor a delegate."""
    from edgestyle.runner import installed

    return [_finding("android", installed("android", "adbutils")), _finding("heif", installed("heif", "pillow_heif"))]


def _try(target: Finding) -> Finding:
    """The same finding, but "broken" where the trial of an installed target fails."""
    from edgestyle.trial import try_apart

    if target.status != "works":
        return target
    with output.progress(f"trying a tiny network on {target.name}"):
        failure = try_apart(target.name)
    return target._replace(status="broken", reason=failure) if failure else target


def _note_untried(delegates: list[Finding], targets: list[Finding]) -> list[Finding]:
    """The same findings, with a reason at those delegates that no successful trial has used."""
    from edgestyle import registry

    passed = [registry.load(registry.TARGETS, target.name) for target in targets if target.status == "works"]
    tried = {name for target in passed for name in (target.runner, target.native_runner)}
    reason = "installed, but not tried: no target that works here uses it"
    return [
        finding._replace(reason=reason) if finding.status == "works" and finding.name not in tried else finding
        for finding in delegates
    ]


def _print(findings: dict[str, list[Finding]]) -> None:
    for kind, found in findings.items():
        output.table((kind, "status", ""), [(finding.name, finding.status, _remark(finding)) for finding in found])
        output.say()


def _remark(finding: Finding) -> str:
    return "; ".join(part for part in (finding.reason, finding.install) if part)
