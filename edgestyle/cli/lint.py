"""`edgestyle lint`: what will not run on which delegate, and the rewrite that cures it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgestyle.cli import interrupts, output
from edgestyle.cli.export import parse_size, targets
from edgestyle.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgestyle.lint import Finding, Verdict
    from edgestyle.lint.comparison import Comparison
    from edgestyle.target import Size

EPILOG = """\
examples:
  edgestyle lint great_wave
  edgestyle lint great_wave --target tflite --size 256 --delegate litert-gpu
  edgestyle lint theirs.onnx theirs.tflite --json
  edgestyle lint theirs.tflite --check

A checkpoint is exported to a temporary folder and looked at; it is not run. With --delegate the exit code is 1 if
something does not run there, with --strict if anything at all was found. --check also opens files on the delegates that
work here and compares: exit code 1 if a prediction was wrong. Where the rules come from: docs/delegates.md.
"""

SHOWN = 3
"""Ops or places that are named of a finding; the others are counted."""


class Looked(NamedTuple):
    """One file, or one target of a checkpoint, and what was found."""

    name: str
    target: str
    verdicts: list[Verdict]
    comparisons: list[Comparison]
    error: str = ""
    """Why it could not be looked at here."""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "lint",
        help="what will not run on which delegate, and the rewrite that cures it",
        description="Predict where each op of a network runs, on every delegate, before it is exported or shipped.",
        epilog=EPILOG,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a zoo name, a checkpoint, or an exported file")
    parser.add_argument(
        "--target", default="all", metavar="TARGET", help="of checkpoints: onnx, coreml, tflite, or all"
    )
    parser.add_argument("--size", default="512", metavar="SIZE", help="of checkpoints: pixels, as in 'export'")
    parser.add_argument(
        "--delegate", nargs="+", default=[], metavar="NAME", help="these only, and they must run it whole"
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 if anything at all is found")
    parser.add_argument("--check", action="store_true", help="open files on the delegates that work here, and compare")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look at every model; 0 if what was asked for runs, else 1."""
    from edgestyle.lint import table_for

    wanted = {table_for(name).name for name in args.delegate}
    looked = []
    for model in args.models:
        for found in _look(model, args):
            interrupts.check()
            verdicts = [verdict for verdict in found.verdicts if not wanted or verdict.delegate in wanted]
            comparisons = [comparison for comparison in found.comparisons if comparison.verdict in verdicts]
            looked.append(Looked(found.name, found.target, verdicts, comparisons, found.error))
    if wanted and not any(found.verdicts or found.error for found in looked):
        raise UsageError(f"--delegate {' '.join(args.delegate)} opens no file of {', '.join(args.models)}")
    passed = all(_passes(found, bool(wanted), args.strict) for found in looked)
    if args.json:
        output.print_json({"files": [_as_json(found) for found in looked], "passed": passed})
    else:
        for found in looked:
            _describe(found)
    return 0 if passed else 1


def _look(model: str, args: argparse.Namespace) -> Iterator[Looked]:
    """A file as it is, a checkpoint once a target."""
    from edgestyle.lint import SUFFIXES

    suffix = Path(model).suffix
    if suffix not in SUFFIXES:
        if args.check:
            raise UsageError(f"--check is for exported files; {model} is a checkpoint, so export it first")
        yield from _look_at_checkpoint(model, args.target, parse_size(args.size))
    elif args.target not in ("all", SUFFIXES[suffix]):
        raise UsageError(f"--target {args.target} is for checkpoints; {model} is a file for {SUFFIXES[suffix]}")
    else:
        yield _look_at_file(Path(model), args.check)


def _look_at_checkpoint(model: str, target: str, size: Size) -> Iterator[Looked]:
    from edgestyle import checkpoint
    from edgestyle.lint import lint_checkpoint

    found = checkpoint.find(model)
    for each in targets(target):
        try:
            with output.progress(f"looking at {found.name} as {each.title}"):
                yield Looked(found.name, each.name, lint_checkpoint(found, each, size), [])
        except MissingExtraError as error:
            yield Looked(found.name, each.name, [], [], str(error))


def _look_at_file(path: Path, check: bool) -> Looked:
    from edgestyle.lint import SUFFIXES, lint_file
    from edgestyle.lint.comparison import compare

    verdicts = lint_file(path)
    comparisons: list[Comparison] = []
    if check:
        with output.progress(f"opening {path} on the delegates that work here"):
            comparisons = list(compare(path, verdicts))
    return Looked(str(path), SUFFIXES[path.suffix], verdicts, comparisons)


def _passes(found: Looked, demanded: bool, strict: bool) -> bool:
    if found.error or any(comparison.agrees is False for comparison in found.comparisons):
        return False
    if strict and any(verdict.findings for verdict in found.verdicts):
        return False
    return not demanded or all(verdict.placement.resident for verdict in found.verdicts)


def _as_json(found: Looked) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": found.name,
        "target": found.target,
        "error": found.error,
        "delegates": [
            {
                "delegate": verdict.delegate,
                "title": verdict.title,
                "outlook": verdict.outlook,
                "placement": asdict(verdict.placement),
                "findings": [asdict(finding) for finding in verdict.findings],
            }
            for verdict in found.verdicts
        ],
        "checks": [
            {
                "delegate": comparison.runner,
                "seen": asdict(comparison.seen) if comparison.seen else None,
                "refused": comparison.refused,
                "reason": comparison.reason,
                "agrees": comparison.agrees,
            }
            for comparison in found.comparisons
        ],
    }


def _describe(found: Looked) -> None:
    """A table of the delegates, then what was found on each."""
    output.say(f"{found.name}, {found.target}")
    if found.error:
        output.say(f"  could not be looked at: {found.error}\n")
        return
    rows = [
        (
            f"  {verdict.delegate}",
            verdict.outlook,
            f"{verdict.placement.delegated}/{verdict.placement.total}",
            str(verdict.placement.partitions),
            ", ".join(verdict.placement.fallback_ops),
        )
        for verdict in found.verdicts
    ]
    output.table(("  delegate", "expected", "ops on it", "pieces", "ops off it"), rows, right=("ops on it", "pieces"))
    output.say()
    for verdict in found.verdicts:
        for finding in verdict.findings:
            _describe_finding(verdict, finding)
    if found.comparisons:
        output.table(("  delegate", "prediction", "seen"), map(_compared, found.comparisons))
        output.say()


def _describe_finding(verdict: Verdict, finding: Finding) -> None:
    output.say(f"  {verdict.delegate}: {finding.severity}: {_some(finding.ops)} in {_some(finding.where)}")
    output.say(f"    why      {finding.why}")
    output.say(f"    rewrite  {finding.rewrite}")
    output.say(f"    source   {finding.source}\n")


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _compared(comparison: Comparison) -> tuple[str, ...]:
    said = {True: "right", False: "WRONG", None: "could not be compared"}[comparison.agrees]
    seen = comparison.seen
    if seen is None:
        return f"  {comparison.runner}", said, comparison.reason
    off = f"; off it: {', '.join(seen.fallback_ops)}" if seen.fallback_ops else ""
    pieces = f"{seen.partitions} piece{'s' * (seen.partitions != 1)}"
    return f"  {comparison.runner}", said, f"{seen.delegated}/{seen.total} ops in {pieces}{off}"
