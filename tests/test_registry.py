"""Everything that is registered can be loaded, is what it says, and is found by name."""

from __future__ import annotations

from typing import Any

import pytest

from edgestyle import registry
from edgestyle.demo import Demo
from edgestyle.errors import UnknownNameError
from edgestyle.runner import Runner
from edgestyle.target import Scheme, Target

KINDS = {registry.TARGETS: Target, registry.SCHEMES: Scheme, registry.RUNNERS: Runner, registry.DEMOS: Demo}
NAMED = [(group, name) for group in KINDS for name in registry.names(group)]


def test_the_targets_of_the_command_line_are_there() -> None:
    assert registry.names(registry.TARGETS) == ["coreml", "onnx", "tflite"]


@pytest.mark.parametrize(("group", "name"), NAMED)
def test_each_entry_loads_under_its_own_name(group: str, name: str) -> None:
    found = registry.load(group, name)
    assert isinstance(found, KINDS[group])
    assert found.name == name


@pytest.mark.parametrize("name", registry.names(registry.TARGETS))
def test_a_target_names_runners_that_open_its_files_and_a_scheme_that_it_serves(name: str) -> None:
    target: Target = registry.load(registry.TARGETS, name)
    runners = [registry.load(registry.RUNNERS, runner) for runner in (target.runner, target.native_runner) if runner]
    assert all(target.suffix in runner.suffixes for runner in runners)
    assert target.default_scheme in target.native


def test_schemes_name_targets_that_exist() -> None:
    schemes: list[Scheme] = registry.load_all(registry.SCHEMES)
    assert {target for scheme in schemes for target in scheme.targets} <= set(registry.names(registry.TARGETS))


def test_the_zoo_is_a_folder() -> None:
    assert all(folder().is_dir() for folder in registry.load_all(registry.ZOOS))


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        (registry.TARGETS, "onxx", "unknown target 'onxx'; did you mean onnx?"),
        (registry.TARGETS, "zzz", "unknown target 'zzz'; there are: coreml, onnx, tflite"),
        (registry.RUNNERS, "litert-cp", "unknown delegate 'litert-cp'; did you mean litert-cpu"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(group: str, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.load(group, name)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_load_all_keeps_the_order_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> Any:
            return self.name.upper()

    def entries(group: str) -> list[Entry]:
        return [Entry("b"), Entry("a")]

    monkeypatch.setattr(registry, "entry_points", entries)
    assert registry.names("made.up") == ["a", "b"]
    assert registry.load_all("made.up") == ["A", "B"]
