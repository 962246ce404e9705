"""What has changed since an earlier report, and what budgets say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from edgestyle.errors import ConfigError, UsageError
from edgestyle.latency.machine import Machine
from edgestyle.latency.results import Check, Comparison, Report, Result, compared
from edgestyle.latency.stats import ratio_of_medians
from edgestyle.manifest import Status, first_error
from edgestyle.settings import Budget, Settings


def read(path: Path, here: Machine) -> tuple[tuple[Result, ...], str]:
    """The results of an earlier `bench --json` (or its report.json).

    Returns:
        The results and "", or nothing and why they cannot be compared with what is measured on this machine.

    Raises:
        UsageError: The file cannot be read.
        ConfigError: It is not such a report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        there = Machine.model_validate(content["machine"])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; 'edgestyle bench --json' writes such files") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a report of 'edgestyle bench': it has no machine, or is no JSON") from error
    differences = here.differences(there)
    if differences:
        return (), f"{path} was measured on another machine or version ({'; '.join(differences)}): not compared"
    try:
        return Report.model_validate(content).results, ""
    except ValidationError as error:
        raise ConfigError(f"{path} is malformed: {first_error(error)}") from error


def compare(
    results: Sequence[Result], earlier: Sequence[Result], threshold: float
) -> tuple[list[Comparison], list[str]]:
    """Each result against the earlier one of the same file name, delegate, device and size.

    Returns:
        The comparisons, and a note for each result that has no counterpart.
    """
    known = {_key(result): result for result in earlier if result.samples_ms}
    comparisons, notes = [], []
    for result in results:
        if not result.samples_ms:
            continue
        before = known.get(_key(result))
        if before is None:
            notes.append(f"{result.label} is not in the baseline")
            continue
        ratio = ratio_of_medians(result.samples_ms, before.samples_ms)
        comparisons.append(compared(result.label, "the baseline", ratio, threshold, gated=not result.emulated))
    return comparisons, notes


def _key(result: Result) -> tuple[object, ...]:
    return Path(result.artifact).name, result.delegate, result.emulated, result.device, result.size, result.tile


# Budgets ------------------------------------------------------------------------------------------------------------


def check_budgets(results: Sequence[Result], drifts: dict[str, float], settings: Settings) -> list[Check]:
    """What `[budget.NAME]` asks, held against every result of that network or file.

    Args:
        results: What was measured. Times of emulated delegates are held against nothing.
        drifts: Artifact -> PSNR in dB against the float network, from its manifest.
        settings: edgestyle.toml.
    """
    checks: list[Check] = []
    for result in results:
        budget = settings.budget.get(Path(result.artifact).stem) or settings.budget.get(result.model)
        if budget is None:
            continue
        if budget.p90_ms is not None and not result.emulated:
            checks.append(_at_most(f"p90 of {result.label}", result.p90_ms, budget.p90_ms, "ms", result))
    for name, result in {result.artifact: result for result in results}.items():
        budget = settings.budget.get(Path(name).stem) or settings.budget.get(result.model) or Budget()
        if budget.bytes is not None:
            checks.append(_at_most(f"size of {name}", result.bytes, budget.bytes, "bytes", result))
        if budget.psnr_db is not None:
            checks.append(_psnr(name, drifts.get(name), budget.psnr_db))
    return checks


def _at_most(name: str, value: float | None, budget: float, unit: str, result: Result) -> Check:
    if value is None:
        few = f"{result.runs} runs are too few" if result.samples_ms else "not told by what measured it"
        reason = result.reason or few
        return Check(name=name, status="could not run", reason=reason)
    status: Status = "passed" if value <= budget else "failed"
    return Check(name=name, status=status, reason=f"{value:,.10g} {unit}, budget {budget:,.10g}")


def _psnr(name: str, value: float | None, budget: float) -> Check:
    check = f"PSNR of {name}"
    if value is None:
        reason = "no manifest beside it says how far it drifts; 'edgestyle validate' measures it"
        return Check(name=check, status="could not run", reason=reason)
    status: Status = "passed" if value >= budget else "failed"
    return Check(name=check, status=status, reason=f"{value:.1f} dB, budget {budget:g}")
