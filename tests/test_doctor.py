"""`edgestyle doctor` tells the truth about what works."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from edgestyle import registry, trial
from edgestyle.cli import main
from edgestyle.errors import MissingExtraError
from edgestyle.runner import Availability

WORKS = Availability("works")
MISSING = Availability("missing", "coremltools is not installed", MissingExtraError("coremltools", "coreml").install)
ELSEWHERE = Availability("cannot run", "needs macOS")


def entry(found: Availability | Exception, runner: str = "") -> SimpleNamespace:
    """A target or runner whose probe finds that."""

    def probe() -> Availability:
        if isinstance(found, Exception):
            raise found
        return found

    return SimpleNamespace(probe=probe, runner=runner, native_runner=None)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What is registered on this machine: group -> name -> entry. No target is tried unless a test says how it ends."""
    found: dict[str, dict[str, Any]] = {registry.TARGETS: {}, registry.RUNNERS: {}}
    monkeypatch.setattr(registry, "names", lambda group: list(found[group]))
    monkeypatch.setattr(registry, "load", lambda group, name: found[group][name])
    monkeypatch.setattr(trial, "try_apart", lambda target: pytest.fail(f"{target} was tried"))
    return found


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_what_is_missing_comes_with_the_command_that_adds_it(
    machine: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    machine[registry.TARGETS] = {"coreml": entry(MISSING)}
    machine[registry.RUNNERS] = {"coreml": entry(ELSEWHERE)}
    code, found = report(capsys)
    assert code == 0
    assert found["targets"] == [
        {
            "name": "coreml",
            "status": "missing",
            "reason": "coremltools is not installed",
            "install": "pip install 'edgestyle[coreml]'",
        }
    ]
    assert found["delegates"] == [{"name": "coreml", "status": "cannot run", "reason": "needs macOS", "install": ""}]

    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "coreml    missing   coremltools is not installed; pip install 'edgestyle[coreml]'" in text
    assert "coreml      cannot run   needs macOS" in text


@pytest.mark.parametrize(("failure", "code", "status"), [("", 0, "works"), ("it crashed", 1, "broken")])
def test_what_is_installed_is_tried(
    machine: dict[str, dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
    code: int,
    status: str,
) -> None:
    machine[registry.TARGETS] = {"onnx": entry(WORKS, runner="cpu")}
    machine[registry.RUNNERS] = {"cpu": entry(WORKS), "other": entry(WORKS)}
    monkeypatch.setattr(trial, "try_apart", lambda target: failure)
    found_code, found = report(capsys)
    assert found_code == code
    assert found["targets"] == [{"name": "onnx", "status": status, "reason": failure, "install": ""}]
    untried = "installed, but not tried: no target that works here uses it"
    assert [delegate["reason"] for delegate in found["delegates"]] == [untried if failure else "", untried]


def test_quick_tries_nothing(machine: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    machine[registry.TARGETS] = {"onnx": entry(WORKS, runner="cpu")}
    code, found = report(capsys, "--quick")
    assert code == 0
    assert found["targets"][0]["status"] == "works"


def test_a_plug_in_that_cannot_be_asked_is_broken_and_the_others_are_still_told(
    machine: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    machine[registry.TARGETS] = {"bad": entry(RuntimeError("oh no")), "coreml": entry(MISSING)}
    code, found = report(capsys)
    assert code == 1
    assert [(f["name"], f["status"]) for f in found["targets"]] == [("bad", "broken"), ("coreml", "missing")]
    assert found["targets"][0]["reason"] == "RuntimeError: oh no"


def test_the_real_machine_is_described_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    _, found = report(capsys, "--quick")
    assert [target["name"] for target in found["targets"]] == registry.names(registry.TARGETS)
    assert [delegate["name"] for delegate in found["delegates"]] == registry.names(registry.RUNNERS)
    assert [extra["name"] for extra in found["extras"]] == ["android", "heif"]
    statuses = {finding["status"] for findings in found.values() for finding in findings}
    assert statuses <= {"works", "missing", "cannot run"}


def test_a_real_trial_goes_well() -> None:
    assert trial.try_apart("onnx") == ""


def test_a_real_trial_of_nothing_fails_in_one_line() -> None:
    assert trial.try_apart("onyx").endswith("unknown target 'onyx'; did you mean onnx?")


def test_a_trial_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "LIMIT_S", 0.01)
    assert trial.try_apart("onnx") == "the process did not finish within 0.01 s, and was ended"
