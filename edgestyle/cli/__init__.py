"""The command line: one file a command, each with `add` (what it takes) and `run` (what it does).

`main` is the one place where errors become a line and an exit code:

0    done
1    a check failed, something is missing on this machine, or an error on the way
2    the request is wrong: an argument, a file or a name
130  interrupted (Ctrl-C); 143 on SIGTERM
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from argparse import Action, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from importlib import import_module
from typing import Any, NoReturn

from edgestyle import __version__
from edgestyle.cli import interrupts
from edgestyle.cli.output import reserve_stdout
from edgestyle.errors import EdgestyleError, UnknownNameError, UsageError

DEBUG = "EDGESTYLE_DEBUG"
"""With this environment variable set, every error shows its traceback."""

COMMANDS = (
    "models",
    "stylize",
    "export",
    "quantize",
    "lint",
    "validate",
    "bench",
    "demo",
    "train",
    "specialize",
    "score",
    "doctor",
)
"""Modules of this package, in the order of `--help`. They import nothing heavy, so that help comes at once."""

EXAMPLES = """\
examples:
  edgestyle models
  edgestyle stylize photo.jpg --model great_wave -o painted.png
  edgestyle export --target all --model great_wave --out build

'edgestyle COMMAND --help' tells about a command.
"""


class _Parser(ArgumentParser):
    """Its complaints are raised as `UsageError`, in the form of all other errors."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def _check_value(self, action: Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise UnknownNameError(action.dest, str(value), action.choices)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit code.
    """
    with interrupts.interruptible():
        try:
            code = _run(argv)
            interrupts.check()
            sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
            return code
        except BrokenPipeError:  # nobody reads any more, as in `| head`
            _drop_stdout()
            return 1
        except (Exception, KeyboardInterrupt) as error:
            line, code = _explain(interrupts.received() or error)
            if os.environ.get(DEBUG):
                import traceback

                traceback.print_exception(error)
            print("edgestyle:", " ".join(line.split()), file=sys.stderr)  # noqa: T201
            return code


def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    try:
        args, unknown = parser.parse_known_args(argv)
        if args.command is None and not unknown:
            parser.print_help(sys.stderr)
            return UsageError.exit_code
        if unknown:
            command = f"edgestyle {args.command}" if args.command else "edgestyle"
            raise UsageError(f"unknown argument '{unknown[0]}'; see '{command} --help'")
        with reserve_stdout() if getattr(args, "json", False) else nullcontext():
            return int(args.run(args))
    except SystemExit as finished:  # argparse after --help and --version, rich when nobody reads any more
        return int(finished.code or 0)


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="edgestyle",
        description="Turn a painting into a style filter that runs on a phone, and prove that it looks right there.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"edgestyle {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"edgestyle.cli.{name}").add(commands)
    return parser


def _explain(error: BaseException) -> tuple[str, int]:
    """What to tell the user, and the exit code."""
    if isinstance(error, EdgestyleError):
        return f"error: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        number = error.args[-1] if error.args else signal.SIGINT
        return "interrupted; nothing half-written is left", 128 + number
    if isinstance(error, MemoryError):
        return "error: not enough memory; choose a smaller size or picture", 1
    if os.strerror(errno.ENOSPC) in str(error):  # libraries wrap it in errors of their own
        _drop_stdout()
        return f"error: the disk is full ({error}); free some space and run it again", 1
    if isinstance(error, OSError):
        return f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", 1
    hint = f"set {DEBUG}=1 to see where" if not os.environ.get(DEBUG) else "the traceback is above"
    return f"error: {type(error).__name__}: {error}; this is a bug in edgestyle, {hint}", 1


def _drop_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not stumble over it on its way out."""
    with suppress(OSError, ValueError):  # there may be no descriptor behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
