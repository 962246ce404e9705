"""The command line as a whole: help, errors, exit codes, and what goes where."""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edgestyle
from edgestyle import checkpoint, cli, errors
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main, models, output

ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in (cli.DEBUG, "COLUMNS", "FORCE_COLOR")}
HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "coremltools",
    "litert_torch",
    "ai_edge_litert",
    "tensorflow",
    "jax",
}
SLOW = {"numpy", "pydantic", "rich", "PIL", "skimage", "dataclasses", "inspect", "json", "email", "difflib", "platform"}
"""What `--help` must do without to stay within 5 times of `python -c pass`."""


def edgestyle_process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgestyle", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.run(command, check=False, **{**pipes, **options})  # type: ignore[call-overload, no-any-return]


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules that a command has imported by its end."""
    code = (
        f"import sys; from edgestyle.cli import main; main({list(arguments)!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.fixture
def models_does(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Lets `edgestyle models` do something else."""

    def replace(action: Callable[[], int]) -> None:
        monkeypatch.setattr(models, "run", lambda args: action())

    return replace


@pytest.fixture
def zoo(tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A zoo with one network."""
    monkeypatch.setattr(checkpoint, "load_all", lambda group: [lambda: tiny_checkpoint.folder.parent])
    return tiny_checkpoint


# Help


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    done = edgestyle_process("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = [line.split()[:1] for line in done.stdout.splitlines()]
    assert all([command] in lines for command in cli.COMMANDS)
    assert not modules_after("--help") & (HEAVY | SLOW)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_explains_itself_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: edgestyle {command}" in text
    assert f"examples:\n  edgestyle {command}" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edgestyle {edgestyle.__version__}\n"


def test_without_a_command_help_comes_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: edgestyle" in err


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["modells"], "unknown command 'modells'; did you mean models?"),
        (["modles"], "unknown command 'modles'; did you mean models?"),
        (["--verbose"], "unknown argument '--verbose'; see 'edgestyle --help'"),
        (["models", "--jason"], "unknown argument '--jason'; see 'edgestyle models --help'"),
        (["models", "--js"], "unknown argument '--js'; see 'edgestyle models --help'"),
        (["export"], "the following arguments are required: --model, --target; see 'edgestyle export --help'"),
        (["export", "--model"], "argument --model: expected one argument; see 'edgestyle export --help'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"edgestyle: error: {line}\n"


def test_an_unknown_command_without_a_near_one_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzz"]) == 2
    assert f"there are: {', '.join(sorted(cli.COMMANDS))}" in capsys.readouterr().err


# Errors


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.UsageError("no"), 2, "error: no"),
        (errors.ConfigError("two\nlines"), 2, "error: two lines"),
        (errors.UnknownNameError("model", "x", []), 2, "error: unknown model 'x'; there are: none"),
        (errors.CheckError("drifted"), 1, "error: drifted"),
        (
            errors.MissingExtraError("coremltools", "coreml"),
            1,
            "error: coremltools is not installed; add it with: pip install 'edgestyle[coreml]'",
        ),
        (KeyboardInterrupt(), 130, "interrupted; nothing half-written is left"),
        (MemoryError(), 1, "error: not enough memory; choose a smaller size or picture"),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), 1, "error: a.png: Permission denied"),
        (
            RuntimeError("Error while serializing: No space left on device (os error 28)"),
            1,
            "error: the disk is full (Error while serializing: No space left on device (os error 28)); "
            "free some space and run it again",
        ),
        (
            ZeroDivisionError("oh"),
            1,
            "error: ZeroDivisionError: oh; this is a bug in edgestyle, set EDGESTYLE_DEBUG=1 to see where",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_is_one_line_and_an_exit_code(
    models_does: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    def fail() -> int:
        raise error

    monkeypatch.delenv(cli.DEBUG, raising=False)
    models_does(fail)
    assert main(["models"]) == code
    assert capsys.readouterr() == ("", f"edgestyle: {line}\n")


def test_debug_shows_the_traceback(
    models_does: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(cli.DEBUG, "1")
    models_does(lambda: 1 // 0)
    assert main(["models"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith(
        "ZeroDivisionError: integer division or modulo by zero; this is a bug in edgestyle, the traceback is above\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_signal_interrupts_even_where_a_library_swallows_it(
    models_does: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
    swallowed: bool,
) -> None:
    def work() -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            if swallowed:
                raise ImportError("half a module") from None
            raise
        return 0

    before = signal.getsignal(number)
    models_does(work)
    assert main(["models"]) == code
    assert capsys.readouterr() == ("", "edgestyle: interrupted; nothing half-written is left\n")
    assert signal.getsignal(number) is before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = edgestyle_process(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("edgestyle: error: the disk is full")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"]])
def test_a_reader_that_leaves_is_no_error(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = edgestyle_process(*arguments, stdout=writer)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


# JSON


def test_with_json_nothing_else_reaches_stdout(
    models_does: Callable[[Callable[[], int]], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def chatter() -> int:
        print("from Python")  # noqa: T201
        output.say("from the command")
        os.write(1, b"from C++\n")
        output.print_json({"models": []})
        print("afterwards")  # noqa: T201
        return 0

    models_does(chatter)
    assert main(["models", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"models": []}
    assert all(line in err for line in ("from Python", "from the command", "from C++", "afterwards"))


def test_with_json_an_error_leaves_stdout_empty(
    models_does: Callable[[Callable[[], int]], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise errors.CheckError("drifted")

    models_does(fail)
    assert main(["models", "--json"]) == 1
    assert capfd.readouterr() == ("", "edgestyle: error: drifted\n")


# models


def test_models_as_json(zoo: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    expected = {
        "name": "tiny",
        "family": "feedforward",
        "styles": ["random"],
        "params": sum(parameter.numel() for parameter in zoo.network().parameters()),
        "bytes": zoo.weights.stat().st_size,
    }
    assert json.loads(capsys.readouterr().out) == {"models": [expected]}


def test_models_as_a_table(
    zoo: Checkpoint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = zoo.folder / checkpoint.MEASURED
    measured.write_text('{"content": 1.25, "photos": ["a"], "style": 0.5}')
    try:
        assert main(["models"]) == 0
    finally:
        measured.unlink()
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "family", "paintings", "parameters", "bytes", "measured"]
    assert row.startswith("tiny   feedforward   Random weights, nobody, 2025 ")
    assert row.rstrip().endswith("content 1.25, style 0.5")


def test_models_imports_no_torch() -> None:
    assert not modules_after("models") & HEAVY


def test_an_empty_zoo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "load_all", lambda group: [lambda: tmp_path])
    assert main(["models"]) == 0
    assert capsys.readouterr().out == "The zoo is empty.\n"


# Output


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (123_456, "123.5 kB"),
        (1_000_000, "1.0 MB"),
        (47_900_000, "47.9 MB"),
    ],
)
def test_file_sizes_for_people(count: int, text: str) -> None:
    assert output.file_size(count) == text


def test_long_lines_and_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    line = "/some/[bold]path/:smile:" * 20
    output.say(line)
    output.table(["path"], [[line]])
    assert capsys.readouterr().out.splitlines() == [line, f"{'path':<{len(line)}}", line]


def test_progress_is_a_line_on_stderr_when_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("working"):
        pass
    assert capsys.readouterr() == ("", "working\n")


def test_every_command_module_keeps_the_contract() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    for name in cli.COMMANDS:
        module = importlib.import_module(f"edgestyle.cli.{name}")
        module.add(commands)
        assert commands.choices[name].get_default("run") is module.run
